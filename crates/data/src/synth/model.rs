//! The hidden model: draws rows and knows the probability of each label.

use std::ops::Range;

use rayon::prelude::*;
use slimbed_rng::{Seed, Stream};

use super::dense::DenseModel;
use super::field::FieldModel;
use super::terms::{Column, Pair, draw_columns, draw_fields, weigh_field_pairs};
use super::{SynthError, SynthSpec};

/// Rows over which the bias is solved; the standard error of their mean is below 0.001.
const CALIBRATION_ROWS: u64 = 1 << 16;

/// One row, with what the model knows about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// 0 or 1.
    pub label: u8,
    /// Probability of label 1 given the cells of the row.
    pub probability: f64,
    /// `ln(p / (1 - p))` of that probability.
    pub logit: f64,
    /// The part of `logit` without interactions.
    pub additive_logit: f64,
    /// The dense cells, `[n_dense]`.
    pub dense: Vec<Option<i32>>,
    /// The tokens of the categorical cells, `[n_fields]`.
    pub ids: Vec<Option<u32>>,
    /// The ranks by frequency behind `ids`, `[n_fields]`.
    pub ranks: Vec<Option<u32>>,
}

/// A specification and a seed with all tables drawn.
///
/// Takes `20 + 4 latent_dim` bytes for each id.
#[derive(Clone, Debug)]
pub struct SynthModel {
    spec: SynthSpec,
    seed: Seed,
    bias: f64,
    dense: Vec<Column>,
    fields: Vec<FieldModel>,
    field_pairs: Vec<Pair>,
    /// The stream of the rows at word 0, copied and moved for each run of rows.
    rows: Stream,
}

impl SynthModel {
    /// Draws the tables and solves the bias for the base rate.
    ///
    /// # Errors
    /// Those of [`SynthSpec::validate`].
    pub fn new(spec: SynthSpec, seed: Seed) -> Result<Self, SynthError> {
        spec.validate()?;
        let fields = draw_fields(&spec, seed);
        let mut model = Self {
            bias: 0.0,
            dense: draw_columns(&spec, seed, &fields),
            field_pairs: weigh_field_pairs(&spec, &fields),
            fields,
            rows: seed.stream("synth/row", 0),
            spec,
            seed,
        };
        model.bias = model.solve_bias();
        Ok(model)
    }

    /// The specification.
    pub fn spec(&self) -> &SynthSpec {
        &self.spec
    }

    /// The seed.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The constant of the logit.
    pub fn bias(&self) -> f64 {
        self.bias
    }

    /// Draws row `i` into `row`, whose vectors are reused.
    pub fn row(&self, i: u64, row: &mut Row) {
        self.for_rows(i..i + 1, row, |_| {});
    }

    /// Draws consecutive rows one after another into `row` and shows each, faster than one by one.
    pub fn for_rows(&self, rows: Range<u64>, row: &mut Row, show: impl FnMut(&Row)) {
        self.for_rows_of(&self.rows, rows, row, show);
    }

    fn for_rows_of(
        &self,
        stream: &Stream,
        rows: Range<u64>,
        row: &mut Row,
        mut show: impl FnMut(&Row),
    ) {
        let mut stream = stream.clone();
        stream.seek(rows.start * self.words_per_row());
        for _ in rows {
            self.draw(&mut stream, row);
            show(row);
        }
    }

    /// Every row takes the same number of words, so the words of row `i` are found by a product.
    fn words_per_row(&self) -> u64 {
        DenseModel::WORDS * self.dense.len() as u64 + self.fields.len() as u64 + 2
    }

    fn draw(&self, stream: &mut Stream, row: &mut Row) {
        row.dense.clear();
        let cells = self.dense.iter().map(|column| column.model.draw(stream));
        row.dense.extend(cells);
        row.ids.clear();
        row.ranks.clear();
        for field in &self.fields {
            // 32 bits resolve the rarest of 2^24 ids; the half keeps the draw inside (0, 1).
            let position = field.draw((f64::from(stream.word()) + 0.5) / 2f64.powi(32));
            let token = field.token(position);
            row.ids.push(token);
            row.ranks.push(token.map(|_| position as u32));
        }
        self.score(row);
        row.label = u8::from(stream.uniform_f64() < row.probability);
    }

    /// Fills the logits and the probability from the cells.
    fn score(&self, row: &mut Row) {
        let position = |f: usize| match row.ranks[f] {
            Some(rank) => rank as usize,
            None => self.spec.fields[f].cardinality as usize,
        };
        let vector = |f: usize| self.fields[f].vector(position(f));
        let mut own = self.bias;
        for (f, field) in self.fields.iter().enumerate() {
            own += field.effect(position(f));
        }
        let mut interactions = 0.0;
        for pair in &self.field_pairs {
            interactions += pair.weight * dot(vector(pair.left), vector(pair.right));
        }
        for (column, &cell) in self.dense.iter().zip(&row.dense) {
            let effect = column.model.effect(cell);
            own += column.weight * effect.own;
            for partner in &column.partners {
                let dot = dot(column.model.direction(), vector(partner.field));
                interactions += effect.factor * partner.weight * dot;
            }
        }
        row.additive_logit = own;
        row.logit = own + interactions;
        row.probability = sigmoid(row.logit);
    }

    /// The bias at which the mean probability of the calibration rows is the base rate.
    ///
    /// Bisection: the mean rises with the bias. The rows come from a stream of their own.
    fn solve_bias(&self) -> f64 {
        const BLOCK: u64 = 1 << 12;
        let stream = self.seed.stream("synth/calibration", 0);
        let blocks = (0..CALIBRATION_ROWS / BLOCK).into_par_iter();
        let logits: Vec<f64> = blocks
            .flat_map_iter(|block| {
                let (mut row, mut logits) = (Row::default(), Vec::new());
                let rows = block * BLOCK..(block + 1) * BLOCK;
                self.for_rows_of(&stream, rows, &mut row, |row| logits.push(row.logit));
                logits
            })
            .collect();
        let rate = |bias: f64| logits.iter().map(|x| sigmoid(x + bias)).sum::<f64>();
        let target = self.spec.base_rate * CALIBRATION_ROWS as f64;
        let (mut low, mut high) = (-100.0, 100.0);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            *(if rate(middle) < target {
                &mut low
            } else {
                &mut high
            }) = middle;
        }
        0.5 * (low + high)
    }
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    let products = left.iter().zip(right);
    products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::super::Strengths;
    use super::*;

    fn small(seed: u64) -> SynthModel {
        SynthModel::new(SynthSpec::small(), Seed::new(seed)).unwrap()
    }

    fn sample(model: &SynthModel, n: u64) -> Vec<Row> {
        let mut rows = Vec::new();
        model.for_rows(0..n, &mut Row::default(), |row| rows.push(row.clone()));
        rows
    }

    fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        (mean, values.map(|x| (x - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn a_row_does_not_depend_on_those_before_it() {
        let model = small(1);
        let rows = sample(&model, 300);
        let mut row = Row::default();
        for i in [299, 0, 17, 256] {
            model.row(i, &mut row);
            assert_eq!(row, rows[i as usize]);
        }
        model.row(u64::from(u32::MAX) * 1000, &mut row);
        assert_ne!(row, rows[0]);
    }

    #[test]
    fn seeds_give_different_models() {
        let cells = |seed| sample(&small(seed), 20).into_iter().map(|r| r.ids);
        assert!(cells(1).eq(cells(1)));
        assert!(!cells(1).eq(cells(2)));
    }

    #[test]
    fn the_base_rate_is_as_asked() {
        for rate in [0.01, 0.25, 0.9] {
            let spec = SynthSpec {
                base_rate: rate,
                ..SynthSpec::small()
            };
            let rows = sample(&SynthModel::new(spec, Seed::new(5)).unwrap(), 100_000);
            let (expected, _) = moments(rows.iter().map(|r| r.probability));
            let (realised, _) = moments(rows.iter().map(|r| f64::from(r.label)));
            assert!((expected - rate).abs() < 0.003, "{expected} for {rate}");
            assert!((realised - rate).abs() < 0.005, "{realised} for {rate}");
        }
    }

    /// Each term alone, so that a wrong weight in any of them shows.
    #[test]
    fn strengths_are_standard_deviations() {
        type Change = fn(&mut Strengths, f64);
        let changes: [Change; 4] = [
            |s, x| s.fields = x,
            |s, x| s.dense = x,
            |s, x| s.field_pairs = x,
            |s, x| s.dense_field_pairs = x,
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let mut spec = SynthSpec::small();
            spec.strengths = Strengths {
                fields: 0.0,
                dense: 0.0,
                field_pairs: 0.0,
                dense_field_pairs: 0.0,
            };
            change(&mut spec.strengths, 0.8);
            let model = SynthModel::new(spec, Seed::new(7)).unwrap();
            let rows = sample(&model, 100_000);
            let (mean, variance) = moments(rows.iter().map(|r| r.logit));
            assert!((mean - model.bias()).abs() < 0.02, "term {i}: {mean}");
            assert!((variance / 0.64 - 1.0).abs() < 0.06, "term {i}: {variance}");
            let (_, additive) = moments(rows.iter().map(|r| r.additive_logit));
            assert_eq!(additive > 0.1, i < 2, "term {i}: {additive}");
        }
    }

    /// A field of one id and no empty cell has nothing to interact with.
    #[test]
    fn a_constant_field_is_allowed() {
        let mut spec = SynthSpec::small();
        spec.fields[0].cardinality = 1;
        let rows = sample(&SynthModel::new(spec, Seed::new(1)).unwrap(), 100);
        assert!(
            rows.iter()
                .all(|r| r.ranks[0] == Some(0) && r.logit.is_finite())
        );
    }

    #[test]
    fn the_logit_of_one_row_by_hand() {
        let model = small(1);
        let row = &sample(&model, 1)[0];
        let at = |f: usize| row.ranks[f].unwrap_or(model.spec.fields[f].cardinality) as usize;
        let vector = |f: usize| model.fields[f].vector(at(f));
        let mut expected = model.bias;
        expected += (0..6).map(|f| model.fields[f].effect(at(f))).sum::<f64>();
        for (j, column) in model.dense.iter().enumerate() {
            // Shares 1, 1/2, 1/3, 1/4 over 25/12.
            let share = 12.0 / (25.0 * (j as f64 + 1.0));
            let own = column.model.effect(row.dense[j]).own;
            expected += share.sqrt() * model.spec.strengths.dense * own;
        }
        assert!((row.additive_logit - expected).abs() < 1e-12);
        for (pair, [left, right]) in model.field_pairs.iter().zip(&model.spec.field_pairs) {
            expected += pair.weight * dot(vector(*left), vector(*right));
        }
        for (j, f) in [(0, 0), (1, 3)] {
            let column = &model.dense[j];
            let factor = column.model.effect(row.dense[j]).factor;
            let weight = column.partners[0].weight;
            expected += weight * factor * dot(column.model.direction(), vector(f));
        }
        assert!((row.logit - expected).abs() < 1e-12);
    }
}
