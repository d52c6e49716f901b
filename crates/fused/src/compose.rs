//! The builders of the pieces that models combine beside layers.

use crate::network::NetworkBuilder;
use crate::piece::{Activation, Attention, Concat, Cross, Linear, Piece, SecondOrder, Sum, Value};
use crate::{FusedError, Init, LinearInit};

impl NetworkBuilder {
    /// Makes the network take a first-order weight for each id: [`Value::FIRST_ORDER`], `[batch, n_fields]`.
    pub fn first_order(&mut self) -> Value {
        self.0.widths[Value::FIRST_ORDER.0] = self.0.n_fields();
        Value::FIRST_ORDER
    }

    /// `x Wᵀ` without bias and activation, for each of the `n_vectors` vectors of a sample.
    ///
    /// # Errors
    /// When `n_out` is 0, the input is not as many vectors wide, or the name is taken.
    pub fn projection(
        &mut self,
        name: &str,
        input: Value,
        n_vectors: usize,
        n_out: usize,
        init: Init,
    ) -> Result<Value, FusedError> {
        let n_in = self.vector_width(input, n_vectors)?;
        if n_out == 0 {
            return Err(FusedError::size("outputs of a projection", "1 or more", 0));
        }
        let weight = self.param(format!("{name}.weight"), &[n_out, n_in], init)?;
        let output = self.value(n_vectors * n_out);
        self.push(Piece::Linear(Linear {
            name: name.to_owned(),
            input,
            output,
            n_in,
            n_out,
            n_vectors,
            weight,
            bias: None,
            activation: Activation::None,
            dropout: None,
        }));
        Ok(output)
    }

    /// The second-order term of a factorisation machine over the `n_vectors` vectors of a sample, `[batch, 1]`.
    ///
    /// # Errors
    /// When the input is not as many vectors wide.
    pub fn second_order(&mut self, input: Value, n_vectors: usize) -> Result<Value, FusedError> {
        let dim = self.vector_width(input, n_vectors)?;
        let output = self.value(1);
        self.push(Piece::SecondOrder(SecondOrder {
            input,
            output,
            n_vectors,
            dim,
        }));
        Ok(output)
    }

    /// The inputs side by side.
    ///
    /// # Errors
    /// When there are none, or one is of width 0.
    pub fn concat(&mut self, inputs: &[Value]) -> Result<Value, FusedError> {
        self.check_inputs("values to concatenate", inputs)?;
        let width = inputs.iter().map(|&value| self.0.width(value)).sum();
        let output = self.value(width);
        self.push(Piece::Concat(Concat {
            inputs: inputs.to_vec(),
            output,
        }));
        Ok(output)
    }

    /// All numbers of all inputs of a sample added up, `[batch, 1]`.
    ///
    /// # Errors
    /// When there are none, or one is of width 0.
    pub fn sum(&mut self, inputs: &[Value]) -> Result<Value, FusedError> {
        self.sum_and(inputs, None)
    }

    /// As [`sum`](Self::sum), plus a learned number: the parameter `name` `[1]`, which starts at 0.
    ///
    /// # Errors
    /// As [`sum`](Self::sum); and when the name is taken.
    pub fn sum_with_bias(&mut self, name: &str, inputs: &[Value]) -> Result<Value, FusedError> {
        let bias = self.param(name.to_owned(), &[1], Init::Zeros)?;
        self.sum_and(inputs, Some(bias))
    }

    fn sum_and(&mut self, inputs: &[Value], bias: Option<usize>) -> Result<Value, FusedError> {
        self.check_inputs("values to add up", inputs)?;
        let output = self.value(1);
        self.push(Piece::Sum(Sum {
            inputs: inputs.to_vec(),
            output,
            bias,
        }));
        Ok(output)
    }

    /// Layers `<name>.0`, `<name>.1`, … `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l` with full matrices (DCN-V2,
    /// arXiv 2008.13535).
    ///
    /// # Errors
    /// When there are no layers, or a name is taken.
    pub fn cross_layers(
        &mut self,
        name: &str,
        x0: Value,
        n_layers: usize,
        init: LinearInit,
    ) -> Result<Value, FusedError> {
        if n_layers == 0 {
            return Err(FusedError::size("cross layers", "1 or more", 0));
        }
        let width = self.0.width(x0);
        let mut x = x0;
        for i in 0..n_layers {
            let z = self.linear(&format!("{name}.{i}"), x, width, init, Activation::None)?;
            let output = self.value(width);
            self.push(Piece::Cross(Cross { x0, z, x, output }));
            x = output;
        }
        Ok(x)
    }

    /// Self-attention over the `n_vectors` vectors of a sample, `[batch, n_vectors · n_heads · head_dim]`
    /// (AutoInt, arXiv 1810.11921).
    ///
    /// The parameter `<name>.weight` `[4 · n_heads · head_dim, n_in]` has the rows of the query matrices, those
    /// of the key, the value and the residual matrix, each with the heads one after the other. Each matrix
    /// starts as Xavier says.
    ///
    /// # Errors
    /// When a size is 0, the input is not as many vectors wide, or the name is taken.
    pub fn attention(
        &mut self,
        name: &str,
        input: Value,
        n_vectors: usize,
        n_heads: usize,
        head_dim: usize,
    ) -> Result<Value, FusedError> {
        let (n_in, width) = (self.vector_width(input, n_vectors)?, n_heads * head_dim);
        let (init, _) = LinearInit::Xavier.weight_and_bias(n_in, width);
        let input = self.projection(name, input, n_vectors, 4 * width, init)?;
        let output = self.value(n_vectors * width);
        self.push(Piece::Attention(Attention {
            input,
            output,
            n_vectors,
            n_heads,
            head_dim,
        }));
        Ok(output)
    }

    /// Size of a vector of `value`, which holds `n_vectors`.
    fn vector_width(&self, value: Value, n_vectors: usize) -> Result<usize, FusedError> {
        let width = self.0.width(value);
        if width == 0 || n_vectors == 0 || !width.is_multiple_of(n_vectors) {
            let expected = format!("a multiple of {n_vectors} vectors");
            return Err(FusedError::size("width of a value", expected, width));
        }
        Ok(width / n_vectors)
    }

    fn check_inputs(&self, what: &'static str, inputs: &[Value]) -> Result<(), FusedError> {
        if inputs.is_empty() {
            return Err(FusedError::size(what, "1 or more", 0));
        }
        match inputs.iter().find(|value| self.0.width(**value) == 0) {
            None => Ok(()),
            Some(value) => {
                let found = format!("value {} of width 0", value.index());
                Err(FusedError::size(what, "some numbers in each", found))
            }
        }
    }
}
