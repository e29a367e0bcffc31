//! The values of weights, to be changed in place.

use super::Weights;

/// The arrays of [`Weights`], whose values may change and whose lengths may not: what
/// [`Layer::update`](crate::Layer::update) hands out.
#[derive(Debug)]
#[non_exhaustive]
pub struct WeightsMut<'a, T> {
    /// The input weights `[G*H, I]`.
    pub w: &'a mut [T],
    /// The recurrent weights `[G*H, H]`, or `[G*H, P]` with a projection.
    pub r: &'a mut [T],
    /// The bias beside W `[G*H]`.
    pub b_w: Option<&'a mut [T]>,
    /// The bias beside R `[G*H]`.
    pub b_r: Option<&'a mut [T]>,
    /// The peepholes of an LSTM `[3*H]`.
    pub peepholes: Option<&'a mut [T]>,
    /// The projection of an LSTM's output `[P, H]`.
    pub projection: Option<&'a mut [T]>,
}

impl<T> Weights<T> {
    /// All arrays, to be changed in place.
    pub fn values_mut(&mut self) -> WeightsMut<'_, T> {
        WeightsMut {
            w: &mut self.w,
            r: &mut self.r,
            b_w: self.b_w.as_deref_mut(),
            b_r: self.b_r.as_deref_mut(),
            peepholes: self.peepholes.as_deref_mut(),
            projection: self.projection.as_deref_mut(),
        }
    }
}
