//! [`Faults`]: which calls to a provider go wrong, how, and how many there were.

use std::{
    collections::HashMap,
    fmt,
    future::{Future, pending},
    sync::{Arc, Mutex},
    time::Duration,
};

use bgjob::{Error, ErrorKind, Result};

use super::pass;

/// A call of the store or of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Create,
    Claim,
    ClaimReady,
    Finish,
    FinishAndClaim,
    Renew,
    Sweep,
    Purge,
    Operate,
    Look,
    Wait,
    Push,
    Receive,
    Ack,
    Nack,
    Ensure,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    None,
    /// It fails and did nothing.
    Before,
    /// It was done, but its answer is lost.
    After,
    /// It is never answered, and did nothing.
    Hang,
    /// It is done after this time.
    Slow(Duration),
    /// It can't ever be done.
    Lasting,
}

type Plan = dyn FnMut(Call, usize) -> Fault + Send;

/// The plan, and the count of the calls. Clones are the same.
#[derive(Clone)]
pub(crate) struct Faults(Arc<Mutex<Inner>>);

struct Inner {
    plan: Box<Plan>,
    counts: HashMap<Call, usize>,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            plan: Box::new(|_, _| Fault::None),
            counts: HashMap::new(),
        })))
    }

    /// From now on this says what happens to a call, by its kind and how many there were of it.
    pub(crate) fn plan(&self, plan: impl FnMut(Call, usize) -> Fault + Send + 'static) {
        self.0.lock().unwrap().plan = Box::new(plan);
    }

    /// The same fault for calls of these kinds; an empty list means all.
    pub(crate) fn always(&self, calls: &'static [Call], fault: Fault) {
        self.plan(move |call, _| {
            if calls.is_empty() || calls.contains(&call) {
                fault
            } else {
                Fault::None
            }
        });
    }

    /// The next call of these kinds has the fault, the later ones have none.
    pub(crate) fn once(&self, calls: &'static [Call], fault: Fault) {
        let mut left = Some(fault);
        self.plan(move |call, _| {
            if calls.contains(&call) {
                left.take().unwrap_or(Fault::None)
            } else {
                Fault::None
            }
        });
    }

    pub(crate) fn heal(&self) {
        self.plan(|_, _| Fault::None);
    }

    /// How many calls of this kind there were.
    pub(crate) fn count(&self, call: Call) -> usize {
        self.0
            .lock()
            .unwrap()
            .counts
            .get(&call)
            .copied()
            .unwrap_or(0)
    }

    fn next(&self, call: Call) -> Fault {
        let Inner { plan, counts } = &mut *self.0.lock().unwrap();
        let count = counts.entry(call).or_default();
        *count += 1;
        plan(call, *count)
    }

    /// Makes a call, as the plan says.
    pub(crate) async fn call<T>(
        &self,
        call: Call,
        done: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let down = || Err(Error::new(ErrorKind::Unavailable, "down, as planned"));
        match self.next(call) {
            Fault::None => done.await,
            Fault::Before => down(),
            Fault::After => {
                done.await?;
                down()
            }
            Fault::Hang => pending().await,
            Fault::Slow(span) => {
                pass(span).await;
                done.await
            }
            Fault::Lasting => Err(Error::new(ErrorKind::Internal, "refused, as planned")),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}
