//! [`Faults`]: which calls go wrong, how, and how many calls there were.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;

use super::{Call, Fault};
use crate::Timestamp;
use crate::lock::Locked;

/// Decides what happens to each call.
type Plan = dyn FnMut(Call, usize) -> Fault + Send;

/// The plan of a [`Faulty`](super::Faulty), and the number of its calls. Clones share both.
///
/// ```
/// use bgjob::testing::{Call, Fault, Faults};
///
/// let faults = Faults::none();
/// faults.plan(|call, nth| match call {
///     Call::Finish if nth % 3 == 0 => Fault::After, // every third answer to a finish is lost
///     _ => Fault::None,
/// });
/// ```
#[derive(Clone)]
pub struct Faults(Arc<Mutex<FaultState>>);

struct FaultState {
    plan: Box<Plan>,
    calls: BTreeMap<Call, usize>,
    /// How far the clock is ahead of the wrapped store's, in milliseconds. Negative: behind.
    clock_off: i64,
}

impl Faults {
    /// No faults until they are planned.
    pub fn none() -> Self {
        Self(Arc::new(Mutex::new(FaultState {
            plan: Box::new(|_, _| Fault::None),
            calls: BTreeMap::new(),
            clock_off: 0,
        })))
    }

    /// Random faults. The same seed and the same calls give the same faults.
    ///
    /// ```
    /// use bgjob::testing::{Faults, Rates};
    ///
    /// let faults = Faults::seeded(42, Rates { before: 0.05, after: 0.05, ..Rates::default() });
    /// # let _ = faults;
    /// ```
    pub fn seeded(seed: u64, rates: Rates) -> Self {
        let faults = Self::none();
        faults.sow(seed, rates);
        faults
    }

    /// From now on faults are random.
    pub fn sow(&self, seed: u64, rates: Rates) {
        let mut dice = Rng::with_seed(seed);
        self.plan(move |call, _| rates.draw(call, &mut dice));
    }

    /// From now on this function decides what happens to a call. Its arguments are the call's kind
    /// and how many calls of that kind were made, this one included. A fault that can't happen to
    /// the call ([`Fault::fits`]) is ignored.
    pub fn plan(&self, plan: impl FnMut(Call, usize) -> Fault + Send + 'static) {
        self.lock().plan = Box::new(plan);
    }

    /// The same fault for all calls of these kinds. An empty list means every kind that the fault
    /// fits.
    ///
    /// # Panics
    /// If the fault can't happen to a call in the list ([`Fault::fits`]).
    #[track_caller]
    pub fn always(&self, calls: &'static [Call], fault: Fault) {
        fault.check(calls);
        self.plan(move |call, _| match meant(calls, call) {
            true => fault,
            false => Fault::None,
        });
    }

    /// The next call of these kinds has the fault; later ones have none. An empty list means every
    /// kind that the fault fits.
    ///
    /// ```
    /// use bgjob::{JobStore, providers::memory::MemoryStore, testing::{Fault, Faulty}};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let store = Faulty::new(MemoryStore::new());
    /// store.faults().once(&[], Fault::Before);
    /// assert!(store.counts().await.is_err());
    /// assert!(store.counts().await.is_ok());
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the fault can't happen to a call in the list ([`Fault::fits`]).
    #[track_caller]
    pub fn once(&self, calls: &'static [Call], fault: Fault) {
        fault.check(calls);
        let mut left = Some(fault);
        self.plan(move |call, _| {
            let met = left.take_if(|fault| meant(calls, call) && fault.fits(call));
            met.unwrap_or(Fault::None)
        });
    }

    /// From now on the clock of a [`DocumentStore`](crate::store::DocumentStore) is ahead, as a
    /// host's clock may be.
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    /// use bgjob::{Clock, store::DocumentStore, testing::{Faulty, ManualClock, MemoryDocuments}};
    ///
    /// let clock = ManualClock::new();
    /// let store = Faulty::new(MemoryDocuments::new(Arc::new(clock.clone())));
    /// store.faults().clock_ahead(Duration::from_secs(3));
    /// assert_eq!(store.clock().now().since(clock.now()), Duration::from_secs(3));
    /// ```
    pub fn clock_ahead(&self, by: Duration) {
        self.lock().clock_off = millis(by);
    }

    /// From now on that clock is behind.
    pub fn clock_behind(&self, by: Duration) {
        self.lock().clock_off = -millis(by);
    }

    /// What that clock says when the wrapped store's clock says this.
    pub(super) fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis() + self.lock().clock_off)
    }

    /// Ends all faults, and corrects the clock.
    pub fn heal(&self) {
        self.plan(|_, _| Fault::None);
        self.lock().clock_off = 0;
    }

    /// How many calls of this kind there were.
    pub fn count(&self, call: Call) -> usize {
        self.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// What happens to the call that is about to be made.
    pub(super) fn next(&self, call: Call) -> Fault {
        let FaultState { plan, calls, .. } = &mut *self.lock();
        let count = calls.entry(call).or_default();
        *count += 1;
        let fault = plan(call, *count);
        if fault.fits(call) { fault } else { Fault::None }
    }

    fn lock(&self) -> MutexGuard<'_, FaultState> {
        self.0.locked()
    }
}

/// Whether a list names this call. An empty list names every call.
fn meant(calls: &[Call], call: Call) -> bool {
    calls.is_empty() || calls.contains(&call)
}

/// At most a thousand years.
fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).map_or(1 << 45, |millis| millis.min(1 << 45))
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("calls", &self.lock().calls)
            .finish_non_exhaustive()
    }
}

/// The probability of each fault in a call that it fits, from 0 to 1. A call has one fault at most.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is named like the fault it stands for")]
pub struct Rates {
    pub before: f64,
    pub after: f64,
    pub lasting: f64,
    pub panic: f64,
    pub panic_after: f64,
    pub slow: f64,
    pub hang: f64,
    pub hang_after: f64,
    pub twice: f64,
    pub late: f64,
    pub crash: f64,
    pub crash_after: f64,
    pub lost: f64,
    pub reorder: f64,
    pub wipe: f64,
    /// The most time that a slow call takes on the way to the provider, and on the way back.
    pub slow_most: Duration,
    /// The most time until a late call is done.
    pub late_most: Duration,
}

impl Default for Rates {
    /// No faults. If they are switched on, slow calls take up to 100 ms each way, and late calls up
    /// to a minute.
    fn default() -> Self {
        Self {
            before: 0.0,
            after: 0.0,
            lasting: 0.0,
            panic: 0.0,
            panic_after: 0.0,
            slow: 0.0,
            hang: 0.0,
            hang_after: 0.0,
            twice: 0.0,
            late: 0.0,
            crash: 0.0,
            crash_after: 0.0,
            lost: 0.0,
            reorder: 0.0,
            wipe: 0.0,
            slow_most: Duration::from_millis(100),
            late_most: Duration::from_secs(60),
        }
    }
}

impl Rates {
    /// Draws what happens to this call.
    pub(in crate::testing) fn draw(&self, call: Call, dice: &mut Rng) -> Fault {
        let none = Duration::ZERO;
        let each = [
            (Fault::Before, self.before),
            (Fault::After, self.after),
            (Fault::Lasting, self.lasting),
            (Fault::Panic, self.panic),
            (Fault::PanicAfter, self.panic_after),
            (Fault::Hang, self.hang),
            (Fault::HangAfter, self.hang_after),
            (Fault::Twice, self.twice),
            (Fault::Late(none), self.late),
            (Fault::Crash, self.crash),
            (Fault::CrashAfter, self.crash_after),
            (Fault::Lost, self.lost),
            (Fault::Reorder, self.reorder),
            (Fault::Wipe, self.wipe),
            (
                Fault::Slow {
                    before: none,
                    after: none,
                },
                self.slow,
            ),
        ];
        // One random number for all faults. The share of a fault that does not fit is not given to
        // the others.
        let mut throw = dice.f64();
        let there = each.into_iter().filter(|(_, rate)| *rate > 0.0);
        for (fault, rate) in there.filter(|(fault, _)| fault.fits(call)) {
            if throw < rate {
                return self.timed(fault, dice);
            }
            throw -= rate;
        }
        Fault::None
    }

    /// The same fault, with random times.
    fn timed(&self, fault: Fault, dice: &mut Rng) -> Fault {
        let mut some = |most: Duration| most.mul_f64(dice.f64());
        match fault {
            Fault::Slow { .. } => Fault::Slow {
                before: some(self.slow_most),
                after: some(self.slow_most),
            },
            Fault::Late(_) => Fault::Late(some(self.late_most)),
            other => other,
        }
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = [
            ("before", self.before),
            ("after", self.after),
            ("lasting", self.lasting),
            ("panic", self.panic),
            ("panic-after", self.panic_after),
            ("slow", self.slow),
            ("hang", self.hang),
            ("hang-after", self.hang_after),
            ("twice", self.twice),
            ("late", self.late),
            ("crash", self.crash),
            ("crash-after", self.crash_after),
            ("lost", self.lost),
            ("reorder", self.reorder),
            ("wipe", self.wipe),
        ];
        let there = each.into_iter().filter(|(_, rate)| *rate > 0.0);
        let words: Vec<_> = there
            .map(|(name, rate)| format!("{name} {:.1} %", 100.0 * rate))
            .collect();
        f.write_str(&words.join(", "))
    }
}
