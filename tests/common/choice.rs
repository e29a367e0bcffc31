//! Layers with options, for the library and for the naive reference.

use super::model::{Bias, Model};
use super::numbers::{Random, Scalar};
use crate::reference;
use gatefold::Weights;
use gatefold::cell::{Activation, Cell};
use proptest::prelude::*;
use proptest::sample::select;

/// In what a layer departs from the standard equations. What is not for its cell does not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// Of gates, candidate, cell state.
    pub activations: Option<[Activation; 3]>,
    pub clip: Option<f64>,
    pub peepholes: bool,
    pub coupled: bool,
    /// Units of a projection.
    pub projection: Option<usize>,
    pub attended: bool,
}

impl Choice {
    /// The same without what `cell` cannot have.
    fn of(self, cell: Cell) -> Choice {
        let Choice { activations, clip, .. } = self;
        match cell {
            Cell::Lstm => Choice { attended: false, ..self },
            Cell::Gru { .. } => Choice { activations, clip, attended: self.attended, ..Choice::default() },
            _ => Choice { activations, clip, ..Choice::default() },
        }
    }
}

/// The weights of a layer with options.
#[derive(Clone, Debug)]
pub struct Chosen<T> {
    pub model: Model<T>,
    pub choice: Choice,
    /// `[3*H]`
    pub peepholes: Option<Vec<T>>,
    /// `[P, H]`
    pub projection: Option<Vec<T>>,
}

impl<T: Scalar> Chosen<T> {
    /// Random weights, half as large as those of [`Model::random`]: activations may have no bounds.
    pub fn random(cell: Cell, [input, hidden]: [usize; 2], bias: Bias, choice: Choice, seed: u64) -> Self {
        let choice = choice.of(cell);
        let mut model = Model::<T>::random(cell, [input, hidden], bias, seed);
        let mut random = Random(seed ^ 0x5eed);
        let projection = choice.projection.map(|units| {
            model.r = random.values(cell.gates() * hidden * units, 0.5 / units as f64);
            random.values(units * hidden, 1.0 / hidden as f64)
        });
        for values in [&mut model.w, &mut model.r].into_iter().chain(&mut model.b_w).chain(&mut model.b_r) {
            values.iter_mut().for_each(|value| *value = T::from_f64(value.to_f64() / 2.0));
        }
        let peepholes = choice.peepholes.then(|| random.values(3 * hidden, 0.25));
        Chosen { model, choice, peepholes, projection }
    }

    /// C: P or H.
    pub fn output(&self) -> usize {
        self.choice.projection.unwrap_or(self.model.hidden)
    }

    /// As the library takes them.
    pub fn weights(&self) -> Weights<T> {
        let mut weights = match &self.projection {
            Some(projection) => {
                let Model { input, hidden, w, r, b_w, b_r, .. } = self.model.clone();
                Weights::projected(input, hidden, w, r, [b_w, b_r], projection.clone()).expect("sizes that fit")
            }
            None => self.model.weights(),
        };
        let count = match self.model.cell {
            Cell::Lstm => 3,
            Cell::Gru { .. } => 2,
            _ => 1,
        };
        let Choice { activations, clip, coupled, attended, .. } = self.choice;
        let fits = "options of the cell";
        if let Some(activations) = activations {
            weights = weights.with_activations(&activations[..count]).expect(fits);
        }
        if let Some(clip) = clip {
            weights = weights.with_clip(clip).expect(fits);
        }
        if let Some(peepholes) = &self.peepholes {
            weights = weights.with_peepholes(peepholes.clone()).expect(fits);
        }
        if coupled {
            weights = weights.coupled().expect(fits);
        }
        if attended { weights.attended().expect(fits) } else { weights }
    }

    /// As the naive reference takes them, numbers rounded to the element type.
    pub fn reference(&self) -> (reference::Layer, reference::Options) {
        let exact = |values: &Vec<T>| values.iter().map(|v| v.to_f64()).collect::<Vec<_>>();
        let options = reference::Options {
            activations: self.choice.activations.map(|activations| activations.map(of::<T>)),
            clip: self.choice.clip.map(rounded::<T>),
            peepholes: self.peepholes.as_ref().map(exact),
            coupled: self.choice.coupled,
            projection: self.projection.as_ref().map(exact),
            attended: self.choice.attended,
        };
        (self.model.reference(), options)
    }
}

fn rounded<T: Scalar>(value: f64) -> f64 {
    T::from_f64(value).to_f64()
}

/// The reference's activation, with parameters as the element type has them.
pub fn of<T: Scalar>(activation: Activation) -> reference::Activation {
    use reference::Activation as R;
    match activation {
        Activation::Sigmoid => R::Sigmoid,
        Activation::Tanh => R::Tanh,
        Activation::Relu => R::Relu,
        Activation::Linear => R::Linear,
        Activation::Relu6 => R::Relu6,
        Activation::LeakyRelu { alpha } => R::LeakyRelu(rounded::<T>(alpha)),
        Activation::ThresholdedRelu { alpha } => R::ThresholdedRelu(rounded::<T>(alpha)),
        Activation::Elu { alpha } => R::Elu(rounded::<T>(alpha)),
        Activation::Selu => R::Selu,
        Activation::Gelu => R::Gelu,
        Activation::Silu => R::Silu,
        Activation::Mish => R::Mish,
        Activation::Softplus => R::Softplus,
        Activation::Softsign => R::Softsign,
        Activation::Exponential => R::Exponential,
        Activation::HardSigmoid { alpha, beta } => R::HardSigmoid(rounded::<T>(alpha), rounded::<T>(beta)),
        Activation::HardSilu => R::HardSilu,
        Activation::Affine { alpha, beta } => R::Affine(rounded::<T>(alpha), rounded::<T>(beta)),
        Activation::ScaledTanh { alpha, beta } => R::ScaledTanh(rounded::<T>(alpha), rounded::<T>(beta)),
        other => panic!("no reference for {other:?}"),
    }
}

/// Every activation, with parameters that differ from the defaults, too.
pub fn activations() -> Vec<Activation> {
    let mut all = Activation::ALL.to_vec();
    all.extend([
        Activation::LeakyRelu { alpha: 0.3 },
        Activation::ThresholdedRelu { alpha: 0.2 },
        Activation::ThresholdedRelu { alpha: -0.3 },
        Activation::Elu { alpha: 0.7 },
        Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
        Activation::HardSigmoid { alpha: -0.9, beta: 0.3 },
        Activation::Affine { alpha: -0.6, beta: 0.2 },
        Activation::ScaledTanh { alpha: 1.3, beta: 0.7 },
    ]);
    all
}

prop_compose! {
    /// Any options.
    pub fn choices()(
        activations in prop::option::weighted(0.7, prop::array::uniform3(select(activations()))),
        clip in prop::option::weighted(0.3, select(vec![0.1, 0.5, 1e30])),
        peepholes: bool,
        coupled in prop::bool::weighted(0.3),
        projection in prop::option::weighted(0.4, select(vec![1usize, 3, 7, 16, 17])),
        attended: bool,
    ) -> Choice {
        Choice { activations, clip, peepholes, coupled, projection, attended }
    }
}
