//! What a dense network consists of, independent of who computes it.
//!
//! A [`Network`] is a list of [`Piece`]s over numbered [`Value`]s, in the order of computation, and the
//! list of its parameters. It holds no numbers: `FusedNetwork` runs it with the fused kernels of this
//! crate, other executors run the same list on a tensor library. A model is written once, as the
//! function that builds its network.

use slimbed_rng::Seed;

use crate::piece::{Activation, DotInteraction, Dropout, Linear, Piece, SelfInteraction, Value};
use crate::{FusedError, Init, LinearInit};

/// A parameter: where it stands in the flat vector of all of them, and how it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Unique name.
    pub name: String,
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// First value in the flat vector.
    pub start: usize,
    /// Distribution of the initial values.
    pub init: Init,
}

impl Param {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its place in the flat vector.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len()
    }

    /// Its initial values for `seed`, from the stream `init/<name>`.
    pub fn initial(&self, seed: Seed) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        let mut stream = seed.stream(&format!("init/{}", self.name), 0);
        self.init.fill(&mut values, &mut stream);
        values
    }
}

/// A finished network: `(dense, embeddings, first-order weights) → logit`.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    n_fields: usize,
    dim: usize,
    /// Width of every value.
    pub(crate) widths: Vec<usize>,
    pieces: Vec<Piece>,
    params: Vec<Param>,
    output: Value,
}

impl Network {
    /// Starts a network for this data; `n_dense` may be 0.
    ///
    /// # Errors
    /// When another size is 0.
    pub fn builder(
        n_dense: usize,
        n_fields: usize,
        dim: usize,
    ) -> Result<NetworkBuilder, FusedError> {
        for (what, n) in [("fields", n_fields), ("dim of the embeddings", dim)] {
            if n == 0 {
                return Err(FusedError::size(what, "at least 1", n));
            }
        }
        Ok(NetworkBuilder(Self {
            n_fields,
            dim,
            widths: vec![n_dense, n_fields * dim, 0],
            pieces: Vec::new(),
            params: Vec::new(),
            output: Value::DENSE,
        }))
    }

    /// Number of dense features.
    pub fn n_dense(&self) -> usize {
        self.widths[0]
    }

    /// Number of fields.
    pub fn n_fields(&self) -> usize {
        self.n_fields
    }

    /// Size of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Whether it takes first-order weights, one for each id.
    pub fn has_first_order(&self) -> bool {
        self.width(Value::FIRST_ORDER) > 0
    }

    /// Width of a value.
    pub fn width(&self, value: Value) -> usize {
        self.widths[value.0]
    }

    /// Number of values, inputs included.
    pub fn n_values(&self) -> usize {
        self.widths.len()
    }

    /// The computations in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The parameters in the order of the flat vector.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Number of scalar parameters.
    pub fn n_params(&self) -> usize {
        self.params.last().map_or(0, |param| param.range().end)
    }

    /// The logits, `[batch, 1]`.
    pub fn output(&self) -> Value {
        self.output
    }
}

/// A network in the making.
#[derive(Clone, Debug)]
pub struct NetworkBuilder(pub(crate) Network);

impl NetworkBuilder {
    /// Layers `<name>.0`, `<name>.1`, … of the given widths on top of `input`, ReLU behind all but the
    /// last, `last` behind that one, and dropout behind every ReLU.
    ///
    /// # Errors
    /// When no width is given, one is 0, `dropout` is not in `[0, 1)`, or the name is taken.
    pub fn mlp(
        &mut self,
        name: &str,
        input: Value,
        widths: &[usize],
        init: LinearInit,
        last: Activation,
        dropout: f32,
    ) -> Result<Value, FusedError> {
        check_widths(widths)?;
        check_dropout(dropout)?;
        let mut value = input;
        for (i, &width) in widths.iter().enumerate() {
            let activation = if i + 1 < widths.len() {
                Activation::Relu
            } else {
                last
            };
            value = self.linear(&format!("{name}.{i}"), value, width, init, activation)?;
            if activation == Activation::Relu && dropout > 0.0 {
                self.drop_out(dropout);
            }
        }
        Ok(value)
    }

    /// An affine layer with `n_out` outputs.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn linear(
        &mut self,
        name: &str,
        input: Value,
        n_out: usize,
        init: LinearInit,
        activation: Activation,
    ) -> Result<Value, FusedError> {
        let n_in = self.0.width(input);
        let (weight_init, bias_init) = init.weight_and_bias(n_in, n_out);
        let weight = self.param(format!("{name}.weight"), &[n_out, n_in], weight_init)?;
        let bias = self.param(format!("{name}.bias"), &[n_out], bias_init)?;
        let output = self.value(n_out);
        self.push(Piece::Linear(Linear {
            name: name.to_owned(),
            input,
            output,
            n_in,
            n_out,
            n_vectors: 1,
            weight,
            bias: Some(bias),
            activation,
            dropout: None,
        }));
        Ok(output)
    }

    /// DLRM's interaction of `x` with the embeddings.
    ///
    /// # Errors
    /// When `x` is an input of the network or not as wide as an embedding.
    pub fn dot_interaction(&mut self, x: Value, own: SelfInteraction) -> Result<Value, FusedError> {
        let (n_fields, dim) = (self.0.n_fields, self.0.dim);
        if x.0 <= Value::FIRST_ORDER.0 || self.0.width(x) != dim {
            let expected = format!("the output of a layer, of width {dim}");
            let found = format!("value {} of width {}", x.0, self.0.width(x));
            return Err(FusedError::size(
                "input of the interaction",
                expected,
                found,
            ));
        }
        let output = self.value(dim + own.n_pairs(n_fields + 1));
        self.push(Piece::DotInteraction(DotInteraction {
            x,
            output,
            n_fields,
            dim,
            own,
        }));
        Ok(output)
    }

    /// The network whose logit is `output`.
    ///
    /// # Errors
    /// When `output` is not one number wide or not the last thing computed, or something is never used.
    pub fn finish(mut self, output: Value) -> Result<Network, FusedError> {
        let used = |value: &Value| self.0.pieces.iter().any(|piece| piece.reads(*value));
        let mut inner = (Value::EMBEDDINGS.0..output.0).map(Value);
        if let Some(value) = inner.find(|value| self.0.width(*value) > 0 && !used(value)) {
            let found = format!("value {} that nothing reads", value.0);
            return Err(FusedError::size("network", "no idle parts", found));
        }
        if output.0 + 1 != self.0.n_values() || self.0.width(output) != 1 {
            let found = format!("value {} of width {}", output.0, self.0.width(output));
            return Err(FusedError::size(
                "output of the network",
                "the last value, of width 1",
                found,
            ));
        }
        self.0.output = output;
        Ok(self.0)
    }

    /// Puts dropout behind the newest layer.
    fn drop_out(&mut self, rate: f32) {
        if let Some(Piece::Linear(linear)) = self.0.pieces.last_mut() {
            let purpose = format!("dropout/{}", linear.name);
            linear.dropout = Some(Dropout { rate, purpose });
        }
    }

    pub(crate) fn push(&mut self, piece: Piece) {
        self.0.pieces.push(piece);
    }

    /// A new value of this width.
    pub(crate) fn value(&mut self, width: usize) -> Value {
        self.0.widths.push(width);
        Value(self.0.widths.len() - 1)
    }

    /// A new parameter; returns its number.
    pub(crate) fn param(
        &mut self,
        name: String,
        shape: &[usize],
        init: Init,
    ) -> Result<usize, FusedError> {
        if self.0.params.iter().any(|param| param.name == name) {
            return Err(FusedError::DuplicateParameter { name });
        }
        let start = self.0.n_params();
        self.0.params.push(Param {
            name,
            shape: shape.to_vec(),
            start,
            init,
        });
        Ok(self.0.params.len() - 1)
    }
}

fn check_widths(widths: &[usize]) -> Result<(), FusedError> {
    if widths.is_empty() || widths.contains(&0) {
        let found = format!("{widths:?}");
        return Err(FusedError::size(
            "MLP widths",
            "one or more, none of them 0",
            found,
        ));
    }
    Ok(())
}

fn check_dropout(rate: f32) -> Result<(), FusedError> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err(FusedError::size("dropout rate", "a number in [0, 1)", rate))
}
