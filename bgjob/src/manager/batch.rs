//! Natural batching of creates: what is enqueued while a batch is on its way goes with the next.
//!
//! There is no timer: a lone enqueue goes at once, and a thousand at a time share a few commits.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    Error, ErrorKind, JobQueue, JobStore, Result,
    calls::{contained, within},
    events::{Event, Events, Part},
    job::{Due, NewJob, limits},
    queue::Hint,
    store::Created,
    task,
};

/// Longest a create may take before it is called unknown.
const CREATE: Duration = Duration::from_secs(30);
/// Longest an enqueue waits for the queue service; the sweeper gives the hint else.
const PUSH: Duration = Duration::from_secs(2);
/// Jobs that may wait for a batch; an enqueue beyond it waits at the door.
const WAITING_MAX: usize = 16 * limits::BATCH;

/// Of so many enqueues one gives way to other tasks: a store that answers at once would let a
/// producer run without ever pausing.
const TURN: u32 = 256;

/// Batches that may be on their way at a time: while the store works on one, the next is made.
const ABREAST: usize = 2;

/// Where all of a manager's creates go through.
#[derive(Debug)]
pub(super) struct Creates {
    pub(super) store: Arc<dyn JobStore>,
    pub(super) queue: Option<Arc<dyn JobQueue>>,
    pub(super) events: Events,
    line: Mutex<Line>,
    turn: AtomicU32,
    door: Arc<tokio::sync::Semaphore>,
}

#[derive(Debug, Default)]
struct Line {
    /// Batches that are on their way; who made one takes the next one along.
    on_the_way: usize,
    waiting: VecDeque<(NewJob, oneshot::Sender<Result<Created>>)>,
}

impl Creates {
    pub(super) fn new(
        store: Arc<dyn JobStore>,
        queue: Option<Arc<dyn JobQueue>>,
        events: Events,
    ) -> Self {
        let door = Arc::new(tokio::sync::Semaphore::new(WAITING_MAX));
        Self {
            store,
            queue,
            events,
            line: Mutex::default(),
            turn: AtomicU32::new(1),
            door,
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores one job, together with whatever else comes at the same time.
    ///
    /// Dropping the future leaves the job stored or not, never half; its neighbours are not hurt.
    pub(super) async fn one(self: &Arc<Self>, job: NewJob) -> Result<Created> {
        if self.turn.fetch_add(1, Relaxed).is_multiple_of(TURN) {
            give_way().await;
        }
        if self.line().may_go() {
            // Few wait: no need for a task and its wake-up. The guard hands what has gathered
            // meanwhile to a task of its own, also when this future is dropped half way.
            let _guard = HandOn(Arc::clone(self));
            let answers = self.create(std::slice::from_ref(&job)).await;
            return answers.into_iter().next().expect("one answer a job");
        }
        let _place = self.door.acquire().await.map_err(|_| closed())?;
        let (sender, answer) = oneshot::channel();
        let idle = {
            let mut line = self.line();
            line.waiting.push_back((job, sender));
            line.may_go()
        };
        if idle {
            // The batch that was on its way has just come home.
            task::spawn(Self::flush(OnTheWay(Arc::clone(self), false)));
        }
        answer.await.map_err(|_| closed())?
    }

    /// Stores many jobs, in as few batches as the limits allow. One answer a job, in order.
    pub(super) async fn many(&self, jobs: &[NewJob]) -> Vec<Result<Created>> {
        let mut answers = Vec::with_capacity(jobs.len());
        let mut rest = jobs;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(fitting(rest.iter()));
            answers.append(&mut self.create(batch).await);
            rest = later;
        }
        answers
    }

    /// Sends what has gathered until nothing is left.
    async fn flush(mut way: OnTheWay) {
        loop {
            let (jobs, senders): (Vec<_>, Vec<_>) = {
                let mut line = way.0.line();
                if line.waiting.is_empty() {
                    line.on_the_way -= 1;
                    drop(line);
                    way.1 = true;
                    return;
                }
                let n = fitting(line.waiting.iter().map(|(job, _)| job));
                line.waiting.drain(..n).unzip()
            };
            for (sender, answer) in senders.into_iter().zip(way.0.create(&jobs).await) {
                // Whoever dropped its future does not want to know.
                let _ = sender.send(answer);
            }
            // Those who have their answer are likely to enqueue again: they share the next batch.
            tokio::task::yield_now().await;
        }
    }

    /// One batch: store, then hint. A batch that fails for a lasting reason is halved until the
    /// culprit stands alone.
    async fn create(&self, jobs: &[NewJob]) -> Vec<Result<Created>> {
        let create = contained(&self.events, Part::Store, || async {
            let answers = self.store.create(jobs).await?;
            assert_eq!(answers.len(), jobs.len(), "a store answers each job");
            Ok(answers)
        });
        let answer = match within(CREATE, create).await {
            Some(Ok(answers)) => {
                self.hint(jobs, &answers).await;
                return answers.into_iter().map(Ok).collect();
            }
            Some(Err(error)) => error,
            None => Error::new(ErrorKind::Timeout, "the store did not answer within 30 s"),
        };
        if answer.is_retryable() || jobs.len() == 1 {
            return jobs
                .iter()
                .map(|job| Err(answer.share().about(job.id)))
                .collect();
        }
        let (head, tail) = jobs.split_at(jobs.len() / 2);
        let mut answers = Box::pin(self.create(head)).await;
        answers.append(&mut Box::pin(self.create(tail)).await);
        answers
    }

    /// Tells what was stored: once for each name and queue.
    fn tell(&self, jobs: &[NewJob], answers: &[Created]) {
        if !self.events.is_heard() {
            return;
        }
        for ((name, queue), jobs) in stored(jobs, answers) {
            self.events.emit(Event::Created { jobs, name, queue });
        }
    }

    /// Hints at what is due. A hint that can't be pushed is the sweeper's to give.
    async fn hint(&self, jobs: &[NewJob], answers: &[Created]) {
        self.tell(jobs, answers);
        let Some(queue) = &self.queue else { return };
        // A repeated create hints again: the first try may have died before its push.
        let stored = |answer: &Created| matches!(answer, Created::Created | Created::Exists);
        let hints: Vec<_> = jobs
            .iter()
            .zip(answers)
            .filter(|(job, answer)| stored(answer) && job.due == Due::Now)
            .map(|(job, _)| Hint {
                id: job.id,
                queue: Arc::clone(&job.spec.queue),
                priority: job.spec.priority,
            })
            .collect();
        push(queue.as_ref(), &hints, &self.events).await;
    }
}

/// How many jobs of which name and queue were stored. What is alike mostly stands together.
fn stored<'a>(jobs: &'a [NewJob], answers: &[Created]) -> BTreeMap<(&'a str, &'a str), usize> {
    let mut stored = BTreeMap::new();
    let created = jobs
        .iter()
        .zip(answers)
        .filter(|(_, answer)| **answer == Created::Created)
        .map(|(job, _)| (&*job.spec.name, &*job.spec.queue));
    let mut last = None;
    let mut run = 0;
    for kind in created {
        match last {
            Some(last) if last == kind => run += 1,
            _ => {
                if let Some(last) = last.replace(kind) {
                    *stored.entry(last).or_default() += run;
                }
                run = 1;
            }
        }
    }
    if let Some(last) = last {
        *stored.entry(last).or_default() += run;
    }
    stored
}

/// Pushes hints within a bound of time; a failure is told, not returned.
pub(crate) async fn push(queue: &dyn JobQueue, hints: &[Hint], events: &Events) {
    if hints.is_empty() {
        return;
    }
    let push = contained(events, Part::Queue, || queue.push(hints));
    let error = match within(PUSH, push).await {
        Some(Ok(())) => return,
        Some(Err(error)) => error,
        None => Error::new(
            ErrorKind::Timeout,
            "the queue did not take hints within 2 s",
        ),
    };
    events.emit(Event::PushFailed {
        hints: hints.len(),
        error: &error,
    });
}

/// Lets others run that are ready to.
///
/// Whoever was woken last by this thread waits in a place of its own until the task that woke it
/// pauses, and no other thread takes it from there. `yield_now` would not do: the task would come
/// back only when nothing else was left to do here. Woken at once, it takes that place itself, and
/// who was in it (the dispatcher, say) goes where a thread that is idle finds it.
async fn give_way() {
    let mut gives = true;
    poll_fn(|cx| {
        if std::mem::take(&mut gives) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// How many of the first jobs fit into one batch; at least one.
pub(super) fn fitting<'a>(jobs: impl Iterator<Item = &'a NewJob>) -> usize {
    let mut bytes = 0;
    let fits = |job: &&NewJob| {
        bytes += job.spec.bytes();
        bytes <= limits::BATCH_BYTES
    };
    jobs.take(limits::BATCH).take_while(fits).count().max(1)
}

fn closed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the runtime shut down while the job was on its way",
    )
}

impl Line {
    /// Whether another batch may go, which is then counted.
    fn may_go(&mut self) -> bool {
        let may = self.on_the_way < ABREAST;
        self.on_the_way += usize::from(may);
        may
    }
}

/// When the lone enqueue is over, what gathered behind it gets a task.
struct HandOn(Arc<Creates>);

impl Drop for HandOn {
    fn drop(&mut self) {
        let mut line = self.0.line();
        if line.waiting.is_empty() {
            line.on_the_way -= 1;
        } else if tokio::runtime::Handle::try_current().is_ok() {
            task::spawn(Creates::flush(OnTheWay(Arc::clone(&self.0), false)));
        } else {
            // Outside a runtime nobody can wait either: dropping the senders tells them.
            line.waiting.clear();
            line.on_the_way -= 1;
        }
    }
}

/// A batch that is on its way, and whether it came home. If not (its runtime went down), whoever
/// waits is told, and the next enqueue begins anew: a manager may outlive a runtime.
struct OnTheWay(Arc<Creates>, bool);

impl Drop for OnTheWay {
    fn drop(&mut self) {
        if !self.1 {
            let mut line = self.0.line();
            line.waiting.clear();
            line.on_the_way -= 1;
        }
    }
}
