//! Numbers that a seed decides.

use rand_pcg::Lcg128Xsl64;
use rand_pcg::rand_core::Rng;

/// A generator of pseudo-random numbers: the same seed gives the same numbers on every machine and in every version. PCG
/// XSL RR 128/64 (O'Neill, 2014), whose stream is a part of the crate `rand_pcg`'s promises; what is made of its bits is
/// said below.
///
/// ```
/// use gatefold_training::Random;
///
/// let (mut one, mut other) = (Random::new(7), Random::new(7));
/// assert_eq!(one.uniform(), other.uniform());
/// assert!(one.below(6) < 6);
/// ```
#[derive(Clone, Debug)]
pub struct Random(Lcg128Xsl64);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        // Any stream will do, as long as it is always the same.
        Random(Lcg128Xsl64::new(u128::from(seed), 0x6761_7465_666f_6c64))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// One of the 2^53 multiples of 2^-53 in [0, 1), each as likely as the other.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A number below `n`, each about as likely as the other: none departs from 1/n by more than 2^-64. 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// A number of the normal distribution of mean 0 and standard deviation 1, by the method of Box and Muller (1958).
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * libm::log(radius)).sqrt() * libm::cos(std::f64::consts::TAU * angle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If these change, every seeded result of every user does. They were computed from the generator's definition.
    #[test]
    fn the_stream_of_a_seed_is_fixed() {
        let mut random = Random::new(1);
        assert_eq!([random.bits(), random.bits()], [2529772295257353528, 13323055785194137922]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(3);
        let n = 200_000;
        let mean = |values: &mut dyn FnMut() -> f64| (0..n).map(|_| values()).sum::<f64>() / f64::from(n);
        // Five standard deviations of each estimate.
        let bound = |deviation: f64| 5.0 * deviation / f64::from(n).sqrt();
        assert!((mean(&mut || random.uniform()) - 0.5).abs() < bound(12f64.sqrt().recip()));
        assert!(mean(&mut || random.normal()).abs() < bound(1.0));
        assert!((mean(&mut || random.normal().powi(2)) - 1.0).abs() < bound(2f64.sqrt()));
        assert!((mean(&mut || random.below(5) as f64) - 2.0).abs() < bound(2f64.sqrt()));
    }

    #[test]
    fn nothing_is_below_nothing() {
        assert_eq!(Random::new(0).below(0), 0);
        assert_eq!(Random::new(0).below(1), 0);
    }
}
