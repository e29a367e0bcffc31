//! Few rounds wake no member, unless they follow each other closely. One test alone in its process: others would keep the
//! gang awake.

use gatefold_kernels::gang::lead;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The most shares that one of `rounds` rounds had, each long enough for a member to wake up.
fn most_shares(rounds: usize) -> usize {
    let most = AtomicUsize::new(0);
    lead(2, rounds, |_, share| {
        most.fetch_max(share.of, SeqCst);
        sleep(Duration::from_millis(3));
    });
    most.load(SeqCst)
}

#[test]
fn few_rounds_wake_nobody_unless_they_follow_each_other() {
    let start = Instant::now();
    let in_time = || assert!(start.elapsed() < Duration::from_secs(60), "no member has come in a minute");
    // Threads that have just been started are awake.
    most_shares(1);
    sleep(Duration::from_millis(300));
    for _ in 0..5 {
        assert_eq!(most_shares(7), 1, "a sleeper was woken for few rounds");
        sleep(Duration::from_millis(50));
    }
    while most_shares(2) < 2 {
        in_time();
    }
    sleep(Duration::from_millis(50));
    while most_shares(20) < 2 {
        in_time();
        sleep(Duration::from_millis(50));
    }
}
