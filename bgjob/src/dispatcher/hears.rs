//! Who hears of what a dispatcher does, and what it is called there.

use std::{future::Future, sync::Arc};

use super::DispatcherBuilder;
use crate::events::{DeadJob, Event};

impl DispatcherBuilder {
    /// Hears every decision of this dispatcher, and those of its manager (jobs stored) as long as
    /// the dispatcher lives; see [`Event`]. A listener of the manager's builder hears this
    /// dispatcher too, so give a listener to one of both. It should be quick: it is called
    /// in place.
    pub fn on_event(mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.events.add(listener);
        self
    }

    /// Is called with each job whose death this dispatcher records: by its last error, aborted,
    /// undecodable, too late, or after a crash of its worker, whichever worker that was. For
    /// alerts, or a copy kept elsewhere.
    ///
    /// Calls come one after the other on a task of their own, so a slow one holds up no job. A
    /// panic ends that call alone, and so does time: 30 s a call. Beyond 10,000 deaths that wait
    /// the next are not told, which is an event ([`Event::DeathsUntold`]). At shutdown those that
    /// wait have one second.
    ///
    /// It is told at most once of a death, and not for sure: a process that dies right after it
    /// recorded one tells nobody, nor does one whose answer from the store got lost. What must not
    /// be missed is looked for with [`JobManager::list`](crate::JobManager::list) and
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

    /// Whether the texts of handlers' errors and panics may stand in the log: yes, unless told
    /// otherwise. Without them a line says what kind of error it was. The job's history has the
    /// texts all the same, and so have listeners.
    pub fn log_errors(mut self, log: bool) -> Self {
        self.events.log_errors(log);
        self
    }

    /// What this dispatcher is called in logs, and in the store, where
    /// [`JobManager::worker_names`](crate::JobManager::worker_names) finds it: its host and process
    /// id (`web-3:4711`) by default. 1 to 100 bytes without control characters. The name is for
    /// people: two workers may have the same, as what keeps them apart is the random
    /// [`Owner`](crate::Owner).
    pub fn worker_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.worker = name.into();
        self
    }
}
