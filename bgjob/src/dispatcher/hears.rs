//! The builder's settings for events, hooks and logs, and for the worker's name in them.

use std::{future::Future, sync::Arc};

use super::DispatcherBuilder;
use crate::events::{DeadJob, Event};

impl DispatcherBuilder {
    /// Adds a listener that receives every event of this dispatcher, and those of its manager (jobs
    /// stored) as long as the dispatcher lives; see [`Event`]. A listener given to the manager's
    /// builder receives this dispatcher's events too, so give a listener to only one of the two. It
    /// should be quick: it is called synchronously, where the event happens.
    pub fn on_event(mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.events.add(listener);
        self
    }

    /// Adds a hook that is called with each job whose death this dispatcher records: after its last
    /// error, aborted, undecodable, too late, or after a crash of its worker, whichever worker that
    /// was. Use it for alerts, or to keep a copy elsewhere.
    ///
    /// Calls run one after the other on a separate task, so a slow hook delays no job. A panic ends
    /// only that call, and a call is aborted after 30 s. Up to 10,000 deaths wait for the hooks; of
    /// further ones the hooks are not notified, which is an event ([`Event::DeathsUntold`]). At
    /// shutdown the waiting deaths have one second.
    ///
    /// The hook is called at most once per death, and perhaps not at all: not if the process dies
    /// right after it recorded the death, nor if the store's answer gets lost. If you must not miss
    /// a death, look for it with [`JobManager::list`](crate::JobManager::list) and
    /// [`JobState::Dead`](crate::JobState).
    ///
    /// ```
    /// use bgjob::{Registry, prelude::*};
    ///
    /// #[job]
    /// async fn pay(invoice: u32) -> Result<(), JobError> {
    ///     Err(JobError::abort("the card is stolen"))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> bgjob::Result<()> {
    /// let jobs = JobManager::connect("memory:").await?;
    /// let (tell, mut told) = tokio::sync::mpsc::channel(1);
    /// let running = JobDispatcher::builder(&jobs)
    ///     .registry(Registry::new().with::<pay>())
    ///     .on_dead(move |dead| {
    ///         let tell = tell.clone();
    ///         async move {
    ///             let said = format!("{} is dead: {}", dead.name, dead.reason);
    ///             tell.send(said).await.ok();
    ///         }
    ///     })
    ///     .start()
    ///     .await?;
    /// pay::enqueue(&jobs, 7).await?;
    /// assert!(told.recv().await.unwrap().ends_with("pay is dead: aborted"));
    /// running.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_dead<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(DeadJob) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_dead
            .push(Arc::new(move |dead| Box::pin(hook(dead))));
        self
    }

    /// Whether the texts of handlers' errors and panics appear in the log: yes by default. Without
    /// them a line only states the kind of error. The job's history and listeners get the texts in
    /// any case.
    pub fn log_errors(mut self, log: bool) -> Self {
        self.events.log_errors(log);
        self
    }

    /// The name of this dispatcher in logs and in the store, where
    /// [`JobManager::worker_names`](crate::JobManager::worker_names) finds it. By default its host
    /// and process id (`web-3:4711`). 1 to 100 bytes without control characters. The name is for
    /// people: two workers may have the same name, because the random [`Owner`](crate::Owner) tells
    /// them apart.
    pub fn worker_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.worker = name.into();
        self
    }
}
