//! Dropout between layers.

use crate::parameters::same;
use crate::random::Random;
use gatefold::{Element, Error, Result};

/// What shares one draw of a [`Dropout`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// Nothing: every value is dropped or kept on its own. PyTorch's and Keras' `Dropout`.
    #[default]
    Nothing,
    /// All timesteps: a channel of a row is dropped for the whole sequence, or not at all. Gal and Ghahramani's variational
    /// dropout (arXiv:1512.05287); Keras' `Dropout` with `noise_shape=(N, 1, C)`.
    Timesteps,
}

/// Dropout of the values between two layers: each becomes 0 with a probability of `rate`, and is divided by 1 - rate
/// otherwise, so that nothing is to be done after training.
///
/// Between the layers of a [`Stack`](gatefold::Stack), which is run as a whole, and of its recurrent states: [`StackDropout`](crate::StackDropout).
///
/// ```
/// use gatefold_training::{Dropout, Share};
///
/// let mut dropout = Dropout::new(0.5, Share::Timesteps, 1)?;
/// let mut x = vec![1.0; 3 * 2 * 4]; // T = 3, N = 2, C = 4
/// dropout.forward(&mut x, [3, 2, 4])?;
/// assert!(x.iter().all(|&x| x == 0.0 || x == 2.0));
/// assert_eq!(x[..8], x[16..]); // the same in every timestep
///
/// let mut dx = vec![1.0; x.len()];
/// dropout.backward(&mut dx)?;
/// assert_eq!(dx, x);
/// # Ok::<(), gatefold::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dropout<T> {
    rate: f64,
    share: Share,
    random: Random,
    /// What the last call multiplied by: `[T, N, C]`, or `[N, C]` for all timesteps.
    mask: Vec<T>,
    /// The length of what it was called with.
    len: usize,
}

impl<T: Element> Dropout<T> {
    /// Dropout of `rate`, whose draws `seed` decides.
    ///
    /// # Errors
    /// [`Error::Number`] if `rate` is not between 0 and 1.
    pub fn new(rate: f64, share: Share, seed: u64) -> Result<Self> {
        check_rate("rate", rate)?;
        Ok(Dropout { rate, share, random: Random::new(seed), mask: Vec::new(), len: 0 })
    }

    /// Draws anew, and drops values of `x: [T, N, C]` in place. Draws T N C numbers, or N C for all timesteps.
    ///
    /// # Errors
    /// [`Error::Shape`] for `x` of another length, [`Error::TooLarge`] for `sizes` that cannot be counted; then nothing was
    /// drawn.
    pub fn forward(&mut self, x: &mut [T], sizes: [usize; 3]) -> Result<()> {
        let step = sizes[1].checked_mul(sizes[2]).ok_or(Error::TooLarge { argument: "sizes" })?;
        let len = step.checked_mul(sizes[0]).ok_or(Error::TooLarge { argument: "sizes" })?;
        same("x", len, x.len())?;
        let drawn = match self.share {
            Share::Nothing => len,
            Share::Timesteps => step.min(len),
        };
        let kept = T::from_f64(1.0 / (1.0 - self.rate));
        draw(&mut self.random, self.rate, [T::ZERO, kept], drawn, &mut self.mask);
        self.len = len;
        self.multiply(x);
        Ok(())
    }

    /// Multiplies the gradients of the outputs by what the last [`Dropout::forward`] multiplied by, in place: they become
    /// those of its inputs.
    ///
    /// # Errors
    /// [`Error::Shape`] for another length than the last call's.
    pub fn backward(&self, dy: &mut [T]) -> Result<()> {
        same("dy", self.len, dy.len())?;
        self.multiply(dy);
        Ok(())
    }

    /// A value that is dropped is 0 whatever it was, also infinite.
    fn multiply(&self, values: &mut [T]) {
        for step in values.chunks_mut(self.mask.len().max(1)) {
            for (value, &mask) in step.iter_mut().zip(&self.mask) {
                *value = if mask == T::ZERO { T::ZERO } else { *value * mask };
            }
        }
    }
}

/// Refuses what is no probability.
pub(crate) fn check_rate(argument: &'static str, rate: f64) -> Result<()> {
    match (0.0..=1.0).contains(&rate) {
        true => Ok(()),
        false => Err(Error::Number { argument, expected: "a number from 0 to 1", found: rate }),
    }
}

/// `count` values in place of those of `to`: each is `first` with a probability of `rate`, and `second` otherwise.
pub(crate) fn draw<T: Element>(random: &mut Random, rate: f64, [first, second]: [T; 2], count: usize, to: &mut Vec<T>) {
    to.clear();
    to.extend((0..count).map(|_| if random.uniform() < rate { first } else { second }));
}
