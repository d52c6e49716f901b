//! Multi-layer embedding training (MLET): train two factors, ship their product.
//!
//! A table of a field is trained as `E = W1·W2` with `W1` `[n_rows, k]` looked up and `W2` `[k, d]` dense,
//! linear and without bias, `k > d` as a rule. What is shipped is `E`, an ordinary table `[n_rows, d]`:
//! the method changes how a table is learned, not what it can say (Deng et al., arXiv 2006.05623,
//! 2309.15881).
//!
//! Legend: `n` rows of a field, `k` inner dim, `d` dim of the field, `dim` that of the model (`d ≤ dim`),
//! `U` unique rows of a batch, `G` the gradient with respect to the unique rows of `E`. Then
//! `dW1 = G·W2ᵀ` on these rows and `dW2 = W1ᵀ·G`, summed over them.
//!
//! - [`MletEmbedding`]: the layer. It works on the unique rows of a batch, and pools after the product.
//! - [`MletSettings`]: what can be set. Fields may also be given their [`Shape`]s, and ship their factors.
//! - [`truncate`], [`singular_values`]: the control that trains wide plain tables and cuts them afterwards.

mod chunks;
mod fold;
mod layer;
mod projections;
mod settings;
mod spectrum;
mod start;
mod symmetric;

pub use layer::{Factor, MletEmbedding};
pub use settings::{
    FieldSizes, MletSettings, ProjectionInit, ProjectionOptimizer, Shape, TrainProjection,
};
pub use spectrum::{Truncated, singular_values, truncate};
