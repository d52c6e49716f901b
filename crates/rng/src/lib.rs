//! Seeded randomness: every random draw of Slimbed comes from a named ChaCha stream.
//!
//! A [`Seed`] is the one number a user gives. A [`Stream`] is a counter-based generator derived from
//! the seed, a purpose (`"shuffle"`, `"init/C1"`) and an index. Streams are independent, so adding a
//! draw in one place changes nothing elsewhere, and any word can be computed without those before
//! it, so rows can be drawn in parallel with bits that do not depend on the number of threads.
//!
//! ```
//! use slimbed_rng::Seed;
//! let mut a = Seed::new(7).stream("init/C1", 0);
//! let mut b = Seed::new(7).stream("init/C1", 0);
//! assert_eq!(a.uniform(), b.uniform());
//! ```

mod permutation;
mod stream;

pub use permutation::Permutation;
pub use stream::{Position, Seed, Stream};
