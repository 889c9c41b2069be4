//! Two ways to build a [`JobManager`]: [`Connect`] from URLs, [`ManagerBuilder`] from values.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use tokio::sync::watch;

use super::{Inner, JobManager, batch::Creates};
use crate::{
    Durability, Error, ErrorKind, JobQueue, JobStore, Result,
    events::{Event, Events},
    job::limits,
    providers,
};

/// A manager about to connect; await it. See [`JobManager::connect`].
#[must_use = "nothing is connected until it is awaited"]
pub struct Connect {
    store_url: String,
    queue_url: Option<String>,
    settings: Settings,
}

/// A manager about to be built. See [`JobManager::builder`].
#[derive(Debug)]
#[must_use = "nothing is built until `build` is called"]
pub struct ManagerBuilder {
    store: Arc<dyn JobStore>,
    queue: Option<Arc<dyn JobQueue>>,
    settings: Settings,
}

/// The settings of both.
#[derive(Debug)]
struct Settings {
    require: Durability,
    max_metadata: usize,
    events: Events,
}

impl Settings {
    fn new() -> Self {
        Self {
            require: Durability::Volatile,
            max_metadata: limits::METADATA,
            events: Events::default(),
        }
    }
}

impl Connect {
    pub(super) fn new(store_url: String) -> Self {
        Self {
            store_url,
            queue_url: None,
            settings: Settings::new(),
        }
    }

    /// Sends hints through this queue: `channel:`. Without a queue the store finds ready jobs
    /// itself.
    pub fn queue_url(mut self, url: impl Into<String>) -> Self {
        self.queue_url = Some(url.into());
        self
    }

    /// Refuses a store that is less durable than this.
    pub fn require(mut self, durability: Durability) -> Self {
        self.settings.require = durability;
        self
    }

    /// The most metadata a job may have, in bytes: 256 KiB by default, at most 1 MiB.
    pub fn max_metadata(mut self, bytes: usize) -> Self {
        self.settings.max_metadata = bytes;
        self
    }

    /// Calls this for every decision of the manager and of its dispatchers in this process; see
    /// [`Event`]. The listener runs in place, so it should be quick.
    pub fn on_event(mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.settings.events.add(listener);
        self
    }

    async fn connect(self) -> Result<JobManager> {
        let store = providers::open_store(&self.store_url).await?;
        let queue = match &self.queue_url {
            Some(url) => Some(providers::open_queue(url).await?),
            None => None,
        };
        ManagerBuilder {
            store,
            queue,
            settings: self.settings,
        }
        .build()
    }
}

impl fmt::Debug for Connect {
    /// URLs may carry passwords, so only their schemes are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = |url: &str| match url.split_once(':') {
            Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                scheme.to_owned()
            }
            // This is not a URL, so all of it may be secret.
            _ => "?".to_owned(),
        };
        f.debug_struct("Connect")
            .field("store", &scheme(&self.store_url))
            .field("queue", &self.queue_url.as_deref().map(scheme))
            .finish_non_exhaustive()
    }
}

impl IntoFuture for Connect {
    type Output = Result<JobManager>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.connect())
    }
}

impl ManagerBuilder {
    pub(super) fn new(store: Arc<dyn JobStore>) -> Self {
        Self {
            store,
            queue: None,
            settings: Settings::new(),
        }
    }

    /// Sends hints through this queue. Without a queue the store finds ready jobs itself.
    pub fn queue(mut self, queue: impl JobQueue + 'static) -> Self {
        self.queue = Some(Arc::new(queue));
        self
    }

    /// See [`Connect::require`].
    pub fn require(mut self, durability: Durability) -> Self {
        self.settings.require = durability;
        self
    }

    /// See [`Connect::max_metadata`].
    pub fn max_metadata(mut self, bytes: usize) -> Self {
        self.settings.max_metadata = bytes;
        self
    }

    /// See [`Connect::on_event`].
    pub fn on_event(mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.settings.events.add(listener);
        self
    }

    /// Builds the manager.
    ///
    /// # Errors
    /// `Unsupported` where the store is weaker than required, or needs a queue and has none;
    /// `InvalidInput` for a limit out of range.
    pub fn build(self) -> Result<JobManager> {
        let Self {
            store,
            queue,
            settings,
        } = self;
        let can = store.capabilities();
        if can.durability < settings.require {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the {} store is durable to {:?}, but {:?} is required: choose another store \
                     or setting",
                    can.name, can.durability, settings.require
                ),
            ));
        }
        if !can.ready_scan && queue.is_none() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the {} store can't find ready jobs by itself: add a queue with `.queue(…)` \
                     or `.queue_url(\"channel:\")`",
                    can.name
                ),
            ));
        }
        let most = limits::METADATA_HARD.min(can.max_document);
        if settings.max_metadata == 0 || settings.max_metadata > most {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "`max_metadata` is {}: it takes 1 to {most} bytes",
                    settings.max_metadata
                ),
            ));
        }
        let Settings {
            max_metadata,
            events,
            ..
        } = settings;
        let creates = Creates::new(Arc::clone(&store), queue.clone(), events.clone());
        let inner = Inner {
            store,
            queue,
            events,
            creates: Arc::new(creates),
            max_metadata,
            cancels: watch::Sender::new(0),
            #[cfg(feature = "testing")]
            inline: std::sync::OnceLock::new(),
        };
        Ok(JobManager {
            inner: Arc::new(inner),
            #[cfg(feature = "testing")]
            keeps: None,
        })
    }
}
