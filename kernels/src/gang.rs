//! Threads that stand ready to share the rounds of a caller's work.
//!
//! A recurrent layer over one row is a long chain of short steps, each worth a few microseconds: too short for a pool
//! whose tasks are queued and stolen. A gang is threads of our own that are woken once for the whole chain, spin from one
//! round to the next, and sleep when there was nothing to do for a while.
//!
//! Nothing here can deadlock, for nobody waits for a thread that may never start. A caller who does not get the gang, as
//! another has it, does all rounds alone. One who gets it gives a share of the first round to each member that is awake, and
//! takes back that of who has not begun it when its own has ended; others have a share from the round on in which they have
//! arrived. As long as the same threads share, a round is told as soon as the leader's own share of the one before has ended,
//! and members start it when all have: nobody is waited for twice. After the last they go home by themselves.
//!
//! Who sleeps is not woken for a few rounds alone, but is when such calls follow each other closely: then it is still awake
//! at the next. A member that takes far longer than its leader, as its core is busy with something else, is sent home, and
//! the more often that happens, the more of the next callers work alone.
//!
//! ```
//! use gatefold_kernels::gang::{Share, lead};
//! use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
//!
//! let sums = [const { AtomicUsize::new(0) }; 3];
//! lead(2, 3, |round, Share { index, of }| {
//!     for item in (index..100).step_by(of) {
//!         sums[round].fetch_add(item, Relaxed);
//!     }
//! });
//! assert!(sums.iter().all(|sum| sum.load(Relaxed) == 4950));
//! ```

mod memory;

use memory::{ALONE, RECENT};
use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The part of a round that a thread does: part `index` of `of` equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub index: usize,
    /// At least 1.
    pub of: usize,
}

impl Share {
    /// All of it.
    pub const ALL: Share = Share { index: 0, of: 1 };

    /// The part of some items.
    #[inline(always)]
    pub(crate) fn part(self, items: Range<usize>) -> Range<usize> {
        if self.of == 1 {
            return items;
        }
        let at = |index| items.start + items.len() * index / self.of;
        at(self.index)..at(self.index + 1)
    }
}

/// Most threads that a gang has beside its leader.
const MEMBERS: usize = 15;

/// Most threads that share a round, the leader among them.
pub const MOST_THREADS: usize = 1 + MEMBERS;

/// How long a member looks for work before it sleeps, and how long a leader waits at least for a member before it sends it
/// home: where rounds are long, a round.
const PATIENCE: Duration = Duration::from_micros(200);

/// Fewest rounds that a member is woken for, unless the last call ended less than PATIENCE ago: waking takes tens of
/// microseconds.
pub const WORTH_WAKING: usize = 8;

/// Calls `body(round, share)` for every share of every round from 0 to `rounds`, on up to `threads` threads, this one among
/// them. A share starts when all shares of the round before have ended, and sees what they wrote; how a round is cut into
/// shares may change from one to the next. The first call for more threads than ever before starts them; others allocate
/// nothing and take no lock. Waking a member that sleeps is a system call.
///
/// # Panics
/// If `body` does, with what it panicked with, after all shares that were begun have ended, which may be some of the next
/// round.
pub fn lead<F: Fn(usize, Share) + Sync>(threads: usize, rounds: usize, body: F) {
    let members = members(threads.saturating_sub(1).min(MEMBERS).min(rounds));
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if members.is_empty() || ALONE.is_next() || TAKEN.swap(true, Acquire) {
        return (0..rounds).for_each(|round| body(round, Share::ALL));
    }
    let work = Work { call: call::<F>, body: (&raw const body).cast() };
    let mut called = Called { taken: &TAKEN, rounds, called: 0, told: 0, slow: false, start: Instant::now(), work };
    called.call(members, rounds >= WORTH_WAKING || RECENT.was(called.start));
    for round in 0..rounds {
        called.round(round, &body);
    }
}

/// A body whose type is forgotten.
#[derive(Clone, Copy)]
struct Work {
    /// # Safety
    /// `body` is a reference to the body that this function was made for, and may be used from this thread.
    call: unsafe fn(body: *const (), round: usize, share: Share),
    body: *const (),
}

/// # Safety
/// `body` is a reference to an F, which is Sync.
unsafe fn call<F: Fn(usize, Share)>(body: *const (), round: usize, share: Share) {
    // SAFETY: the caller's promise.
    unsafe { (*body.cast::<F>())(round, share) }
}

/// At home: no work, or none that it has seen.
const HOME: u8 = 0;
/// Work is there; the member has not arrived yet.
const CALLED: u8 = 1;
/// The member waits for its turn, or works.
const HERE: u8 = 2;

/// What a member is told: the number of a turn, counted from 1, in the upper bits, below them whether it is the last, and
/// who has a share in it, a bit for each member; or [`DISMISSED`]. The first is told with the call, others when the leader's
/// own share of the turn before has ended. One that has not been taken yet is overwritten by no other than the next, which
/// then has the same shares.
type Turn = u64;

/// That there are no more turns.
const DISMISSED: Turn = Turn::MAX;

/// Of the last turn.
const LAST: Turn = 1 << MEMBERS;

/// What a turn's number is multiplied by.
const NUMBER: u64 = 2 * LAST;

/// The number of a turn.
fn number(turn: Turn) -> u64 {
    turn / NUMBER
}

/// The members that have a share in a turn, a bit for each.
fn shares(turn: Turn) -> Turn {
    turn % LAST
}

/// Whether there are no others behind it.
fn is_last(turn: Turn) -> bool {
    turn & LAST > 0
}

/// A thread of the gang. What is not atomic is written by the leader alone while the member is at home; the member reads it
/// when it has seen the state that follows. What both look at in every round stands in one cache line: who comes last to a
/// meeting takes it over once.
#[repr(C, align(64))]
struct Member {
    /// The turn that is to be taken; 0: none yet.
    turn: AtomicU64,
    /// The number of the turn that was taken last; of who has none yet, of the one before its first.
    done: AtomicU64,
    /// What the body panicked with, a boxed payload; null: it did not.
    panic: AtomicPtr<Box<dyn Any + Send>>,
    state: AtomicU8,
    asleep: AtomicBool,
    work: UnsafeCell<Option<Work>>,
    thread: OnceLock<Thread>,
}

// SAFETY: the atomics order all access to the cell, as the documentation of the type says; the body behind `work` is Sync,
// and its leader outlives every turn.
unsafe impl Sync for Member {}

/// All members, most of whom have no thread.
static ALL: [Member; MEMBERS] = [const {
    Member {
        turn: AtomicU64::new(0),
        done: AtomicU64::new(0),
        panic: AtomicPtr::new(std::ptr::null_mut()),
        state: AtomicU8::new(HOME),
        asleep: AtomicBool::new(false),
        work: UnsafeCell::new(None),
        thread: OnceLock::new(),
    }
}; MEMBERS];

/// The first `count` members, or as many as could be started.
fn members(count: usize) -> &'static [Member] {
    static STARTED: [OnceLock<bool>; MEMBERS] = [const { OnceLock::new() }; MEMBERS];
    let start = |i: usize| {
        let name = format!("gatefold-gang-{}", i + 1);
        thread::Builder::new().name(name).spawn(move || ALL[i].live(i)).is_ok()
    };
    let started = (0..count).take_while(|&i| *STARTED[i].get_or_init(|| start(i))).count();
    &ALL[..started]
}

/// Spins until `ready` gives something; without end if `patience` is none.
fn spin<R>(patience: Option<Duration>, mut ready: impl FnMut() -> Option<R>) -> Option<R> {
    // Long enough for a round, so that the clock is not read in the usual case.
    for _ in 0..2000 {
        if let Some(result) = ready() {
            return Some(result);
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    loop {
        for _ in 0..100 {
            if let Some(result) = ready() {
                return Some(result);
            }
            std::hint::spin_loop();
        }
        if patience.is_some_and(|patience| start.elapsed() > patience) {
            return None;
        }
        // On a busy machine, the thread that is waited for may need this core.
        thread::yield_now();
    }
}

impl Member {
    /// The life of the thread.
    fn live(&'static self, index: usize) {
        let _ = self.thread.set(thread::current());
        loop {
            let called = || (self.state.load(Acquire) == CALLED).then_some(());
            if spin(Some(PATIENCE), called).is_none() {
                self.sleep();
            }
            if self.state.compare_exchange(CALLED, HERE, Acquire, Relaxed).is_ok() {
                self.take_turns(index);
            }
        }
    }

    fn asleep(&self) -> bool {
        self.asleep.load(Relaxed)
    }

    fn sleep(&self) {
        self.asleep.store(true, SeqCst);
        // Either this load sees the call, or the leader's load of `asleep`, after its call, sees the sleeper.
        while self.state.load(SeqCst) != CALLED {
            thread::park();
        }
        self.asleep.store(false, Relaxed);
    }

    /// Takes all turns of a call, and goes home.
    fn take_turns(&self, index: usize) {
        let told = || Some(self.turn.load(Acquire)).filter(|&turn| number(turn) > self.done.load(Relaxed));
        while let (Some(work), Some(turn)) = (self.work(), spin(None, told).filter(|&turn| turn != DISMISSED)) {
            let (done, shares, own) = (self.done.load(Relaxed), shares(turn), 1 << index);
            // Nobody who has a share in this turn is sent home before it has ended.
            of(shares & !own).for_each(|member| member.wait(None, done).unwrap_or_default());
            let before = shares & (own - 1);
            let share = Share { index: 1 + before.count_ones() as usize, of: 1 + shares.count_ones() as usize };
            // SAFETY: the leader keeps the body alive until this turn is done.
            let call = || unsafe { (work.call)(work.body, done as usize, share) };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(call))
                && self.panic.load(Relaxed).is_null()
            {
                self.panic.store(Box::into_raw(Box::new(payload)), Release);
            }
            // The last one may have been told before the one that was taken now had begun.
            let ends = is_last(turn) && number(turn) == done + 1;
            if ends {
                // Before the leader sees that it is done, and may call again.
                self.state.store(HOME, Release);
            }
            self.done.store(done + 1, Release);
            if ends {
                return;
            }
        }
        self.state.store(HOME, Release);
    }

    /// Calls this member, which is at home, and wakes it if it sleeps.
    fn call(&self) {
        self.state.store(CALLED, SeqCst);
        if self.asleep.load(SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether this member had not come yet, and is at home again.
    fn call_off(&self) -> bool {
        self.state.compare_exchange(CALLED, HOME, Relaxed, Relaxed).is_ok()
    }

    /// Waits until this member has taken a turn.
    fn wait(&self, patience: Option<Duration>, number: u64) -> Option<()> {
        spin(patience, || (self.done.load(Acquire) >= number).then_some(()))
    }

    fn work(&self) -> Option<Work> {
        // SAFETY: the leader wrote it before the state that this member has seen, and not since.
        unsafe { *self.work.get() }
    }
}

/// The numbers of some members, a bit for each.
fn numbers(members: Turn) -> impl Iterator<Item = usize> {
    (0..MEMBERS).filter(move |i| members >> i & 1 == 1)
}

/// Some members, a bit for each.
fn of(members: Turn) -> impl Iterator<Item = &'static Member> {
    numbers(members).map(|i| &ALL[i])
}

/// The members that a leader has called. Dropping it sends them home.
struct Called<'a> {
    taken: &'a AtomicBool,
    /// How many there will be.
    rounds: usize,
    /// The members that were called and are not to be sent home, a bit for each.
    called: Turn,
    /// The turn that members were told last.
    told: Turn,
    /// Whether a member had to be waited for too long.
    slow: bool,
    start: Instant,
    work: Work,
}

impl Called<'_> {
    /// The turn of a round, which the members in `shares` are to take.
    fn turn(&self, round: usize, shares: Turn) -> Turn {
        let last = if round + 1 == self.rounds { LAST } else { 0 };
        (round as Turn + 1) * NUMBER + last + shares
    }

    /// Calls the members that are at home, those that sleep only if they are to be woken. (One that was sent home and has not
    /// noticed yet is left alone.) Who is awake is told the first turn as well.
    fn call(&mut self, members: &[Member], wake: bool) {
        let mut awake = 0;
        for (i, member) in members.iter().enumerate() {
            let (is_home, asleep) = (member.state.load(Acquire) == HOME, member.asleep());
            self.called |= Turn::from(is_home && (wake || !asleep)) << i;
            awake |= Turn::from(is_home && !asleep) << i;
        }
        self.told = self.turn(0, awake);
        for i in numbers(self.called) {
            let member = &members[i];
            // SAFETY: a member at home does not read it, and there is one leader.
            unsafe { *member.work.get() = Some(self.work) };
            member.done.store(0, Relaxed);
            member.turn.store(if awake >> i & 1 == 1 { self.told } else { 0 }, Relaxed);
            member.call();
        }
    }

    /// One round, shared with all who are here and are not to be sent home. If no other round needs to know who else has
    /// come, those who have a share go on to the next by themselves.
    fn round(&mut self, round: usize, body: &impl Fn(usize, Share)) {
        if number(self.told) <= round as u64 {
            let here = self.called & (shares(self.told) | self.newcomers());
            // For who has just come, all turns before have been taken.
            of(here).for_each(|member| member.done.store(round as u64, Relaxed));
            self.tell(self.turn(round, here));
        }
        let working = shares(self.told);
        body(round, Share { index: 0, of: 1 + working.count_ones() as usize });
        if round == 0 {
            self.take_back(body);
        }
        let goes_on = working == shares(self.told) & self.called && self.newcomers() == 0;
        if goes_on && round + 1 < self.rounds {
            self.tell(self.turn(round + 1, working));
        }
        self.wait(round as u64 + 1);
    }

    /// Does the shares of the first round whose members have not come yet. They are called anew, and may still come later.
    fn take_back(&mut self, body: &impl Fn(usize, Share)) {
        let working = shares(self.told);
        for (before, i) in numbers(working).enumerate() {
            let member = &ALL[i];
            if member.state.load(Relaxed) == CALLED && member.call_off() {
                self.told &= !(1 << i);
                member.turn.store(0, Relaxed);
                member.call();
                body(0, Share { index: 1 + before, of: 1 + working.count_ones() as usize });
            }
        }
    }

    /// Who has arrived since members were told last.
    fn newcomers(&self) -> Turn {
        let here = |i: &usize| ALL[*i].state.load(Acquire) == HERE;
        numbers(self.called & !shares(self.told)).filter(here).fold(0, |here, i| here | 1 << i)
    }

    /// Tells all who have a share in a turn to take it, and sends home who had one in the last and has none in this.
    fn tell(&mut self, turn: Turn) {
        of(shares(self.told) & !shares(turn)).for_each(|member| member.turn.store(DISMISSED, Release));
        of(shares(turn)).for_each(|member| member.turn.store(turn, Release));
        self.told = turn;
    }

    /// Waits for all shares of a turn, and finds out who has to be waited for too long.
    fn wait(&mut self, number: u64) {
        let mut panic = None;
        for i in numbers(shares(self.told)) {
            let member = &ALL[i];
            let round = || self.start.elapsed() / u32::try_from(number).unwrap_or(u32::MAX).max(1);
            if member.wait(Some(PATIENCE), number).or_else(|| member.wait(Some(round()), number)).is_none() {
                member.wait(None, number);
                self.called &= !(1 << i);
                self.slow = true;
            }
            if !member.panic.load(Relaxed).is_null() {
                // It may be of the next turn, of which nothing else has told yet.
                let payload = member.panic.swap(std::ptr::null_mut(), Acquire);
                // SAFETY: the member made it of a box and gave it away; nobody else takes it.
                panic = Some(unsafe { Box::from_raw(payload) });
            }
        }
        if let Some(payload) = panic
            && !thread::panicking()
        {
            resume_unwind(*payload);
        }
    }
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            // Of the first turn, some may not have come yet, and will not.
            self.told &= !numbers(shares(self.told)).filter(|&i| ALL[i].call_off()).fold(0, |off, i| off | 1 << i);
        }
        // Others may still be working, perhaps on the next round.
        self.wait(number(self.told));
        let gone = if is_last(self.told) { shares(self.told) } else { 0 };
        for member in of((self.called | shares(self.told)) & !gone) {
            // Either it has not arrived yet, and will not; or it waits for its turn.
            if !member.call_off() {
                member.turn.store(DISMISSED, Release);
            }
        }
        ALONE.learn(self.slow);
        RECENT.is_now();
        self.taken.store(false, Release);
    }
}
