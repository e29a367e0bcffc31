//! Arguments for functions of one number, and the element types as tests of them see them.

use gatefold_kernels::real::Real;

/// An element type as a test sees it.
pub trait Float: Real {
    /// Bits of the significand, the leading one included.
    const DIGITS: u32;
    /// Exponents of the least normal and the greatest finite number.
    const EXPONENTS: (i32, i32);
    fn of_bits(bits: u64) -> Self;
    fn bits(self) -> u64;
}

impl Float for f32 {
    const DIGITS: u32 = 24;
    const EXPONENTS: (i32, i32) = (-126, 127);
    fn of_bits(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
}

impl Float for f64 {
    const DIGITS: u32 = 53;
    const EXPONENTS: (i32, i32) = (-1022, 1023);
    fn of_bits(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// The same bits, or both NaN.
pub fn same<T: Float>(y: T, z: T) -> bool {
    y.bits() == z.bits() || (y.to_f64().is_nan() && z.to_f64().is_nan())
}

/// Every `stride`-th bit pattern.
pub fn patterns(stride: usize) -> impl Iterator<Item = f32> {
    (0..1u64 << 32).step_by(stride).map(|bits| f32::from_bits(bits as u32))
}

/// A fixed sequence of pseudo-random bits (SplitMix64).
pub fn random(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |i: u64| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// Arguments of every magnitude, most of them where the functions vary, and many where the bounds are greatest: for
/// tanh just above ln(2)/4, for sigmoid anywhere below -5.
pub fn arguments(count: usize) -> impl Iterator<Item = f64> {
    random(1).take(count).map(|bits| {
        let unit = (bits >> 8) as f64 / (1u64 << 55) as f64 - 1.0;
        match bits % 8 {
            0 => f64::from_bits(bits),
            1 => unit * 760.0,
            2 => unit * 2f64.powi((bits >> 3) as i32 % 64 - 60),
            3 => unit * 40.0,
            4 | 5 => unit * 0.05 + 0.22,
            _ => unit * 5.0,
        }
    })
}

/// `radius` bit patterns on both sides of every place where something changes.
pub fn neighbourhoods<T: Float>(radius: u64) -> impl Iterator<Item = T> {
    let ln2 = std::f64::consts::LN_2;
    // The reductions change their n at odd multiples of ln(2)/2 and ln(2)/4.
    let mut centres: Vec<f64> = (0..=120).map(|k| f64::from(k) * ln2 / 4.0).collect();
    centres.extend([126.0, 127.0, 127.5, 128.0, 149.0, 1022.0, 1023.5, 1024.0, 1075.0].map(|k| k * ln2));
    // Where results become 1, where arguments are clamped, and the ends of the types.
    centres.extend([1.0, 8.66, 9.01, 9.1, 17.33, 18.715, 19.06, 19.1, 36.737, 64.0]);
    centres.extend([f64::from(f32::MAX), f64::MAX, f64::INFINITY, f64::from(f32::MIN_POSITIVE), f64::MIN_POSITIVE]);
    centres.into_iter().flat_map(|x| [x, -x]).flat_map(move |x| {
        let centre = T::from_f64(x).bits();
        (0..=2 * radius).map(move |k| T::of_bits(centre.wrapping_add(k).wrapping_sub(radius)))
    })
}
