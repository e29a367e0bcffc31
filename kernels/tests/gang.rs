//! The gang: every share of every round once, rounds one after the other, and nobody waits for ever.

use gatefold_kernels::gang::{Share, lead};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Leads `rounds` rounds over `items` counters and returns the largest number of shares that a round had.
fn count(threads: usize, rounds: usize, items: usize) -> usize {
    let counters: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
    let most = AtomicUsize::new(0);
    lead(threads, rounds, |round, Share { index, of }| {
        assert!(index < of && of <= threads.max(1));
        most.fetch_max(of, SeqCst);
        for counter in counters.iter().skip(index).step_by(of) {
            // Every share of the round before has ended, and none of this round has been here.
            assert_eq!(counter.fetch_add(1, SeqCst), round);
        }
    });
    assert!(counters.iter().all(|counter| counter.load(SeqCst) == rounds));
    most.load(SeqCst)
}

#[test]
fn every_share_of_every_round_comes_once() {
    for threads in [0, 1, 2, 3, 5, 100] {
        for (rounds, items) in [(0, 3), (1, 1), (7, 10), (500, 4)] {
            let most = count(threads, rounds, items);
            assert!(most <= threads.max(1));
        }
    }
}

#[test]
fn members_take_part_in_time() {
    let start = Instant::now();
    while count(2, 2000, 8) < 2 {
        assert!(start.elapsed() < Duration::from_secs(60), "no member has come in a minute");
    }
}

#[test]
fn single_rounds_are_shared_too() {
    let start = Instant::now();
    while count(2, 1, 8) < 2 {
        assert!(start.elapsed() < Duration::from_secs(60), "no member has come in a minute");
    }
    for i in 0..20_000 {
        count(1 + i % 4, 1 + i % 3, 5);
    }
}

#[test]
fn many_leaders_at_once_all_come_to_an_end() {
    let barrier = Barrier::new(6);
    thread::scope(|scope| {
        for leader in 0..6 {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for i in 0..200 {
                    count(2 + leader % 3, 1 + i % 40, 6);
                }
            });
        }
    });
}

#[test]
fn a_round_may_lead_rounds_of_its_own() {
    let inner = AtomicUsize::new(0);
    lead(3, 5, |_, _| {
        lead(3, 4, |_, share| {
            inner.fetch_add(usize::from(share.index == 0), SeqCst);
        });
    });
    let rounds = inner.load(SeqCst);
    assert!((20..=60).contains(&rounds) && rounds.is_multiple_of(4), "{rounds}");
}

#[test]
fn a_panic_comes_back_and_the_gang_goes_on() {
    for bad in 0..2 {
        let reached = AtomicBool::new(false);
        let result = catch_unwind(AssertUnwindSafe(|| {
            lead(2, 100_000, |_, share| {
                if share.of == 2 && share.index == bad {
                    reached.store(true, SeqCst);
                    panic!("share {bad}");
                }
            });
        }));
        // Without a member there was no second share to panic.
        assert_eq!(result.is_err(), reached.load(SeqCst));
        if let Err(payload) = result {
            assert_eq!(payload.downcast_ref::<String>().unwrap(), &format!("share {bad}"));
        }
        count(2, 100, 8);
    }
}

#[test]
fn sleepers_are_woken() {
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(20));
        count(2, 300, 8);
    }
}
