//! How large the caches of the machine are.

use std::fs;
use std::sync::OnceLock;

/// Bytes of the caches: those of one core, and the one that all share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// First level, data, of a core.
    pub l1: usize,
    /// Second level, of a core.
    pub l2: usize,
    /// Third level, of all cores.
    pub l3: usize,
}

impl Caches {
    /// Those of this machine as Linux tells them in `/sys/devices/system/cpu`; where it does not, and on other systems,
    /// 32 KiB, 1 MiB and 32 MiB. They are read once in a process.
    pub fn of_machine() -> Caches {
        static READ: OnceLock<Caches> = OnceLock::new();
        *READ.get_or_init(|| Caches {
            l1: linux_cache(1).unwrap_or(32 << 10),
            l2: linux_cache(2).unwrap_or(1 << 20),
            l3: linux_cache(3).unwrap_or(32 << 20),
        })
    }
}

fn linux_cache(level: u32) -> Option<usize> {
    let read = |index: u32, file: &str| {
        fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}")).ok()
    };
    let is_wanted = |&index: &u32| {
        read(index, "level").is_some_and(|text| text.trim().parse() == Ok(level))
            && read(index, "type").is_some_and(|kind| kind.trim() != "Instruction")
    };
    (0..8).find(is_wanted).and_then(|index| bytes(read(index, "size")?.trim()))
}

/// `48K` and the like; none for nothing.
fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = match (text.strip_suffix('K'), text.strip_suffix('M')) {
        (Some(number), _) => (number, 1 << 10),
        (_, Some(number)) => (number, 1 << 20),
        _ => (text, 1),
    };
    number.parse::<usize>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_linux_writes_them() {
        assert_eq!(bytes("48K"), Some(49152));
        assert_eq!(bytes("2M"), Some(2097152));
        assert_eq!(bytes("512"), Some(512));
        for not in ["many", "0K", "", "K", "99999999999999999999K", "18446744073709551615M"] {
            assert_eq!(bytes(not), None, "{not}");
        }
    }

    #[test]
    fn every_machine_has_some() {
        let Caches { l1, l2, l3 } = Caches::of_machine();
        assert!(l1 >= 1 << 10 && l2 >= l1 && l3 >= l1, "{l1} {l2} {l3}");
    }
}
