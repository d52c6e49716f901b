//! The values of the smallest magnitude, in place and without memory that grows with the tables.

use rayon::prelude::*;
use slimbed_embedding::Table;

/// Values one task looks at.
const CHUNK: usize = 1 << 16;

/// Bits of a magnitude that one pass looks at, from the highest; the sign is none of them.
const PASSES: [(u32, u32); 3] = [(20, 11), (10, 10), (0, 10)];

/// Buckets of a pass at most.
const BUCKETS: usize = 1 << 11;

/// Sets the `n` values of the smallest magnitude to zero; of tied ones the first.
pub fn zero_smallest(tables: &mut [Table], n: u64) {
    if n == 0 {
        return;
    }
    let (cut, n_tied) = nth(tables, n);
    for table in &mut *tables {
        let chunks = table.values_mut().par_chunks_mut(CHUNK);
        let below = |x: &&mut f32| magnitude(**x) < cut;
        chunks.for_each(|chunk| chunk.iter_mut().filter(below).for_each(|x| *x = 0.0));
    }
    let values = tables.iter_mut().flat_map(Table::values_mut);
    let tied = values.filter(|x| magnitude(**x) == cut);
    tied.take(n_tied as usize).for_each(|x| *x = 0.0);
}

/// Magnitudes have the order of these bits.
fn magnitude(x: f32) -> u32 {
    x.abs().to_bits()
}

/// The magnitude of the `n`-th smallest value, and how many of those that have it are among the `n`.
fn nth(tables: &[Table], mut n: u64) -> (u32, u64) {
    let mut known = 0;
    for (shift, bits) in PASSES {
        let counts = histogram(tables, known, shift, bits);
        for (bucket, &count) in counts.iter().enumerate() {
            if n <= count {
                known |= (bucket as u32) << shift;
                break;
            }
            n -= count;
        }
    }
    (known, n)
}

/// How many magnitudes that agree with `known` in the bits above have each value of `bits` bits from `shift` on.
fn histogram(tables: &[Table], known: u32, shift: u32, bits: u32) -> [u64; BUCKETS] {
    let above = shift + bits;
    let mask = (1 << bits) - 1;
    let mut sum = [0; BUCKETS];
    for table in tables {
        let chunks = table.values().par_chunks(CHUNK);
        let counts = chunks.fold(
            || [0; BUCKETS],
            |mut counts, chunk| {
                let own = chunk.iter().map(|&x| magnitude(x));
                let own = own.filter(|m| m >> above == known >> above);
                own.for_each(|m| counts[(m >> shift & mask) as usize] += 1);
                counts
            },
        );
        add(
            &mut sum,
            &counts.reduce(
                || [0; BUCKETS],
                |mut a, b| {
                    add(&mut a, &b);
                    a
                },
            ),
        );
    }
    sum
}

fn add(sum: &mut [u64; BUCKETS], counts: &[u64; BUCKETS]) {
    sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tables(all: &[Vec<f32>]) -> Vec<Table> {
        let table = |values: &Vec<f32>| {
            let mut table = Table::zeros(values.len(), 1).unwrap();
            table.values_mut().copy_from_slice(values);
            table
        };
        all.iter().map(table).collect()
    }

    /// By sorting.
    fn naive(all: &[Vec<f32>], n: usize) -> Vec<f32> {
        let mut values: Vec<f32> = all.concat();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
        order.iter().take(n).for_each(|&i| values[i] = 0.0);
        values
    }

    proptest! {
        #[test]
        fn it_is_what_sorting_finds(
            all in prop::collection::vec(
                prop::collection::vec(prop_oneof![-2.0_f32..2.0, Just(0.5), Just(-0.5), Just(1e-30)], 0..40),
                1..4,
            ),
            share in 0.0_f64..1.0,
        ) {
            let n = (share * all.iter().map(Vec::len).sum::<usize>() as f64).round() as usize;
            let mut found = tables(&all);
            zero_smallest(&mut found, n as u64);
            let found: Vec<f32> = found.iter().flat_map(|t| t.values().to_vec()).collect();
            prop_assert_eq!(found, naive(&all, n));
        }
    }

    #[test]
    fn many_values_and_several_tasks_agree_with_sorting() {
        let values = |seed: u64, n: usize| {
            let mut values = vec![0.0; n];
            slimbed_rng::Seed::new(seed)
                .stream("select", 0)
                .fill_normal(&mut values, 1.0);
            values
        };
        let all = [values(1, 3 * CHUNK + 5), values(2, 100)];
        let mut found = tables(&all);
        zero_smallest(&mut found, 150_000);
        let found: Vec<f32> = found.iter().flat_map(|t| t.values().to_vec()).collect();
        assert_eq!(found, naive(&all, 150_000));
    }
}
