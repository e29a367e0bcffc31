//! What is trained, and its gradients, as plain slices.

use gatefold::{Element, Error, Grads, Layer, Level, Result, Stack, StackGrads};

/// Gradients of the parameters of a layer or of several, array by array.
///
/// Tuples and vectors of gradients are gradients, so that a model of a [`Stack`] and a [`Dense`](crate::Dense) has
/// `(StackGrads<T>, DenseGrads<T>)`.
pub trait Gradients<T> {
    /// Every array with its name. Those that are empty are left out: the layer has no such parameters.
    fn arrays(&self) -> Vec<(&'static str, &[T])>;

    /// The same, to be changed.
    fn arrays_mut(&mut self) -> Vec<(&'static str, &mut [T])>;
}

/// Something with parameters: a layer, a stack, or several of such in a tuple or a vector.
///
/// ```
/// use gatefold::cell::Cell;
/// use gatefold::{Layer, Options};
/// use gatefold_training::{Dense, Parameters, Random, initial};
///
/// let mut random = Random::new(1);
/// let weights = initial::pytorch(Cell::Lstm, 2, 3, &mut random)?;
/// let layer = Layer::new(weights, Options { keep_weights: true, ..Options::default() })?;
/// let model = (layer, Dense::<f32>::pytorch(3, 1, &mut random)?);
/// let lengths: Vec<usize> = model.arrays()?.iter().map(|array| array.len()).collect();
/// assert_eq!(lengths, [24, 36, 12, 12, 3, 1]); // w, r, b_w, b_r; weight, bias
/// # Ok::<(), gatefold::Error>(())
/// ```
pub trait Parameters<T> {
    /// What its backward pass gives.
    type Gradients: Gradients<T>;

    /// The values of every array, in the order of [`Gradients::arrays`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a recurrent layer that does not keep its weights, see
    /// [`Options::keep_weights`](gatefold::Options::keep_weights).
    fn arrays(&self) -> Result<Vec<&[T]>>;

    /// Calls `change` with every array, in the same order. Recurrent layers pack their weights again.
    ///
    /// # Errors
    /// As [`Parameters::arrays`].
    fn update(&mut self, change: &mut dyn FnMut(&mut [T])) -> Result<()>;
}

/// Refuses gradients that are not those of such parameters. Returns the number of values of each array.
pub(crate) fn check<T, P: Parameters<T>>(parameters: &P, gradients: &P::Gradients) -> Result<Vec<usize>> {
    let lengths: Vec<usize> = parameters.arrays()?.into_iter().map(<[T]>::len).collect();
    let gradients = gradients.arrays();
    same("gradients", lengths.len(), gradients.len())?;
    for (&expected, (argument, array)) in lengths.iter().zip(gradients) {
        same(argument, expected, array.len())?;
    }
    Ok(lengths)
}

/// Refuses an argument of another size than it must have.
pub(crate) fn same(argument: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::Shape { argument, expected, found }) }
}

impl<T> Gradients<T> for Grads<T> {
    fn arrays(&self) -> Vec<(&'static str, &[T])> {
        let Grads { dw, dr, db_w, db_r, d_peepholes, d_projection, .. } = self;
        given([
            ("dw", &dw[..]),
            ("dr", dr),
            ("db_w", db_w),
            ("db_r", db_r),
            ("d_peepholes", d_peepholes),
            ("d_projection", d_projection),
        ])
    }

    fn arrays_mut(&mut self) -> Vec<(&'static str, &mut [T])> {
        let Grads { dw, dr, db_w, db_r, d_peepholes, d_projection, .. } = self;
        let all = [
            ("dw", &mut dw[..]),
            ("dr", dr),
            ("db_w", db_w),
            ("db_r", db_r),
            ("d_peepholes", d_peepholes),
            ("d_projection", d_projection),
        ];
        all.into_iter().filter(|(_, array)| !array.is_empty()).collect()
    }
}

/// Those of the arrays that have values.
pub(crate) fn given<'a, T, const N: usize>(all: [(&'static str, &'a [T]); N]) -> Vec<(&'static str, &'a [T])> {
    all.into_iter().filter(|(_, array)| !array.is_empty()).collect()
}

impl<T> Gradients<T> for StackGrads<T> {
    fn arrays(&self) -> Vec<(&'static str, &[T])> {
        self.layers.arrays()
    }

    fn arrays_mut(&mut self) -> Vec<(&'static str, &mut [T])> {
        self.layers.arrays_mut()
    }
}

impl<T, A: Gradients<T>, B: Gradients<T>> Gradients<T> for (A, B) {
    fn arrays(&self) -> Vec<(&'static str, &[T])> {
        [self.0.arrays(), self.1.arrays()].concat()
    }

    fn arrays_mut(&mut self) -> Vec<(&'static str, &mut [T])> {
        self.0.arrays_mut().into_iter().chain(self.1.arrays_mut()).collect()
    }
}

impl<T, G: Gradients<T>> Gradients<T> for Vec<G> {
    fn arrays(&self) -> Vec<(&'static str, &[T])> {
        self.iter().flat_map(G::arrays).collect()
    }

    fn arrays_mut(&mut self) -> Vec<(&'static str, &mut [T])> {
        self.iter_mut().flat_map(G::arrays_mut).collect()
    }
}

/// The arrays of a layer's weights, in the order of its gradients.
fn of_weights<T: Element>(layer: &Layer<T>) -> Result<impl Iterator<Item = &[T]>> {
    let Some(weights) = layer.weights() else {
        let why = "build the layer with Options::keep_weights";
        return Err(Error::Unsupported { what: "training without canonical weights", why });
    };
    let w = [Some(weights.w()), Some(weights.r()), weights.b_w(), weights.b_r()];
    Ok(w.into_iter().chain([weights.peepholes(), weights.projection()]).flatten())
}

/// What [`Layer::update`] hands out, in the same order.
fn change_all<T>(weights: gatefold::weights::WeightsMut<'_, T>, change: &mut dyn FnMut(&mut [T])) {
    change(weights.w);
    change(weights.r);
    [weights.b_w, weights.b_r, weights.peepholes, weights.projection].into_iter().flatten().for_each(change);
}

impl<T: Element> Parameters<T> for Layer<T> {
    type Gradients = Grads<T>;

    fn arrays(&self) -> Result<Vec<&[T]>> {
        of_weights(self).map(Iterator::collect)
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [T])) -> Result<()> {
        Layer::update(self, |weights| change_all(weights, change))
    }
}

impl<T: Element> Parameters<T> for Stack<T> {
    type Gradients = StackGrads<T>;

    fn arrays(&self) -> Result<Vec<&[T]>> {
        let mut arrays = Vec::new();
        for (layer, _) in self.levels().iter().flat_map(Level::layers) {
            arrays.extend(of_weights(layer)?);
        }
        Ok(arrays)
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [T])) -> Result<()> {
        Stack::update(self, |_, weights| change_all(weights, change))
    }
}

impl<T, A: Parameters<T>, B: Parameters<T>> Parameters<T> for (A, B) {
    type Gradients = (A::Gradients, B::Gradients);

    fn arrays(&self) -> Result<Vec<&[T]>> {
        Ok([self.0.arrays()?, self.1.arrays()?].concat())
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [T])) -> Result<()> {
        self.0.update(change)?;
        self.1.update(change)
    }
}

impl<T, P: Parameters<T>> Parameters<T> for Vec<P> {
    type Gradients = Vec<P::Gradients>;

    fn arrays(&self) -> Result<Vec<&[T]>> {
        let mut arrays = Vec::new();
        for part in self {
            arrays.extend(part.arrays()?);
        }
        Ok(arrays)
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [T])) -> Result<()> {
        self.iter_mut().try_for_each(|part| part.update(change))
    }
}
