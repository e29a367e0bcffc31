//! Which instruction set runs: tokens, detection, and the one list of instruction sets.
//!
//! ```
//! use gatefold_kernels::isa::Isa;
//!
//! let best = Isa::available()[0];
//! assert_eq!(Isa::named(best.name()), Ok(best));
//! assert!(Isa::named("mmx").is_err());
//! ```
//!
//! A new one is a file under `isa/` with a token that implements [`Simd`] for `f32` and `f64`, and a
//! line in the list at the end of this file.

mod several;
mod simd;

pub(crate) use several::Several;
pub(crate) use simd::apart;
pub use simd::{Op, Simd, Token};
use std::fmt;
use std::sync::OnceLock;

/// The environment variable that overrides the choice of [`Isa::chosen`].
pub const ISA_VARIABLE: &str = "GATEFOLD_ISA";

/// `GATEFOLD_ISA`, or a caller, named an instruction set that is not one of ours or not of this processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa {
    /// The name that was asked for.
    pub name: String,
}

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
        write!(f, "instruction set {:?} is not available here; available: {}", self.name, names.join(", "))
    }
}

impl std::error::Error for UnknownIsa {}

/// Declares [`Isa`] from one line per instruction set, the best first.
macro_rules! isas {
    ($($(#[$cfg:meta])* $variant:ident in $module:ident: $when:literal;)+) => {
        $($(#[$cfg])* mod $module; $(#[$cfg])* pub use $module::$variant;)+

        /// An instruction set that this processor has: a value is the proof that it does. Chosen once, when a layer is
        /// built; results have the same bits on each.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Isa {
            $(#[doc = $when] $(#[$cfg])* $variant($variant),)+
        }

        impl Isa {
            /// All that this processor has, the best first; the portable one is always there. The processor is asked once.
            pub fn available() -> &'static [Isa] {
                static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
                AVAILABLE.get_or_init(|| {
                    let mut list = Vec::new();
                    $($(#[$cfg])* list.extend($variant::detect().map(Isa::$variant));)+
                    list
                })
            }

            /// The name, as `GATEFOLD_ISA` takes it.
            pub fn name(self) -> &'static str {
                match self { $($(#[$cfg])* Isa::$variant(_) => $variant::NAME,)+ }
            }
        }

        isas!(@dispatch f32; $($(#[$cfg])* $variant)+);
        isas!(@dispatch f64; $($(#[$cfg])* $variant)+);
    };
    (@dispatch $t:ty; $($(#[$cfg:meta])* $variant:ident)+) => {
        impl Dispatch for $t {
            #[inline(always)]
            fn dispatch<O: Op<Self>>(isa: Isa, op: O) -> O::Out {
                match isa {
                    $($(#[$cfg])* Isa::$variant(s) => s.vectorize(#[inline(always)] || op.run(s)),)+
                }
            }

            fn lanes(isa: Isa) -> usize {
                match isa { $($(#[$cfg])* Isa::$variant(_) => <$variant as Simd<$t>>::LANES,)+ }
            }
        }
    };
}

/// An element type that every instruction set has vectors of.
pub trait Dispatch: Sized {
    /// Runs `op` under `isa`, compiled for it in the crate that calls.
    fn dispatch<O: Op<Self>>(isa: Isa, op: O) -> O::Out;

    /// Values in a vector of `isa`.
    fn lanes(isa: Isa) -> usize;
}

impl Isa {
    /// The one that `GATEFOLD_ISA` names, else the best of this processor. The variable is read once.
    ///
    /// # Errors
    /// [`UnknownIsa`] if the variable names none that is available.
    pub fn chosen() -> Result<Isa, UnknownIsa> {
        static CHOSEN: OnceLock<Result<Isa, UnknownIsa>> = OnceLock::new();
        CHOSEN
            .get_or_init(|| match std::env::var_os(ISA_VARIABLE) {
                Some(name) => Isa::named(&name.to_string_lossy()),
                None => Ok(Isa::available()[0]),
            })
            .clone()
    }

    /// The available one of this name.
    ///
    /// # Errors
    /// [`UnknownIsa`] if there is none.
    pub fn named(name: &str) -> Result<Isa, UnknownIsa> {
        let found = Isa::available().iter().find(|isa| isa.name() == name);
        found.copied().ok_or_else(|| UnknownIsa { name: name.to_owned() })
    }
}

isas! {
    #[cfg(target_arch = "x86_64")]
    Avx512 in avx512: "AVX-512 F, BW, DQ and VL.";
    #[cfg(target_arch = "x86_64")]
    Avx2 in avx2: "AVX2 and FMA.";
    #[cfg(target_arch = "aarch64")]
    Neon in neon: "NEON (Advanced SIMD).";
    Portable in portable: "Plain Rust: `mul_add` on arrays.";
}
