//! The weights of a network, packed for the products of its passes.

use rayon::prelude::*;

use crate::matrix::Mat;
use crate::mode::Precision;
use crate::network::{Linear, Network, Piece, Value};
use crate::product::PackedMatrix;

/// The packed weights of all layers.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Indexed like the parameters; none for biases.
    layers: Vec<Option<Layer>>,
}

#[derive(Debug)]
struct Layer {
    /// `Wᵀ`, for `y = x·Wᵀ`.
    forward: PackedMatrix,
    /// `W`, for `dx = dy·W`; none where no gradient goes back.
    backward: Option<PackedMatrix>,
}

impl Layer {
    fn pack(&mut self, weight: Mat<'_>) {
        self.forward.pack(weight.t());
        if let Some(backward) = &mut self.backward {
            backward.pack(weight);
        }
    }
}

impl Weights {
    pub fn new(network: &Network, params: &[f32], precision: Precision) -> Self {
        let mut layers: Vec<_> = network.params().iter().map(|_| None).collect();
        for piece in network.pieces() {
            if let Piece::Linear(linear) = piece {
                let weight = matrix(network, params, linear.weight);
                let back = linear.input != Value::DENSE;
                layers[linear.weight] = Some(Layer {
                    forward: PackedMatrix::new(precision, weight.t()),
                    backward: back.then(|| PackedMatrix::new(precision, weight)),
                });
            }
        }
        Self { layers }
    }

    /// Packs the weights anew after a change of the parameters.
    pub fn pack(&mut self, network: &Network, params: &[f32]) {
        let layers = self.layers.par_iter_mut().enumerate();
        layers.for_each(|(i, layer)| {
            if let Some(layer) = layer {
                layer.pack(matrix(network, params, i));
            }
        });
    }

    /// `Wᵀ` of a layer.
    pub fn forward(&self, linear: &Linear) -> &PackedMatrix {
        &self.layer(linear).forward
    }

    /// `W` of a layer that passes a gradient back.
    pub fn backward(&self, linear: &Linear) -> Option<&PackedMatrix> {
        self.layer(linear).backward.as_ref()
    }

    fn layer(&self, linear: &Linear) -> &Layer {
        self.layers[linear.weight]
            .as_ref()
            .unwrap_or_else(|| unreachable!("every layer has a weight"))
    }
}

/// Parameter `i`, a matrix.
fn matrix<'a>(network: &Network, params: &'a [f32], i: usize) -> Mat<'a> {
    let param = &network.params()[i];
    Mat::row_major(&params[param.range()], param.shape[0], param.shape[1])
}
