//! The constants of the elementary functions, from `tools/minimax.py` and `tools/activations.py`.

/// The constants of the elementary functions for one element type.
pub trait Elementary: Sized + 'static {
    /// 1.5 * 2^MANTISSA_BITS. A sum with it is rounded to an integer, which its low bits hold for
    /// [`ldexp`](crate::isa::Simd::ldexp).
    const MAGIC: Self;
    /// More by the bias of the exponent: [`ldexp`](crate::isa::Simd::ldexp) of +0 then is 2^n, by a shift alone.
    const MAGIC_POWER: Self;
    /// One less: 2^n / 2.
    const MAGIC_HALF_POWER: Self;
    /// 1 / ln 2, rounded.
    const LOG2E: Self;
    /// The rest of 1 / ln 2.
    const LOG2E_LO: Self;
    /// 2 / ln 2.
    const TWICE_LOG2E: Self;
    /// ln(2) / 2. Its rest would count for n = 1 and 2 only, where the errors of HALF_COTH cancel it.
    const HALF_LN2: Self;
    /// z coth(z ln(2)/2) as a polynomial in z², the constant term first.
    const COTH: &'static [Self];
    /// r coth r as a polynomial in r².
    const HALF_COTH: &'static [Self];
    /// The least argument whose exponential is a normal number; whose sigmoid is one, too.
    const EXP_NORMAL: Self;
    /// The least argument whose exponential rounds to infinity.
    const EXP_INFINITE: Self;
    /// A magnitude from which on tanh rounds to 1; hardly greater than it must be, so that the product of the denominators of
    /// this tanh and of a sigmoid that is FLUSH is still a number.
    const TANH_ONE: Self;
    /// The least normal number.
    const LEAST_NORMAL: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// 2 atanh(s) / s as a polynomial in s².
    const ATANH: &'static [Self];
    /// The greatest a whose exp(-a²/2) is a normal number.
    const TAIL_END: Self;
    /// Φ(-a) exp(a²/2), where Φ is the normal distribution function, is a quotient of polynomials in a: this one over
    const TAIL_NUMERATOR: &'static [Self];
    /// this one. All coefficients are positive: nothing cancels.
    const TAIL_DENOMINATOR: &'static [Self];
}

impl Elementary for f32 {
    const MAGIC: f32 = 12_582_912.0;
    const MAGIC_POWER: f32 = Self::MAGIC + 127.0;
    const MAGIC_HALF_POWER: f32 = Self::MAGIC + 126.0;
    const LOG2E: f32 = std::f32::consts::LOG2_E;
    const LOG2E_LO: f32 = 1.925963e-8;
    const TWICE_LOG2E: f32 = 2.0 * Self::LOG2E;
    const HALF_LN2: f32 = std::f32::consts::LN_2 / 2.0;
    const COTH: &'static [f32] = &[2.88539, 0.11552478, -0.0009229696];
    const HALF_COTH: &'static [f32] = &[1.0, 0.33333224, -0.022117939];
    const EXP_NORMAL: f32 = -87.33654;
    const EXP_INFINITE: f32 = 88.72284;
    const TANH_ONE: f32 = 9.1;
    const LEAST_NORMAL: f32 = f32::MIN_POSITIVE;
    const INFINITY: f32 = f32::INFINITY;
    const ATANH: &'static [f32] = &[2.0, 0.6666642, 0.40021527, 0.28001806, 0.28011987];
    const TAIL_END: f32 = 13.216393;
    const TAIL_NUMERATOR: &'static [f32] = &[0.5, 0.43548992, 0.18116207, 0.039935604, 0.0040130294];
    const TAIL_DENOMINATOR: &'static [f32] = &[1.0, 1.6688647, 1.1938815, 0.4639985, 0.10011117, 0.010059028];
}

impl Elementary for f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const MAGIC_POWER: f64 = Self::MAGIC + 1023.0;
    const MAGIC_HALF_POWER: f64 = Self::MAGIC + 1022.0;
    const LOG2E: f64 = std::f64::consts::LOG2_E;
    const LOG2E_LO: f64 = 2.0355273740931033e-17;
    const TWICE_LOG2E: f64 = 2.0 * Self::LOG2E;
    const HALF_LN2: f64 = std::f64::consts::LN_2 / 2.0;
    const COTH: &'static [f64] = &[
        2.8853900817779268,
        0.11552453009332665,
        -0.0009250684777813299,
        1.0582189052506253e-5,
        -1.2710432536528578e-7,
        1.5311599786296891e-9,
    ];
    const HALF_COTH: &'static [f64] = &[
        1.0,
        0.33333333333333737,
        -0.022222222223717492,
        0.002116402131953925,
        -0.00021163528071922082,
        2.1178634290417457e-5,
    ];
    const EXP_NORMAL: f64 = -708.3964185322641;
    const EXP_INFINITE: f64 = 709.7827128933841;
    const TANH_ONE: f64 = 19.1;
    const LEAST_NORMAL: f64 = f64::MIN_POSITIVE;
    const INFINITY: f64 = f64::INFINITY;
    const ATANH: &'static [f64] = &[
        2.0,
        0.6666666666666631,
        0.40000000000155117,
        0.2857142854811795,
        0.22222223953649675,
        0.18181744478957745,
        0.153865483953244,
        0.13301121340837418,
        0.12104945244094129,
        0.08344969825372153,
        0.17009760103148452,
    ];
    const TAIL_END: f64 = 37.64030867387418;
    const TAIL_NUMERATOR: &'static [f64] = &[
        0.5,
        0.7739911904090185,
        0.5927681905251737,
        0.2884203114276578,
        0.09729012775642701,
        0.023497486199851005,
        0.0040627963105348,
        0.00048658578921898584,
        3.690649736886299e-5,
        1.370238145647293e-6,
    ];
    const TAIL_DENOMINATOR: &'static [f64] = &[
        1.0,
        2.345866941620893,
        2.5572673954677962,
        1.710272844997027,
        0.7794571937263389,
        0.2538690710621918,
        0.06011228408781386,
        0.01027643096376674,
        0.0012231243751877072,
        9.25108698200025e-5,
        3.434677678869185e-6,
    ];
}
