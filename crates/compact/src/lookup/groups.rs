//! Bags that are pooled together.

use std::ops::Range;

use super::pass::{Begin, Sums};
use crate::bags::{Bags, Pooling};

/// Bags that are pooled together: whole ones, or a piece of one that is too long.
pub struct Group {
    pub bags: Range<usize>,
    pub ids: Range<usize>,
    begin: Begin,
    finish: Finish,
}

/// What becomes of the sums of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    /// They are what was asked for.
    Scale,
    /// More rows will be added.
    Keep,
}

impl Group {
    /// How rows become sums, the last of them.
    pub fn sums<'k>(&self, bags: &Bags<'k>, pooling: Pooling, unit: f32) -> Sums<'k> {
        let lengths = bags.lengths(pooling);
        match self.finish {
            Finish::Keep => self.parts(),
            Finish::Scale => Sums {
                begin: self.begin,
                unit,
                lengths: lengths.map(|lengths| &lengths[self.bags.start..=self.bags.end]),
            },
        }
    }

    /// Where the ids of each bag end, counted from the group's first id.
    pub fn ends<'k>(&self, offsets: &[u32], ends: &'k mut Vec<u32>) -> &'k [u32] {
        let (from, n) = (self.ids.start, self.ids.len());
        let all = &offsets[self.bags.start + 1..=self.bags.end];
        ends.clear();
        ends.extend(all.iter().map(|&end| (end as usize - from).min(n) as u32));
        ends
    }

    /// How rows become sums to which others will be added.
    pub fn parts<'k>(&self) -> Sums<'k> {
        Sums {
            begin: self.begin,
            unit: 1.0,
            lengths: None,
        }
    }
}

/// All bags, in groups of at most `most` ids and bags.
pub fn groups<'k>(bags: &'k Bags<'_>, most: usize) -> impl Iterator<Item = Group> + 'k {
    let (mut b, mut done) = (0, 0);
    std::iter::from_fn(move || {
        let group = (b < bags.n()).then(|| group(bags, b, done, most))?;
        (b, done) = match group.finish {
            Finish::Keep => (b, done + group.ids.len()),
            Finish::Scale => (group.bags.end, 0),
        };
        Some(group)
    })
}

/// The bags from `b` on that come next; of bag `b` `done` ids have been pooled.
fn group(bags: &Bags<'_>, b: usize, done: usize, most: usize) -> Group {
    let first = bags.range(b).start + done;
    let (begin, last) = match done {
        0 => (Begin::Zeros, bags.n().min(b + most)),
        _ => (Begin::Output, b + 1),
    };
    let fits = |&end: &u32| end as usize - first <= most;
    let n = match bags.offsets {
        None => last - b,
        Some(offsets) => offsets[b + 1..=last].partition_point(fits),
    };
    match n {
        1.. => Group {
            bags: b..b + n,
            ids: first..bags.range(b + n - 1).end,
            begin,
            finish: Finish::Scale,
        },
        0 => Group {
            bags: b..b + 1,
            ids: first..first + most,
            begin,
            finish: Finish::Keep,
        },
    }
}
