//! Double-double arithmetic (106 bits), in which true values are computed, and the error of a computed value. Nothing here
//! is shared with the kernels.

/// (hi + lo) 2^scale with |lo| at most half a unit in the last place of hi.
#[derive(Clone, Copy, Debug)]
pub struct Wide {
    pub hi: f64,
    pub lo: f64,
    pub scale: i32,
}

impl From<f64> for Wide {
    fn from(hi: f64) -> Wide {
        Wide { hi, lo: 0.0, scale: 0 }
    }
}

/// ln 2 to 106 bits.
const LN2: Wide = Wide { hi: std::f64::consts::LN_2, lo: 2.319_046_813_846_299_6e-17, scale: 0 };

/// The sum of two numbers and its rounding error.
fn two_sum(a: f64, b: f64) -> Wide {
    let hi = a + b;
    let part = hi - a;
    Wide { hi, lo: (a - (hi - part)) + (b - part), scale: 0 }
}

/// The arithmetic is for numbers of scale 0.
impl Wide {
    pub fn add(self, other: Wide) -> Wide {
        let sum = two_sum(self.hi, other.hi);
        two_sum(sum.hi, sum.lo + (self.lo + other.lo))
    }

    pub fn neg(self) -> Wide {
        Wide { hi: -self.hi, lo: -self.lo, scale: self.scale }
    }

    pub fn mul(self, other: Wide) -> Wide {
        let hi = self.hi * other.hi;
        let error = self.hi.mul_add(other.hi, -hi);
        two_sum(hi, error + (self.hi * other.lo + self.lo * other.hi))
    }

    pub fn div(self, other: Wide) -> Wide {
        let first = self.hi / other.hi;
        let rest = self.add(other.mul(first.into()).neg());
        let second = rest.hi / other.hi;
        let rest = rest.add(other.mul(second.into()).neg());
        two_sum(first, second).add((rest.hi / other.hi).into())
    }

    /// 2^scale multiplied out, where nothing overflows and what underflows does not count.
    pub fn flat(self) -> Wide {
        Wide { hi: times_power(self.hi, self.scale), lo: times_power(self.lo, self.scale), scale: 0 }
    }

    /// exp(r) - 1 for |r| < 0.5, by the Taylor series.
    pub fn exp_m1(self) -> Wide {
        let mut sum = Wide::from(1.0);
        for k in (2..=30).rev() {
            sum = Wide::from(1.0).add(self.div(f64::from(k).into()).mul(sum));
        }
        self.mul(sum)
    }

    /// exp(x), scaled.
    pub fn exp(x: f64) -> Wide {
        let n = (x / LN2.hi).round();
        let r = Wide::from(x).add(LN2.mul((-n).into()));
        Wide { scale: n as i32, ..Wide::from(1.0).add(r.exp_m1()) }
    }

    /// The exponent of the greatest power of two that is not above the magnitude; -1023 for all subnormals of scale 0.
    pub fn exponent(self) -> i32 {
        let biased = (self.hi.abs().to_bits() >> 52) as i32;
        let below = self.hi.to_bits().trailing_zeros() >= 52 && self.lo * self.hi < 0.0;
        biased - 1023 - i32::from(below) + self.scale
    }
}

/// x 2^n in steps that neither overflow nor underflow where x and the result do not.
fn times_power(x: f64, n: i32) -> f64 {
    let power = |n: i32| f64::from_bits(((n + 1023) as u64) << 52);
    let half = (n / 2).clamp(-1000, 1000);
    x * power(half) * power((n - half).clamp(-1022, 1023))
}

/// The error of `y` in units in the last place, of `digits` bits, of the true value. Infinite if y is no number.
pub fn ulps(y: f64, truth: Wide, digits: u32) -> f64 {
    let error = (times_power(y, -truth.scale) - truth.hi) - truth.lo;
    let error = times_power(error.abs(), truth.scale - truth.exponent() + digits as i32 - 1);
    if error.is_nan() { f64::INFINITY } else { error }
}
