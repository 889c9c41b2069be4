//! What a suite needs of a provider under test: a fresh instance, and a way to let time pass.

use std::{any::Any, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use bgjob::{JobId, JobQueue, JobStore, store::DocumentStore, testing::ManualClock};

/// A store under test. Each case gets a new fixture. Whatever the fixture holds (a folder, a
/// database of its own) is dropped with it.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// The store: the same one at each call, empty at first.
    fn store(&self) -> Arc<dyn JobStore>;

    /// Lets at least this much of the store's time pass. If the store goes by a clock that the
    /// fixture gave it, move that clock. For a server's clock, let the store under test add an
    /// offset, and raise the offset. Real waiting is correct too, but cases let days pass.
    async fn advance(&self, by: Duration);

    /// The same store as a second process would open it: the same one at each call, on the same
    /// time. [`store_sequences!`](crate::store_sequences) and
    /// [`lifecycle_conformance!`](crate::lifecycle_conformance) use both in turn if there are two.
    /// So what one process keeps in its memory must not hide what the other did.
    fn second(&self) -> Option<Arc<dyn JobStore>> {
        None
    }

    /// The queue that dispatchers use beside the store: the same one at each call, empty at first.
    /// Only [`lifecycle_conformance!`](crate::lifecycle_conformance) asks for it. A store that
    /// can't find ready jobs by itself needs a queue there.
    fn queue(&self) -> Option<Arc<dyn JobQueue>> {
        None
    }

    /// Makes a stored job unreadable in its file or row, as an edit by hand or a newer program
    /// would. Returns whether it could. By default it can't, and the cases about such a job check
    /// nothing.
    async fn damage(&self, id: JobId) -> bool {
        let _ = id;
        false
    }
}

type Damage = dyn Fn(JobId) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A store that goes by a [`ManualClock`].
pub struct Clocked {
    store: Arc<dyn JobStore>,
    second: Option<Arc<dyn JobStore>>,
    clock: ManualClock,
    queue: Option<Arc<dyn JobQueue>>,
    damage: Option<Box<Damage>>,
    keep: Vec<Box<dyn Any + Send + Sync>>,
}

impl Clocked {
    /// A store, and the clock that was given to it.
    pub fn new(store: impl JobStore + 'static, clock: ManualClock) -> Self {
        Self {
            store: Arc::new(store),
            second: None,
            clock,
            queue: None,
            damage: None,
            keep: Vec::new(),
        }
    }

    /// Adds a way to make one of its jobs unreadable; see [`StoreFixture::damage`].
    #[must_use]
    pub fn with_damage<F>(mut self, damage: impl Fn(JobId) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.damage = Some(Box::new(move |id| Box::pin(damage(id))));
        self
    }

    /// Adds the same store as a second process opens it: the same file, folder or server, with the
    /// same clock.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use bgjob::{store::Documents, testing::{ManualClock, MemoryDocuments}};
    /// use bgjob_conformance::Clocked;
    ///
    /// async fn fresh() -> Clocked {
    ///     let clock = ManualClock::new();
    ///     let documents = MemoryDocuments::new(Arc::new(clock.clone())).shared();
    ///     let documents = Arc::new(documents);
    ///     let second = Documents::new(Arc::clone(&documents));
    ///     Clocked::new(Documents::new(documents), clock).with_second(second)
    /// }
    ///
    /// bgjob_conformance::lifecycle_conformance!(two_processes_on_documents, fresh);
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn with_second(mut self, store: impl JobStore + 'static) -> Self {
        self.second = Some(Arc::new(store));
        self
    }

    /// Adds this queue beside the store.
    #[must_use]
    pub fn with_queue(mut self, queue: impl JobQueue + 'static) -> Self {
        self.queue = Some(Arc::new(queue));
        self
    }

    /// Drops this value after the store: the store's folder, say.
    #[must_use]
    pub fn keep(mut self, what: impl Any + Send + Sync) -> Self {
        self.keep.push(Box::new(what));
        self
    }
}

impl fmt::Debug for Clocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clocked")
            .field("store", &self.store)
            .field("second", &self.second)
            .field("clock", &self.clock)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl StoreFixture for Clocked {
    fn store(&self) -> Arc<dyn JobStore> {
        Arc::clone(&self.store)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn second(&self) -> Option<Arc<dyn JobStore>> {
        self.second.clone()
    }

    fn queue(&self) -> Option<Arc<dyn JobQueue>> {
        self.queue.clone()
    }

    async fn damage(&self, id: JobId) -> bool {
        match &self.damage {
            Some(damage) => {
                damage(id).await;
                true
            }
            None => false,
        }
    }
}

/// A queue under test. Each case gets a new fixture.
#[async_trait]
pub trait QueueFixture: Send + Sync {
    /// The queue: the same one at each call, empty at first.
    fn queue(&self) -> Arc<dyn JobQueue>;

    /// Lets at least this much of the queue's time pass.
    async fn advance(&self, by: Duration);

    /// After this span at the latest, the queue repeats a delivery that was not acknowledged.
    fn redelivery(&self) -> Duration;
}

/// A queue within this process that goes by tokio's time. That time stands still, except in
/// [`advance`](QueueFixture::advance) and while every task waits.
#[derive(Debug)]
pub struct Timed {
    queue: Arc<dyn JobQueue>,
    redelivery: Duration,
}

impl Timed {
    /// A queue, and the span after which it repeats a delivery that was not acknowledged.
    ///
    /// # Panics
    /// Outside a suite: it pauses tokio's time.
    pub fn new(queue: impl JobQueue + 'static, redelivery: Duration) -> Self {
        tokio::time::pause();
        Self {
            queue: Arc::new(queue),
            redelivery,
        }
    }
}

#[async_trait]
impl QueueFixture for Timed {
    fn queue(&self) -> Arc<dyn JobQueue> {
        Arc::clone(&self.queue)
    }

    async fn advance(&self, by: Duration) {
        tokio::time::advance(by).await;
    }

    fn redelivery(&self) -> Duration {
        self.redelivery
    }
}

/// A document store under test. Each case gets a new fixture. Whatever the fixture holds (a folder,
/// a database of its own) is dropped with it. No case needs time to pass, as a document store does
/// not depend on time.
pub trait DocumentFixture: Send + Sync {
    /// The store: the same one at each call, empty at first.
    fn documents(&self) -> Arc<dyn DocumentStore>;
}

/// A document store, and what it is stored in.
pub struct Stored {
    documents: Arc<dyn DocumentStore>,
    keep: Vec<Box<dyn Any + Send + Sync>>,
}

impl Stored {
    /// A document store.
    pub fn new(documents: impl DocumentStore + 'static) -> Self {
        Self {
            documents: Arc::new(documents),
            keep: Vec::new(),
        }
    }

    /// Drops this value after the store: the store's folder, say.
    #[must_use]
    pub fn keep(mut self, what: impl Any + Send + Sync) -> Self {
        self.keep.push(Box::new(what));
        self
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("documents", &self.documents)
            .finish_non_exhaustive()
    }
}

impl DocumentFixture for Stored {
    fn documents(&self) -> Arc<dyn DocumentStore> {
        Arc::clone(&self.documents)
    }
}
