//! Frequency cut-off: ids that training sees most often keep a row each, the others share one.
//!
//! Rows stand in order of falling frequency and row 0 is the one of unknown ids, so that of `m` rows the first
//! `m - 1` ids have their own and all others share row 0: nothing has to be stored about who is who. The same as a
//! higher threshold of the vocabulary, one for all fields.

use serde::{Deserialize, Serialize};
use slimbed_embedding::Sharing;

use crate::plan::{FieldPlan, Plan};

/// Settings of the frequency cut-off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CutoffSettings {
    /// Occurrences in the training split from which on an id keeps its row. 0, the default: as the target says.
    pub min_count: u64,
}

impl CutoffSettings {
    /// Tables of at most `n` values: the ids of all fields with the largest counts, ties in the order of the
    /// fields; a field keeps its row 0 in any case. `counts` says for each field how often each row is seen, row 0
    /// first.
    pub fn plan(&self, counts: &[&[u64]], dim: usize, n: u64) -> Plan {
        let kept = match self.min_count {
            0 => most_frequent(counts, n / dim.max(1) as u64),
            least => counts.iter().map(|rows| n_from(rows, least)).collect(),
        };
        let fields = counts.iter().zip(kept);
        fields
            .map(|(rows, kept)| field(rows.len(), 1 + kept, dim))
            .collect()
    }
}

fn field(n_rows: usize, m: usize, dim: usize) -> FieldPlan {
    if m >= n_rows {
        return FieldPlan::own(n_rows, dim);
    }
    FieldPlan {
        sharing: Sharing::Cutoff,
        parts: vec![(m, dim)],
        is_projected: false,
    }
}

/// Ids besides row 0 that are seen `least` times or more.
fn n_from(counts: &[u64], least: u64) -> usize {
    counts
        .get(1..)
        .map_or(0, |ids| ids.partition_point(|&n| n >= least))
}

/// How many ids each field keeps when `n_rows` rows are kept, a row 0 for each field among them.
fn most_frequent(counts: &[&[u64]], n_rows: u64) -> Vec<usize> {
    let n_ids = n_rows.saturating_sub(counts.len() as u64);
    let total = |least: u64| counts.iter().map(|rows| n_from(rows, least) as u64).sum();
    // The least count whose ids all have room.
    let (mut low, mut high) = (
        0,
        1 + counts
            .iter()
            .flat_map(|rows| rows.get(1))
            .max()
            .unwrap_or(&0),
    );
    while low < high {
        let middle = low + (high - low) / 2;
        let n: u64 = total(middle);
        if n <= n_ids {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let mut left = n_ids - total(low).min(n_ids);
    let fields = counts.iter().map(|rows| {
        let kept = n_from(rows, low);
        let tied = match low {
            0 => 0,
            _ => n_from(rows, low - 1) - kept,
        };
        let more = (tied as u64).min(left);
        left -= more;
        kept + more as usize
    });
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: [&[u64]; 3] = [&[0, 90, 7, 7, 1], &[5, 30, 8], &[2]];

    fn rows(settings: &CutoffSettings, n: u64) -> Vec<usize> {
        let plan = settings.plan(&COUNTS, 2, n);
        plan.iter().map(|field| field.parts[0].0).collect()
    }

    #[test]
    fn the_most_frequent_ids_of_all_fields_are_kept() {
        let settings = CutoffSettings::default();
        // Three rows 0, then 90, 30, 8 and one of the two that are seen 7 times.
        assert_eq!(rows(&settings, 0), [1, 1, 1]);
        assert_eq!(rows(&settings, 2 * 4), [2, 1, 1]);
        assert_eq!(rows(&settings, 2 * 5 + 1), [2, 2, 1]);
        assert_eq!(rows(&settings, 2 * 7), [3, 3, 1]);
        assert_eq!(rows(&settings, 2 * 9), [5, 3, 1]);
        assert_eq!(rows(&settings, 1000), [5, 3, 1]);
    }

    #[test]
    fn a_least_count_is_one_for_all_fields() {
        let settings = CutoffSettings { min_count: 8 };
        assert_eq!(rows(&settings, 0), [2, 3, 1]);
        let plan = settings.plan(&COUNTS, 2, 0);
        let sharing = plan.iter().map(|field| field.sharing);
        assert!(sharing.eq([Sharing::Cutoff, Sharing::None, Sharing::None]));
    }
}
