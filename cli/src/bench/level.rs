//! The levels of memory.

use gatefold::Caches;

/// Where data may sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    L1,
    L2,
    L3,
    Memory,
}

impl Level {
    pub const ALL: [Level; 4] = [Level::L1, Level::L2, Level::L3, Level::Memory];

    pub fn name(self) -> &'static str {
        match self {
            Level::L1 => "L1",
            Level::L2 => "L2",
            Level::L3 => "L3",
            Level::Memory => "memory",
        }
    }

    /// Bytes of a buffer that sits in this level, for each thread.
    pub fn sample_bytes(self) -> usize {
        match self {
            Level::L1 => 16 << 10,
            Level::L2 => 1 << 20,
            Level::L3 => 8 << 20,
            Level::Memory => 256 << 20,
        }
    }
}

impl Level {
    /// Where `bytes` sit that so many cores share among themselves.
    pub fn of(caches: Caches, bytes: f64, cores: usize) -> Level {
        let share = bytes / cores as f64;
        match () {
            () if share <= caches.l1 as f64 => Level::L1,
            () if share <= caches.l2 as f64 => Level::L2,
            () if bytes <= caches.l3 as f64 => Level::L3,
            () => Level::Memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sits_in_the_smallest_level_that_holds_it() {
        let caches = Caches { l1: 100, l2: 1000, l3: 10_000 };
        let cases = [
            (100.0, 1, Level::L1),
            (101.0, 1, Level::L2),
            (200.0, 2, Level::L1),
            (2000.0, 1, Level::L3),
            (2000.0, 2, Level::L2),
            (10_000.0, 2, Level::L3),
            (10_001.0, 64, Level::L2),
            (10_001.0, 2, Level::Memory),
        ];
        for (bytes, cores, level) in cases {
            assert_eq!(Level::of(caches, bytes, cores), level, "{bytes} on {cores}");
        }
    }
}
