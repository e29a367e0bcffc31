//! What several commands take from the command line.

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use gatefold::{Backend, Isa, Options, Threads};
use gatefold_kernels::isa::UnknownIsa;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// More threads than any processor has; beyond lies a mistake.
const MOST_THREADS: u64 = 1024;

/// By what a layer computes.
#[derive(Args, Clone, Debug)]
pub struct Engine {
    /// The instruction set: avx512, avx2, neon or portable [default: the best of this processor].
    #[arg(long, value_name = "NAME", value_parser = isa)]
    pub isa: Option<Isa>,
    /// What computes the products: native, matrixmultiply, or openblas if built with that feature.
    #[arg(long, value_name = "NAME", default_value = "native", value_parser = backend)]
    pub backend: Backend,
}

impl Engine {
    /// The options of a layer on so many threads. With more than one it is to be called inside a pool of as many.
    pub fn options(&self, threads: usize) -> Options {
        let threads = if threads == 1 { Threads::One } else { Threads::Pool };
        Options { backend: self.backend, isa: self.isa, threads, ..Options::default() }
    }

    /// The instruction set that such a layer has.
    pub fn isa(&self) -> Result<Isa, UnknownIsa> {
        self.isa.map_or_else(Isa::chosen, Ok)
    }

    /// The backend by the name that the command line takes.
    pub fn backend_name(&self) -> &'static str {
        BACKENDS.iter().find(|(_, backend)| *backend == self.backend).map_or("unknown", |(name, _)| name)
    }

    /// The processor whose kernels OpenBLAS has chosen, if it is the backend.
    pub fn blas_core(&self) -> Option<String> {
        #[cfg(feature = "openblas")]
        if self.backend == Backend::OpenBlas {
            return Some(gatefold::gemm::OpenBlas::new().core_name());
        }
        None
    }
}

const BACKENDS: [(&str, Backend); 3] =
    [("native", Backend::Native), ("matrixmultiply", Backend::MatrixMultiply), ("openblas", Backend::OpenBlas)];

fn isa(name: &str) -> Result<Isa, UnknownIsa> {
    Isa::named(name)
}

fn backend(name: &str) -> Result<Backend, String> {
    let found = BACKENDS.iter().find(|(known, _)| *known == name).map(|(_, backend)| *backend);
    found.ok_or_else(|| format!("there are {}", BACKENDS.map(|(name, _)| name).join(", ")))
}

/// A pool of `threads` threads.
pub fn pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new().num_threads(threads).build().context("threads cannot be started")
}

/// A number of threads.
pub fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MOST_THREADS)
}

/// A size that is not 0.
pub fn size() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}
