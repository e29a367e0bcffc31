//! The levels of memory, and how large the caches are.

use std::fs;

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

/// Bytes of the caches: those of one core, and the one that all share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caches {
    pub l1: f64,
    pub l2: f64,
    pub l3: f64,
}

impl Caches {
    /// Those of this machine as Linux tells them; common sizes where it does not.
    pub fn of_machine() -> Caches {
        Caches {
            l1: linux_cache(1).unwrap_or((32 << 10) as f64),
            l2: linux_cache(2).unwrap_or((1 << 20) as f64),
            l3: linux_cache(3).unwrap_or((32 << 20) as f64),
        }
    }

    /// Where `bytes` sit that so many cores share among themselves.
    pub fn level(self, bytes: f64, cores: usize) -> Level {
        let share = bytes / cores as f64;
        match () {
            () if share <= self.l1 => Level::L1,
            () if share <= self.l2 => Level::L2,
            () if bytes <= self.l3 => Level::L3,
            () => Level::Memory,
        }
    }
}

fn linux_cache(level: u32) -> Option<f64> {
    let read = |index: u32, file: &str| {
        fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}")).ok()
    };
    let is_wanted = |&index: &u32| {
        read(index, "level").is_some_and(|text| text.trim().parse() == Ok(level))
            && read(index, "type").is_some_and(|kind| kind.trim() != "Instruction")
    };
    (0..8).find(is_wanted).and_then(|index| bytes(read(index, "size")?.trim()))
}

/// `48K` and the like.
fn bytes(text: &str) -> Option<f64> {
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1024.0),
        None => text.strip_suffix('M').map_or((text, 1.0), |number| (number, 1024.0 * 1024.0)),
    };
    number.parse::<u32>().ok().map(|number| f64::from(number) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sits_in_the_smallest_level_that_holds_it() {
        let caches = Caches { l1: 100.0, l2: 1000.0, l3: 10_000.0 };
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
            assert_eq!(caches.level(bytes, cores), level, "{bytes} on {cores}");
        }
    }

    #[test]
    fn sizes_are_read_as_linux_writes_them() {
        assert_eq!(bytes("48K"), Some(49152.0));
        assert_eq!(bytes("2M"), Some(2097152.0));
        assert_eq!(bytes("512"), Some(512.0));
        assert_eq!(bytes("many"), None);
    }
}
