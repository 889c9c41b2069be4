//! [`Faulty`]: a store or queue whose calls go wrong, by a plan or by a seed.

mod documents;
mod fault;
mod faults;
mod queue;
mod store;

use std::{
    fmt,
    future::{Future, pending},
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
};

use tokio::time::sleep;

pub use fault::{Call, Fault};
pub use faults::{Faults, Rates};

use crate::{Error, ErrorKind, JobStore, Result, store::StoreCapabilities, task};

/// Wraps a store or queue. [`Faults`] decide what happens to each of its calls.
///
/// It is a [`JobStore`](crate::JobStore), [`DocumentStore`](crate::store::DocumentStore) or
/// [`JobQueue`](crate::JobQueue) if what it wraps is one. Without faults it passes the same
/// conformance suites. Clones share their faults; two that wrap [a shared provider](Self::shared)
/// have faults of their own, as two processes would.
///
/// Some failures need the provider itself. A clock [ahead](Faults::clock_ahead) or
/// [behind](Faults::clock_behind) works for a `DocumentStore`, which hands out its clock. A
/// `JobStore` compares times inside, so give it a wrong clock when you make it
/// (`MemoryStore::with_clock`). For a failover that loses the last writes, use
/// [`MemoryDocuments::restore`](super::MemoryDocuments::restore), and in simulations
/// [`Simulation::roll_back`](super::simulation::Simulation::roll_back). A queue does not use the
/// jobs' clock; [`Fault::Wipe`] makes it forget its hints.
///
/// ```
/// use bgjob::{JobManager, providers::memory::MemoryStore, testing::{Call, Fault, Faulty}};
///
/// # #[bgjob::job] async fn resize(image: u64) {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> bgjob::Result<()> {
/// let store = Faulty::new(MemoryStore::new());
/// let faults = store.faults().clone();
/// let jobs = JobManager::builder(store).build()?;
///
/// // The answer gets lost: the caller can't know whether the job is there, and says which one.
/// faults.once(&[Call::Create], Fault::After);
/// let error = resize::enqueue(&jobs, 7).await.unwrap_err();
/// let id = error.job_id().expect("an enqueue that failed names its job");
///
/// // So it is safe to repeat.
/// resize::enqueue(&jobs, 7).id(id).await?;
/// assert_eq!(jobs.list().await?.jobs.len(), 1);
/// # Ok(()) }
/// ```
pub struct Faulty<T> {
    inner: Arc<T>,
    faults: Faults,
    /// The capabilities that it declares, if they differ from those of the wrapped provider.
    declared: Option<StoreCapabilities>,
}

impl<T> Faulty<T> {
    /// Wraps a store or queue, without faults for now.
    pub fn new(inner: T) -> Self {
        Self::shared(Arc::new(inner))
    }

    /// Wraps a provider that is shared with others.
    pub fn shared(inner: Arc<T>) -> Self {
        let (faults, declared) = (Faults::none(), None);
        Self {
            inner,
            faults,
            declared,
        }
    }

    /// Replaces the faults by these.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Declares these capabilities instead of those of the wrapped store. Callers rely on them.
    ///
    /// ```
    /// use bgjob::{JobStore, providers::memory::MemoryStore, testing::Faulty};
    ///
    /// let mut can = MemoryStore::new().capabilities();
    /// can.finish_beside = Some(1);
    /// let store = Faulty::new(MemoryStore::new()).declaring(can);
    /// assert_eq!(store.capabilities().finish_beside, Some(1));
    /// ```
    #[must_use]
    pub fn declaring(mut self, can: StoreCapabilities) -> Self
    where
        T: JobStore,
    {
        self.declared = Some(can);
        self
    }

    /// The faults, and how often each call was made.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The wrapped provider, which never fails.
    pub fn inner(&self) -> &Arc<T> {
        &self.inner
    }
}

impl<T> Clone for Faulty<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            faults: self.faults.clone(),
            declared: self.declared.clone(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Faulty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// One execution of a call to the wrapped provider. It owns its arguments, so that it can outlive
/// the caller.
type Made<R> = Pin<Box<dyn Future<Output = Result<R>> + Send>>;

/// Makes a call, with this fault.
async fn suffer<R: Send + 'static>(
    fault: Fault,
    make: impl Fn() -> Made<R> + Send + Sync,
) -> Result<R> {
    let down = || Err(Error::new(ErrorKind::Unavailable, "down, as planned"));
    match fault {
        // The queue's wrapper handles the last three.
        Fault::None | Fault::Lost | Fault::Reorder | Fault::Wipe => make().await,
        Fault::Before => down(),
        Fault::After => {
            make().await?;
            down()
        }
        Fault::Lasting => Err(Error::new(ErrorKind::Internal, "refused, as planned")),
        Fault::Panic => panics(),
        Fault::PanicAfter => {
            // The answer does not matter.
            let _ = make().await;
            panics()
        }
        Fault::Slow { before, after } => {
            sleep(before).await;
            let answer = make().await;
            sleep(after).await;
            answer
        }
        Fault::Hang => pending().await,
        Fault::HangAfter => {
            make().await?;
            pending().await
        }
        Fault::Twice => {
            let answer = make().await;
            // The caller never gets the answer to the second request.
            let _ = make().await;
            answer
        }
        Fault::Late(after) => {
            let late = make();
            // The request is on its way, even if the caller stops waiting.
            tokio::spawn(async move {
                sleep(after).await;
                late.await
            });
            down()
        }
        Fault::Crash => {
            task::kill_this();
            pending().await
        }
        Fault::CrashAfter => {
            make().await?;
            task::kill_this();
            pending().await
        }
    }
}

/// Panics without the panic hook: thousands of panics are planned, and their messages would hide
/// the others.
fn panics() -> ! {
    resume_unwind(Box::new("a panic, as planned"))
}

#[cfg(test)]
mod tests;
