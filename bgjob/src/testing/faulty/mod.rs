//! [`Faulty`]: a store or queue whose calls go wrong, as a plan or a seed says.

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

/// A store or queue between whose calls and the real one stand [`Faults`].
///
/// It is a [`JobStore`](crate::JobStore), [`DocumentStore`](crate::store::DocumentStore) or
/// [`JobQueue`](crate::JobQueue) where what it wraps is one. Without faults it passes the same
/// conformance suites. Clones are the same; two that wrap [what is shared](Self::shared) each have
/// faults of their own, as two processes would.
///
/// What only the thing itself can do is not here. A clock [ahead](Faults::clock_ahead) or
/// [behind](Faults::clock_behind) is that of a `DocumentStore`, which hands its clock out: a
/// `JobStore` compares times where nothing stands between, so give it a wrong clock when it is made
/// (`MemoryStore::with_clock`). A failover that loses the last writes needs what is stored to go
/// back: [`MemoryDocuments::restore`](super::MemoryDocuments::restore) does that, and in
/// simulations [`Simulation::roll_back`](super::simulation::Simulation::roll_back). A queue goes by
/// no clock of the jobs, and what it forgets is [`Fault::Wipe`].
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
    /// What it says that it can do, where that is not what the real one says.
    declared: Option<StoreCapabilities>,
}

impl<T> Faulty<T> {
    /// Wraps it, without faults for now.
    pub fn new(inner: T) -> Self {
        Self::shared(Arc::new(inner))
    }

    /// Wraps what others have too.
    pub fn shared(inner: Arc<T>) -> Self {
        let (faults, declared) = (Faults::none(), None);
        Self {
            inner,
            faults,
            declared,
        }
    }

    /// With these faults instead.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Says that it can do this, whatever the real one says: who calls goes by that.
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

    /// What goes wrong, and what was called how often.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The real one, which never fails.
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

/// One making of a call to the real one; it owns what it needs, so that it can outlive the caller.
type Made<R> = Pin<Box<dyn Future<Output = Result<R>> + Send>>;

/// Makes a call to which this happens.
async fn suffer<R: Send + 'static>(
    fault: Fault,
    make: impl Fn() -> Made<R> + Send + Sync,
) -> Result<R> {
    let down = || Err(Error::new(ErrorKind::Unavailable, "down, as planned"));
    match fault {
        // The last three are the queue's to act on.
        Fault::None | Fault::Lost | Fault::Reorder | Fault::Wipe => make().await,
        Fault::Before => down(),
        Fault::After => {
            make().await?;
            down()
        }
        Fault::Lasting => Err(Error::new(ErrorKind::Internal, "refused, as planned")),
        Fault::Panic => panics(),
        Fault::PanicAfter => {
            // Whatever it answered.
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
            // What a copy of the request does is nobody's answer.
            let _ = make().await;
            answer
        }
        Fault::Late(after) => {
            let late = make();
            // On the wire, whatever becomes of the caller.
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

/// Without the hook for panics: thousands are planned, and nobody wants to read of each.
fn panics() -> ! {
    resume_unwind(Box::new("a panic, as planned"))
}

#[cfg(test)]
mod tests;
