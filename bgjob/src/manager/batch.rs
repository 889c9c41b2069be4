//! Natural batching of creates: jobs that are enqueued while a batch is under way go with the next.
//!
//! There is no timer: a lone enqueue goes at once, and a thousand at the same time share a few
//! commits.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    culprits::Search,
    line::{Admission, Lead, Line, Turn},
};
use crate::{
    Error, ErrorKind, JobId, JobQueue, JobStore, Result,
    calls::{contained, within},
    events::{Event, Events, Part},
    job::{Due, NewJob, limits},
    queue::Hint,
    store::Created,
};

/// The longest a create may take before its result counts as unknown.
const CREATE: Duration = Duration::from_secs(30);
/// The longest an enqueue waits for the queue service. After that the sweeper gives the hint.
const PUSH: Duration = Duration::from_secs(2);
/// How many jobs may wait for a batch. Further enqueues wait for a permit first.
const WAITING_MAX: usize = 16 * limits::BATCH;

/// One in this many enqueues yields to other tasks. With a store that answers at once, a producer
/// could otherwise run without ever pausing.
const TURN: u32 = 256;

/// How many times a job is sent to the store in all, if the runtime that carries it ends each time.
/// After that its caller gets an error, because it is unknown whether the job is stored.
const TRIES: usize = 3;

/// All creates of a manager go through this.
#[derive(Debug)]
pub(super) struct Creates {
    pub(super) store: Arc<dyn JobStore>,
    pub(super) queue: Option<Arc<dyn JobQueue>>,
    pub(super) events: Events,
    pub(super) line: Line,
    turn: AtomicU32,
    door: Arc<tokio::sync::Semaphore>,
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
            line: Line::default(),
            turn: AtomicU32::new(1),
            door,
        }
    }

    /// Stores one job, together with others that come at the same time. `fresh`: the id was drawn
    /// for this call, so nobody else can have stored it.
    ///
    /// Dropping the future leaves the job stored or not, never half. Its neighbours are not
    /// affected.
    pub(super) async fn one(self: &Arc<Self>, job: NewJob, fresh: bool) -> Result<Created> {
        if self.turn.fetch_add(1, Relaxed).is_multiple_of(TURN) {
            give_way().await;
        }
        let tries = if fresh { TRIES } else { 1 };
        for before in 0..tries {
            match self.once(&job).await {
                None => {}
                // An earlier try of this call stored it.
                Some(Ok(Created::Exists)) if before > 0 => return Ok(Created::Created),
                Some(answer) => return answer,
            }
        }
        let text = "the runtime that carried the job to the store has ended: it may be stored or \
                    not; enqueue it again with the same id";
        Err(Error::new(ErrorKind::Unavailable, text).about(job.id))
    }

    /// `None` if the result is unknown, because the runtime that carried the job ended meanwhile.
    async fn once(self: &Arc<Self>, job: &NewJob) -> Option<Result<Created>> {
        if let Some(lead) = self.lead() {
            // There is a free lead: no need for a task and its wake-up.
            return Some(self.alone(job, lead).await);
        }
        let _place = self.door.acquire().await.ok()?;
        match self.place(job) {
            Admission::Go(lead) => Some(self.alone(job, lead).await),
            Admission::Wait(answer) => match AwaitedTurn::new(self, job.id, answer).await {
                Ok(Turn::Answer(answer)) => Some(answer),
                Ok(Turn::Go(lead)) => Some(self.alone(job, lead).await),
                Err(_) => None,
            },
        }
    }

    /// Jobs that gathered meanwhile go when the lead is dropped, also if this future is dropped
    /// half way.
    async fn alone(&self, job: &NewJob, _lead: Lead) -> Result<Created> {
        let answers = self.create(std::slice::from_ref(job)).await;
        answers.into_iter().next().expect("one answer a job")
    }

    /// Stores many jobs, in as few batches as the limits allow. Returns one answer for each job, in
    /// order. If the store takes none of a batch, it is not asked to take those after it.
    pub(super) async fn many(&self, jobs: &[NewJob]) -> Vec<Result<Created>> {
        let mut answers = Vec::with_capacity(jobs.len());
        let mut rest = jobs;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(fitting(rest.iter()));
            answers.append(&mut self.create(batch).await);
            rest = later;
            if let Some(error) = gone(&answers[answers.len() - batch.len()..]) {
                let error = Error::new(error.kind(), "not tried: the store refused those before")
                    .because(error.to_string());
                answers.extend(rest.iter().map(|job| Err(error.share().about(job.id))));
                break;
            }
        }
        answers
    }

    /// One batch: store, then hint. If it fails for a lasting reason, the culprit is searched for.
    pub(super) async fn create(&self, jobs: &[NewJob]) -> Vec<Result<Created>> {
        match self.call(jobs).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if error.is_retryable() || jobs.len() == 1 => refused(jobs, &error),
            Err(_) => self.search(jobs).await,
        }
    }

    async fn search(&self, jobs: &[NewJob]) -> Vec<Result<Created>> {
        let mut search = Search::new(jobs);
        while let Some((range, batch)) = search.next() {
            search.answered(range, self.call(batch).await);
        }
        search.done()
    }

    async fn call(&self, jobs: &[NewJob]) -> Result<Vec<Created>> {
        let create = contained(&self.events, Part::Store, || async {
            let answers = self.store.create(jobs).await?;
            assert_eq!(answers.len(), jobs.len(), "a store answers each job");
            Ok(answers)
        });
        match within(CREATE, create).await {
            Some(Ok(answers)) => {
                self.hint(jobs, &answers).await;
                Ok(answers)
            }
            Some(Err(error)) => Err(error),
            None => {
                let text = "the store did not answer within 30 s";
                Err(Error::new(ErrorKind::Timeout, text))
            }
        }
    }

    /// Emits an event for what was stored, one for each name and queue.
    fn tell(&self, jobs: &[NewJob], answers: &[Created]) {
        if !self.events.is_heard() {
            return;
        }
        for ((name, queue), jobs) in stored(jobs, answers) {
            self.events.emit(Event::Created { jobs, name, queue });
        }
    }

    /// Hints at due jobs. The sweeper gives a hint that can't be pushed.
    async fn hint(&self, jobs: &[NewJob], answers: &[Created]) {
        self.tell(jobs, answers);
        let Some(queue) = &self.queue else { return };
        // A repeated create hints again: the first try may have ended before its push.
        let stored = |answer: &Created| matches!(answer, Created::Created | Created::Exists);
        let hints: Vec<_> = jobs
            .iter()
            .zip(answers)
            .filter(|(job, answer)| stored(answer) && job.due == Due::Now)
            .map(|(job, _)| Hint::at(job.id, &job.spec))
            .collect();
        push(queue.as_ref(), &hints, &self.events).await;
    }
}

/// How many jobs of each name and queue were stored. Equal kinds mostly stand together.
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

/// Pushes hints within a bound of time. A failure is emitted as an event, not returned.
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

/// Lets other tasks run that are ready.
///
/// The task that this thread woke last waits in a slot of its own until the waking task pauses, and
/// no other thread takes it from there. `yield_now` would not do: this task would come back only
/// when nothing else was left to do on this thread. A task that wakes itself at once takes that
/// slot, and the task that was in it (the dispatcher's, say) moves to where an idle thread finds
/// it.
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

fn refused(jobs: &[NewJob], error: &Error) -> Vec<Result<Created>> {
    jobs.iter()
        .map(|job| Err(error.share().about(job.id)))
        .collect()
}

/// Why the store takes no jobs, if these answers say so.
fn gone(answers: &[Result<Created>]) -> Option<&Error> {
    let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
    let none_stored = answers.iter().all(Result::is_err);
    errors.find(|error| none_stored || error.is_retryable())
}

/// An enqueue that waits for its answer.
struct AwaitedTurn<'a> {
    creates: &'a Arc<Creates>,
    id: JobId,
    answer: oneshot::Receiver<Turn>,
    over: bool,
}

impl<'a> AwaitedTurn<'a> {
    fn new(creates: &'a Arc<Creates>, id: JobId, answer: oneshot::Receiver<Turn>) -> Self {
        Self {
            creates,
            id,
            answer,
            over: false,
        }
    }
}

impl Future for AwaitedTurn<'_> {
    type Output = Result<Turn, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.answer).poll(cx);
        self.over = polled.is_ready();
        polled
    }
}

impl Drop for AwaitedTurn<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.creates.give_up(self.id);
        }
    }
}
