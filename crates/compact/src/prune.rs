//! Tables some of whose values are dropped after training.

use crate::{ArtefactError, ForeignFile, SourceField, TableSource};

/// Which values are dropped. Minus zero is a value like others; what is dropped becomes 0.
#[derive(Debug)]
pub enum Pruning {
    /// None.
    Nothing,
    /// Those of a magnitude below this.
    Below(f32),
    /// This share of the values of all tables together: those of the smallest magnitude.
    ShareOfAll(f64),
    /// This share of the values of each table (of each part, where there are two).
    ShareOfEach(f64),
    /// Those that a mask drops: a tensor `[n_rows, dim]` for each field, under its name; of fields that share
    /// rows or are projected it has the shape of the only part that is stored.
    Masks(ForeignFile),
}

/// A source some of whose values are dropped.
pub struct Pruned<'s> {
    source: &'s dyn TableSource,
    rule: Rule,
}

/// A [`Pruning`] with what has to be known of all tables.
enum Rule {
    Nothing,
    /// For each part of each table.
    Cuts(Vec<Vec<Cut>>),
    ShareOfEach(f64),
    Masks(ForeignFile),
}

/// The values of one part that are dropped: those whose magnitude has smaller bits, and the first `n_equal` of
/// those that have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cut {
    bits: u32,
    n_equal: u64,
}

impl<'s> Pruned<'s> {
    /// Prepares to drop values of `source`; a share of all takes up to three passes over it.
    ///
    /// # Errors
    /// When rows cannot be read, or masks do not suit the tables.
    pub fn new(source: &'s dyn TableSource, pruning: Pruning) -> Result<Self, ArtefactError> {
        let rule = match pruning {
            Pruning::Nothing => Rule::Nothing,
            Pruning::Below(threshold) => {
                let cut = Cut {
                    bits: magnitude(threshold),
                    n_equal: 0,
                };
                Rule::Cuts(vec![vec![cut; MOST_PARTS]; source.fields().len()])
            }
            Pruning::ShareOfAll(share) => Rule::Cuts(cuts(source, share)?),
            Pruning::ShareOfEach(share) => Rule::ShareOfEach(share),
            Pruning::Masks(file) => {
                check_masks(&file, source.fields())?;
                Rule::Masks(file)
            }
        };
        Ok(Self { source, rule })
    }
}

impl TableSource for Pruned<'_> {
    fn fields(&self) -> &[SourceField] {
        self.source.fields()
    }

    fn part(&self, f: usize, i: usize) -> Result<Vec<f32>, ArtefactError> {
        let mut rows = self.source.part(f, i)?;
        match &self.rule {
            Rule::Nothing => {}
            Rule::Cuts(cuts) => cuts[f][i].apply(&mut rows),
            Rule::ShareOfEach(share) => smallest(&rows, *share).apply(&mut rows),
            Rule::Masks(file) => {
                let field = &self.fields()[f];
                let shape = field.parts[i];
                let mask = file.mask(&field.name, shape.n_rows, shape.dim)?;
                let dropped = rows.iter_mut().zip(mask).filter(|(_, kept)| **kept == 0);
                dropped.for_each(|(x, _)| *x = 0.0);
            }
        }
        Ok(rows)
    }

    fn projection(&self, f: usize) -> Result<Option<Vec<f32>>, ArtefactError> {
        self.source.projection(f)
    }
}

impl Cut {
    fn apply(self, rows: &mut [f32]) {
        let mut n_equal = self.n_equal;
        for x in rows {
            let bits = magnitude(*x);
            let is_tied = bits == self.bits && n_equal > 0;
            n_equal -= u64::from(is_tied);
            if bits < self.bits || is_tied {
                *x = 0.0;
            }
        }
    }
}

/// Magnitudes have the order of these bits.
fn magnitude(x: f32) -> u32 {
    x.abs().to_bits()
}

/// Parts a table has at most.
const MOST_PARTS: usize = 2;

/// How many of `n` values a share of them is.
fn n_dropped(share: f64, n: u64) -> u64 {
    ((share * n as f64).round() as u64).min(n)
}

/// The cut that drops a share of these values.
fn smallest(rows: &[f32], share: f64) -> Cut {
    let n = n_dropped(share, rows.len() as u64);
    let mut bits: Vec<u32> = rows.iter().map(|&x| magnitude(x)).collect();
    let Some(last) = n.checked_sub(1) else {
        return Cut::default();
    };
    let (_, &mut bits, _) = bits.select_nth_unstable(last as usize);
    let n_below = rows.iter().filter(|&&x| magnitude(x) < bits).count() as u64;
    Cut {
        bits,
        n_equal: n - n_below,
    }
}

/// The cuts that drop a share of the values of all tables: a radix search for the magnitude of the last one,
/// then the tied ones, table by table.
fn cuts(source: &dyn TableSource, share: f64) -> Result<Vec<Vec<Cut>>, ArtefactError> {
    let fields = source.fields();
    let shapes = fields.iter().flat_map(|field| &field.parts);
    let n_values = shapes.map(|part| (part.n_rows * part.dim) as u64).sum();
    let mut n_left = n_dropped(share, n_values);
    if n_left == 0 {
        return Ok(vec![vec![Cut::default(); MOST_PARTS]; fields.len()]);
    }
    let high = bucket(source, &mut n_left, |bits| Some(bits >> 16))?;
    let low = bucket(source, &mut n_left, |bits| {
        (bits >> 16 == high).then_some(bits & 0xffff)
    })?;
    let bits = high << 16 | low;
    let mut cuts = vec![Vec::new(); fields.len()];
    for (f, i) in parts(source) {
        let rows = source.part(f, i)?;
        let n_tied = rows.iter().filter(|&&x| magnitude(x) == bits).count() as u64;
        let n_equal = n_tied.min(n_left);
        n_left -= n_equal;
        cuts[f].push(Cut { bits, n_equal });
    }
    Ok(cuts)
}

/// The bucket of the `n_left`-th smallest value; `n_left` is then its place in that bucket.
fn bucket(
    source: &dyn TableSource,
    n_left: &mut u64,
    of: impl Fn(u32) -> Option<u32>,
) -> Result<u32, ArtefactError> {
    let mut counts = vec![0_u64; 1 << 16];
    for (f, i) in parts(source) {
        let rows = source.part(f, i)?;
        let buckets = rows.iter().filter_map(|&x| of(magnitude(x)));
        buckets.for_each(|bucket| counts[bucket as usize] += 1);
    }
    for (bucket, &n) in counts.iter().enumerate() {
        if *n_left <= n {
            return Ok(bucket as u32);
        }
        *n_left -= n;
    }
    unreachable!("the share is at most all values")
}

/// Every part of every table: number of the table, number of the part.
fn parts(source: &dyn TableSource) -> impl Iterator<Item = (usize, usize)> {
    let fields = source.fields().iter().enumerate();
    fields.flat_map(|(f, field)| (0..field.parts.len()).map(move |i| (f, i)))
}

fn check_masks(file: &ForeignFile, fields: &[SourceField]) -> Result<(), ArtefactError> {
    for field in fields {
        let [part] = field.parts[..] else {
            return Err(ArtefactError::Tensor {
                path: file.path().to_owned(),
                tensor: field.name.clone(),
                expected: "masks for fields of one table".into(),
                found: "one of two, quotients and remainders".into(),
            });
        };
        file.mask(&field.name, part.n_rows, part.dim)?;
    }
    let known = |name: &String| fields.iter().any(|field| field.name == *name);
    let Some(unknown) = file.names().into_iter().find(|name| !known(name)) else {
        return Ok(());
    };
    Err(ArtefactError::Tensor {
        path: file.path().to_owned(),
        tensor: unknown,
        expected: "the name of a field".into(),
        found: "a mask for none".into(),
    })
}

impl std::fmt::Debug for Pruned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pruned").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pooling;

    struct Given(Vec<SourceField>, Vec<Vec<f32>>);

    impl Given {
        fn new(tables: &[&[f32]]) -> Self {
            let field = |(i, table): (usize, &&[f32])| {
                SourceField::own(format!("C{i}"), table.len(), 1, Pooling::Sum)
            };
            let fields = tables.iter().enumerate().map(field).collect();
            Self(fields, tables.iter().map(|t| t.to_vec()).collect())
        }
    }

    impl TableSource for Given {
        fn fields(&self) -> &[SourceField] {
            &self.0
        }

        fn part(&self, f: usize, _i: usize) -> Result<Vec<f32>, ArtefactError> {
            Ok(self.1[f].clone())
        }
    }

    #[track_caller]
    fn check(pruning: Pruning, expected: [&[f32]; 2]) {
        let source = Given::new(&[&[0.5, -0.1, 0.2, 0.1], &[-3.0, 0.1, 2.0, 0.3]]);
        let pruned = Pruned::new(&source, pruning).unwrap();
        let rows = [0, 1].map(|f| pruned.part(f, 0).unwrap());
        assert_eq!(rows, expected);
    }

    #[test]
    fn thresholds_and_shares_are_those_worked_by_hand() {
        let all: [&[f32]; 2] = [&[0.5, -0.1, 0.2, 0.1], &[-3.0, 0.1, 2.0, 0.3]];
        check(Pruning::Nothing, all);
        check(Pruning::ShareOfAll(0.0), all);
        let below: [&[f32]; 2] = [&[0.5, 0.0, 0.2, 0.0], &[-3.0, 0.0, 2.0, 0.3]];
        check(Pruning::Below(0.2), below);
        // Two of three tied values: the first ones.
        let quarter: [&[f32]; 2] = [&[0.5, 0.0, 0.2, 0.0], &[-3.0, 0.1, 2.0, 0.3]];
        check(Pruning::ShareOfAll(0.25), quarter);
        let half: [&[f32]; 2] = [&[0.5, 0.0, 0.0, 0.0], &[-3.0, 0.0, 2.0, 0.3]];
        check(Pruning::ShareOfAll(0.5), half);
        let each: [&[f32]; 2] = [&[0.5, 0.0, 0.2, 0.0], &[-3.0, 0.0, 2.0, 0.0]];
        check(Pruning::ShareOfEach(0.5), each);
        check(Pruning::ShareOfAll(1.0), [&[0.0; 4], &[0.0; 4]]);
    }
}
