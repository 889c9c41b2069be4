//! The producing side: [`JobManager`] stores jobs, hints at them, and finds them again.

mod answer;
mod batch;
mod builder;
mod bulk;
mod culprits;
mod enqueue;
mod handle;
mod in_transaction;
mod line;
mod list;
mod operate;
mod options;
mod source;

use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use batch::push;
pub use builder::{Connect, ManagerBuilder};
pub use bulk::{Bulk, Bulked, Select};
pub use enqueue::{Enqueue, EnqueueAll};
pub use handle::JobHandle;
pub use in_transaction::{EnqueueStatement, InTransaction};
pub use list::{Cursor, List, Page};

use crate::{JobQueue, JobStore, events::Events, job::Json};

/// The producing side: stores jobs and hints at them; lists, cancels and requeues them.
///
/// Cheap to clone: all clones share one store, one queue and one batcher. A manager belongs to no
/// runtime: a manager in a static serves any number of runtimes, also runtimes that end while
/// others enqueue.
///
/// ```
/// use bgjob::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> bgjob::Result<()> {
/// let jobs = JobManager::connect("memory:").await?;
/// let job = jobs.enqueue_raw("send_welcome", serde_json::json!({ "user": 7 })).await?;
/// assert_eq!(job.status().await?, JobState::Ready);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "client")]
#[doc(alias = "producer")]
#[doc(alias = "queue")]
pub struct JobManager {
    pub(crate) inner: Arc<Inner>,
    /// Keeps alive what runs jobs inline, as long as such a manager lives. Its services may hold a
    /// manager too. That one is usually made before the mode is chosen and keeps nothing alive, so
    /// that no cycle remains.
    #[cfg(feature = "testing")]
    pub(crate) keeps: Option<Arc<dyn Inline>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) queue: Option<Arc<dyn JobQueue>>,
    pub(crate) events: Events,
    creates: Arc<batch::Creates>,
    max_metadata: usize,
    /// Counts cancels made through this manager, so that a dispatcher in the same process is
    /// notified of them before its next renewal.
    pub(crate) cancels: watch::Sender<u64>,
    /// Called for each enqueue before it returns: what runs jobs inline.
    #[cfg(feature = "testing")]
    pub(crate) inline: std::sync::OnceLock<std::sync::Weak<dyn Inline>>,
}

/// Called when jobs were stored, before their enqueue returns.
#[cfg(feature = "testing")]
#[async_trait::async_trait]
pub(crate) trait Inline: Send + Sync + std::fmt::Debug {
    /// These jobs were stored.
    async fn enqueued(&self, jobs: &[crate::JobId]);
}

impl JobManager {
    /// Opens a store by its URL: `memory:`, `sqlite:path/to.db`. Await it, or set the queue first,
    /// if there is one.
    ///
    /// ```
    /// use bgjob::JobManager;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let plain = JobManager::connect("memory:").await?;
    /// let hinted = JobManager::connect("memory:").queue_url("channel:").await?;
    /// # let _ = (plain, hinted);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for an unknown scheme or option, `Unsupported` where a Cargo feature is
    /// missing or the store is weaker than required; the message says what to do. Otherwise the
    /// store's own error.
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect::new(url.into())
    }

    /// A manager over a store and a queue of your own.
    ///
    /// ```
    /// use bgjob::{JobManager, providers::memory::MemoryStore};
    ///
    /// let jobs = JobManager::builder(MemoryStore::new()).build()?;
    /// # let _ = jobs;
    /// # Ok::<(), bgjob::Error>(())
    /// ```
    pub fn builder(store: impl JobStore + 'static) -> ManagerBuilder {
        ManagerBuilder::new(Arc::new(store))
    }

    /// Enqueues a job by a name that is known only at run time. If a job linked into this program
    /// has the name, or once had it ([`aliases`](macro@crate::job)), its attribute sets queue,
    /// priority, limits and version, as for the typed helper. Otherwise the defaults apply. Each
    /// option can also be set here. Nothing checks that the metadata fits the job.
    ///
    /// ```
    /// # use bgjob::JobManager;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// jobs.enqueue_raw("resize", serde_json::json!({ "image": 1 })).queue("images").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn enqueue_raw<M: serde::Serialize>(
        &self,
        name: impl Into<Arc<str>>,
        metadata: M,
    ) -> Enqueue<M, crate::Outcome<serde_json::Value>> {
        Enqueue::raw(self, name.into(), metadata)
    }

    /// The store, for what this type has no method for.
    pub fn store(&self) -> &Arc<dyn JobStore> {
        &self.inner.store
    }

    /// The queue, where there is one.
    pub fn queue(&self) -> Option<&Arc<dyn JobQueue>> {
        self.inner.queue.as_ref()
    }

    /// In inline mode, runs what was just stored.
    #[cfg(feature = "testing")]
    pub(crate) async fn enqueued(&self, jobs: impl IntoIterator<Item = crate::JobId>) {
        let Some(inline) = self.inner.inline.get() else {
            return;
        };
        let Some(inline) = inline.upgrade() else {
            panic!(
                "the `TestJobs` that ran this manager's jobs inline is gone: keep it, or use a \
                 manager that was taken after `.inline()`"
            );
        };
        let jobs: Vec<_> = jobs.into_iter().collect();
        inline.enqueued(&jobs).await;
    }

    pub(crate) fn check_metadata(&self, metadata: &Json) -> crate::Result<()> {
        let spec = crate::JobSpec::new("metadata", metadata.clone());
        spec.validate(self.inner.max_metadata)
    }
}
