//! One row while its line is parsed.

use super::Rows;
use crate::Recipe;
use crate::pack::Arity;

/// A row that becomes one of [`Rows`] when all of its line is good.
pub struct Row {
    pub label: u8,
    /// One number for each dense feature.
    pub dense: Vec<f32>,
    /// One key for each field; of a multi-valued one the number of its categories, which stand in its bag.
    pub keys: Vec<u64>,
    /// One bag for each multi-valued field.
    pub bags: Vec<Vec<u64>>,
    /// The bag of each field.
    bag_of: Vec<Option<usize>>,
}

impl Row {
    pub fn of(recipe: &Recipe) -> Self {
        let mut n_bags = 0;
        let bag_of = recipe.fields.iter().map(|field| {
            let is_bag = field.arity() == Arity::Multi;
            n_bags += usize::from(is_bag);
            is_bag.then(|| n_bags - 1)
        });
        Self {
            label: 0,
            dense: vec![0.0; recipe.dense.len()],
            keys: vec![0; recipe.fields.len()],
            bag_of: bag_of.collect(),
            bags: vec![Vec::new(); n_bags],
        }
    }

    /// Empties all bags.
    pub fn clear_bags(&mut self) {
        self.bags.iter_mut().for_each(Vec::clear);
    }

    /// Adds a category to the field `f`; of a field of one category, that is its key.
    pub fn add(&mut self, f: usize, key: u64) {
        match self.bag_of[f] {
            None => self.keys[f] = key,
            Some(bag) => {
                self.bags[bag].push(key);
                self.keys[f] = self.bags[bag].len() as u64;
            }
        }
    }

    /// Adds the row to `rows` as that of the number `index`.
    pub fn append_to(&self, rows: &mut Rows, index: u64) {
        rows.lines.push(index);
        rows.labels.push(self.label);
        rows.dense.extend_from_slice(&self.dense);
        rows.keys.extend_from_slice(&self.keys);
        for (all, bag) in rows.bags.iter_mut().zip(&self.bags) {
            all.extend_from_slice(bag);
        }
    }

    /// No rows of the file `file`, with room for `n` like this one.
    pub fn empty(&self, n: usize, file: usize) -> Rows {
        Rows {
            lines: Vec::with_capacity(n),
            labels: Vec::with_capacity(n),
            dense: Vec::with_capacity(n * self.dense.len()),
            keys: Vec::with_capacity(n * self.keys.len()),
            bags: vec![Vec::new(); self.bags.len()],
            file,
            times: Vec::new(),
        }
    }
}
