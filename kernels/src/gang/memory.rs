//! What is remembered from one call for the gang to the next.

use super::PATIENCE;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Instant;

/// How many of the next callers work alone: none, or 2^delays, where members were slow of late. On a machine with other
/// work for its cores, a share can take as long as the other work's turn.
pub(super) static ALONE: Alone = Alone { callers: AtomicUsize::new(0), delays: AtomicUsize::new(0) };

pub(super) struct Alone {
    callers: AtomicUsize,
    delays: AtomicUsize,
}

impl Alone {
    const MOST_DELAYS: usize = 10;

    /// Whether the next caller works alone.
    pub(super) fn is_next(&self) -> bool {
        let less = |callers: usize| callers.checked_sub(1);
        self.callers.load(Relaxed) > 0 && self.callers.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    /// After a call in which a member was slow, or none was. Callers may race: it is a guess in any case.
    pub(super) fn learn(&self, slow: bool) {
        let delays = self.delays.load(Relaxed);
        if slow {
            self.delays.store((delays + 1).min(Self::MOST_DELAYS), Relaxed);
            self.callers.store(1 << delays, Relaxed);
        } else {
            self.delays.store(delays.saturating_sub(1), Relaxed);
        }
    }
}

/// When a call for a gang ended last.
pub(super) static RECENT: Recent = Recent { first: OnceLock::new(), last: AtomicU64::new(0) };

pub(super) struct Recent {
    /// What times are counted from.
    first: OnceLock<Instant>,
    /// Nanoseconds since then.
    last: AtomicU64,
}

impl Recent {
    fn nanoseconds(&self, now: Instant) -> u64 {
        now.duration_since(*self.first.get_or_init(|| now)).as_nanos() as u64
    }

    /// A call ends.
    pub(super) fn is_now(&self) {
        self.last.store(self.nanoseconds(Instant::now()), Relaxed);
    }

    /// Whether that was a short while ago.
    pub(super) fn was(&self, now: Instant) -> bool {
        let last = self.last.load(Relaxed);
        last > 0 && self.nanoseconds(now).saturating_sub(last) < PATIENCE.as_nanos() as u64
    }
}
