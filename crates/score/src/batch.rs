//! What is scored.

use std::ops::Range;

use slimbed_compact::{Bags, LookupError};

/// Samples to be scored.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Number of samples.
    pub n: usize,
    /// Dense features, `[n, n_dense]`; empty where the model takes none.
    pub dense: &'a [f32],
    /// The ids of each field, `n` bags each, in the order of the artefact's fields.
    pub fields: &'a [Bags<'a>],
}

/// Checks that a field has `n` bags and that offsets and weights fit its ids; the ids themselves are checked
/// where they are looked up.
pub(crate) fn check_bags(bags: &Bags<'_>, n: usize) -> Result<(), LookupError> {
    check_len("samples of the field", n, bags.n())?;
    if let Some(weights) = bags.weights {
        check_len("weights", bags.ids.len(), weights.len())?;
    }
    match bags.offsets {
        None => Ok(()),
        Some(offsets) => check_offsets(offsets, bags.ids.len()),
    }
}

fn check_offsets(offsets: &[u32], n_ids: usize) -> Result<(), LookupError> {
    let error = |position, expected: String| LookupError::Offset {
        position,
        expected,
        found: offsets.get(position).copied().unwrap_or(0),
    };
    if offsets.first() != Some(&0) {
        return Err(error(0, "0".into()));
    }
    if let Some(i) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        return Err(error(i + 1, format!("{} or more", offsets[i])));
    }
    let last = offsets.len() - 1;
    if offsets[last] as usize != n_ids {
        return Err(error(last, format!("{n_ids}, the number of ids")));
    }
    Ok(())
}

fn check_len(what: &'static str, expected: usize, found: usize) -> Result<(), LookupError> {
    if expected == found {
        return Ok(());
    }
    Err(LookupError::Length {
        what,
        expected,
        found,
    })
}

/// The bags of some samples; their offsets, which start at 0 again, are written to `offsets`.
pub(crate) fn part<'s>(
    bags: &Bags<'s>,
    samples: Range<usize>,
    offsets: &'s mut Vec<u32>,
) -> Bags<'s> {
    let Some(all) = bags.offsets else {
        return Bags {
            ids: &bags.ids[samples.clone()],
            offsets: None,
            weights: bags.weights.map(|weights| &weights[samples]),
        };
    };
    let all = &all[samples.start..=samples.end];
    let (first, last) = (all[0], all[all.len() - 1]);
    offsets.clear();
    offsets.extend(all.iter().map(|offset| offset - first));
    let ids = first as usize..last as usize;
    Bags {
        ids: &bags.ids[ids.clone()],
        offsets: Some(offsets),
        weights: bags.weights.map(|weights| &weights[ids]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_starts_at_its_own_ids() {
        let weights = [0.1, 0.2, 0.3, 0.4, 0.5];
        let bags = Bags {
            weights: Some(&weights),
            ..Bags::new(&[1, 2, 3, 4, 5], &[0, 2, 2, 4, 5])
        };
        let mut offsets = Vec::new();
        let part = part(&bags, 1..3, &mut offsets);
        assert_eq!(part.ids, [3, 4]);
        assert_eq!(part.offsets, Some(&[0, 0, 2][..]));
        assert_eq!(part.weights, Some(&[0.3, 0.4][..]));
    }

    #[test]
    fn single_ids_are_cut_like_samples() {
        let mut offsets = Vec::new();
        let part = part(&Bags::single(&[7, 8, 9]), 2..3, &mut offsets);
        assert_eq!((part.ids, part.offsets), (&[9][..], None));
    }

    #[test]
    fn bad_bags_name_the_place() {
        /// Ids, offsets and what the message says.
        type Case = (&'static [u32], Option<&'static [u32]>, &'static str);
        let cases: [Case; 5] = [
            (&[0], None, "samples of the field: expected 2, found 1"),
            (
                &[0],
                Some(&[0, 1]),
                "samples of the field: expected 2, found 1",
            ),
            (&[0], Some(&[1, 1, 1]), "offset 0 is 1: expected 0"),
            (&[0], Some(&[0, 1, 0]), "offset 2 is 0: expected 1 or more"),
            (
                &[0],
                Some(&[0, 1, 2]),
                "offset 2 is 2: expected 1, the number of ids",
            ),
        ];
        for (ids, offsets, message) in cases {
            let bags = Bags {
                offsets,
                ..Bags::single(ids)
            };
            assert_eq!(check_bags(&bags, 2).unwrap_err().to_string(), message);
        }
        let bags = Bags {
            weights: Some(&[1.0]),
            ..Bags::single(&[1, 2])
        };
        let error = check_bags(&bags, 2).unwrap_err().to_string();
        assert_eq!(error, "weights: expected 2, found 1");
    }
}
