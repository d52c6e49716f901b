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
    is_current: bool,
}

#[derive(Debug)]
struct Layer {
    /// `Wᵀ`, for `y = x·Wᵀ`.
    forward: PackedMatrix,
    /// `W`, for `dx = dy·W`; none where no gradient goes back.
    backward: Option<PackedMatrix>,
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
        Self {
            layers,
            is_current: true,
        }
    }

    /// Has to be called when the parameters have changed.
    pub fn forget(&mut self) {
        self.is_current = false;
    }

    /// Packs the weights anew if they have changed.
    pub fn refresh(&mut self, network: &Network, params: &[f32]) {
        if std::mem::replace(&mut self.is_current, true) {
            return;
        }
        let layers = self.layers.par_iter_mut().enumerate();
        layers.for_each(|(i, layer)| {
            let Some(layer) = layer else {
                return;
            };
            let weight = matrix(network, params, i);
            layer.forward.pack(weight.t());
            if let Some(backward) = &mut layer.backward {
                backward.pack(weight);
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
