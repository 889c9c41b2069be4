//! The writer thread: it runs all calls that have gathered in one transaction.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::TransactionBehavior;
use tokio::sync::oneshot;

use bgjob_core::{
    Error, ErrorKind, Result, Timestamp,
    toolkit::{Wake, Worker},
};

use super::{
    connect::{Db, Use},
    error::translate,
    gone::Gone,
    options::SqliteOptions,
    schema,
    tx::{News, Tx},
};

/// How often the thread looks for commits of other processes while someone waits. Each look costs
/// about 80 µs, most of it for the thread's wake-up: 0.2 % of a core, or 0.4 % at twice the rate.
const POLL: Duration = Duration::from_millis(40);

/// The most jobs that are gathered for one transaction. More would delay the first calls further,
/// without more throughput.
const GATHERED: usize = 4000;

/// How long a transaction with new jobs stays open for the claims of the waiters that were woken,
/// so that a job for an idle dispatcher costs one commit to the disk, not two. Most claims come
/// within 100 µs.
const LINGER: Duration = Duration::from_micros(400);

/// After a transaction that lingered in vain (the woken dispatchers have no room), some
/// transactions don't linger: one at first, then about twice as many each time, at most this many.
const MAX_HURRY: u32 = 63;

/// The handle of the writer thread. Dropping the handle ends the thread and closes the database.
#[derive(Debug)]
pub(super) struct Writer(Worker<Message>);

enum Message {
    Call(Box<dyn Call>),
    /// Someone began to wait: look for other processes' commits.
    Waiting,
}

/// One call of the store.
trait Call: Send {
    /// Renewals are urgent: they go first.
    fn is_urgent(&self) -> bool;
    /// How many jobs the call is about.
    fn jobs(&self) -> usize;
    /// Whether the caller still waits for the answer.
    fn is_wanted(&self) -> bool;
    /// Runs the call within a transaction, which may be rolled back and repeated.
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;
    /// Answers the caller, once the changes are durable or undone.
    fn answer(self: Box<Self>, outcome: Result<()>);
}

struct Work<F, T> {
    work: F,
    jobs: usize,
    urgent: bool,
    done: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Call for Work<F, T>
where
    F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn is_urgent(&self) -> bool {
        self.urgent
    }

    fn jobs(&self) -> usize {
        self.jobs
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.done = Some((self.work)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        let Self { done, reply, .. } = *self;
        let answer = outcome.map(|()| done.expect("a call that was committed has run"));
        // The receiver is gone if the caller's future was dropped.
        let _ = reply.send(answer);
    }
}

impl Writer {
    /// Opens the database on a thread of its own.
    pub(super) async fn start(options: SqliteOptions, wake: Arc<Wake>) -> Result<Self> {
        let (opened, result) = oneshot::channel();
        let worker = Worker::start("bgjob-sqlite-writer", move |messages| {
            match open(&options) {
                Ok(db) => {
                    if opened.send(Ok(())).is_ok() {
                        let inbox = Inbox {
                            messages,
                            wake,
                            hurry: (0, 0),
                        };
                        Thread {
                            options,
                            inbox,
                            db: Some(db),
                            seen: None,
                        }
                        .run();
                    }
                }
                // The receiver is gone if the caller's future was dropped.
                Err(error) => drop(opened.send(Err(error))),
            }
        })?;
        result.await.unwrap_or_else(|_| Err(panicked()))?;
        Ok(Self(worker))
    }

    /// Runs a call about `jobs` jobs. The future is ready once the changes are durable. The call is
    /// sent at once, not when the future is first polled.
    pub(super) fn call<T, F>(
        &self,
        jobs: usize,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.send(jobs, false, work)
    }

    /// As `call`, but before all calls that are not urgent.
    pub(super) fn urgent<T, F>(
        &self,
        jobs: usize,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.send(jobs, true, work)
    }

    /// Makes the writer look for other processes' commits.
    pub(super) fn waiting(&self) {
        // If the thread is gone, nobody is woken; the caller's next call returns the error.
        let _ = self.0.send(Message::Waiting);
    }

    fn send<T, F>(
        &self,
        jobs: usize,
        urgent: bool,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Work {
            work,
            jobs,
            urgent,
            done: None,
            reply,
        };
        let sent = self.0.send(Message::Call(Box::new(call)));
        async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(panicked()))
        }
    }
}

fn panicked() -> Error {
    Error::new(
        ErrorKind::Internal,
        "the writer thread of the SQLite store panicked",
    )
}

fn open(options: &SqliteOptions) -> Result<Db> {
    let mut db = Db::open(options, Use::Create)?;
    schema::migrate(&mut db.db, options.clock.now())
        .map_err(|error| error.with("file", options.path.display()))?;
    Ok(db)
}

struct Thread {
    options: SqliteOptions,
    inbox: Inbox,
    /// `None` while the database can't be opened.
    db: Option<Db>,
    /// When other processes' commits were last looked for, and SQLite's `data_version` at that
    /// time.
    seen: Option<(Instant, i64)>,
}

struct Inbox {
    messages: Receiver<Message>,
    wake: Arc<Wake>,
    /// How many of the next transactions don't linger, and how many didn't the last time.
    hurry: (u32, u32),
}

/// What failed in a transaction.
enum Failed {
    /// The whole transaction: each of its calls would fail alone too.
    Whole(Error),
    /// One of its calls.
    Call(Error),
}

impl Thread {
    fn run(mut self) {
        while let Some(first) = self.next() {
            let calls = self.inbox.gather(first);
            if !calls.is_empty() {
                // A panic drops the calls, which their callers notice. The next calls get a new
                // connection, without remains of this transaction.
                if catch_unwind(AssertUnwindSafe(|| self.serve(calls))).is_err() {
                    self.db = None;
                }
            }
        }
    }

    /// Waits for the next call, and looks for other processes' commits while someone waits. `None`
    /// when the store was dropped.
    fn next(&mut self) -> Option<Box<dyn Call>> {
        loop {
            let message = if self.inbox.wake.is_waited_on() {
                let now = Instant::now();
                let left = match self.seen {
                    Some((at, _)) => (at + POLL).saturating_duration_since(now),
                    None => Duration::ZERO,
                };
                if left.is_zero() {
                    self.look(now);
                    continue;
                }
                match self.inbox.messages.recv_timeout(left) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            } else {
                self.inbox.messages.recv().ok()?
            };
            if let Message::Call(call) = message {
                return Some(call);
            }
        }
    }

    /// Wakes all waiters if another connection has committed. The writer's own connection is asked,
    /// as its own commits don't count there.
    fn look(&mut self, now: Instant) {
        let version = self.db.as_ref().and_then(|db| {
            let mut ask = db.db.prepare_cached("PRAGMA data_version").ok()?;
            ask.query_row([], |row| row.get(0)).ok()
        });
        let version = version.unwrap_or(-1);
        if self
            .seen
            .replace((now, version))
            .is_none_or(|(_, before)| before != version)
        {
            self.inbox.wake.all();
        }
    }

    fn serve(&mut self, mut calls: Vec<Box<dyn Call>>) {
        match self.commit(&mut calls) {
            Ok(news) => {
                calls.into_iter().for_each(|call| call.answer(Ok(())));
                self.inbox.wake.ready(&news.ready);
                self.inbox.wake.ended(&news.ended);
                if news.cancelled {
                    self.inbox.wake.cancelled();
                }
            }
            Err(Failed::Call(_)) if calls.len() > 1 => {
                calls.into_iter().for_each(|call| self.serve(vec![call]));
            }
            Err(Failed::Call(error) | Failed::Whole(error)) => {
                calls
                    .into_iter()
                    .for_each(|call| call.answer(Err(error.share())));
            }
        }
    }

    /// Runs these calls, and those that come in until the end, in one transaction: all of them or
    /// none.
    fn commit(&mut self, calls: &mut Vec<Box<dyn Call>>) -> Result<News, Failed> {
        let now = self.options.clock.now();
        self.connect().map_err(Failed::Whole)?;
        let db = self.db.as_mut().expect("it was just connected");
        let result = transact(db, now, calls, || self.inbox.linger());
        let file = self.options.path.display();
        let news = result.map_err(|failed| match failed {
            Failed::Whole(error) => Failed::Whole(error.with("file", file)),
            Failed::Call(error) => Failed::Call(error.with("file", file)),
        })?;
        // A call may have joined after the file was taken away: what went into a file that nobody
        // finds again is not acknowledged.
        self.connect().map_err(Failed::Whole)?;
        Ok(news)
    }

    /// Checks the connection, or makes a new one if there is none.
    fn connect(&mut self) -> Result<()> {
        match self.db.take() {
            Some(db) => {
                db.check(&self.options.path)?;
                self.db = Some(db);
            }
            None => self.db = Some(Db::open(&self.options, Use::Write)?),
        }
        Ok(())
    }
}

impl Inbox {
    /// This call and all others that have come in, the urgent ones first.
    fn gather(&self, first: Box<dyn Call>) -> Vec<Box<dyn Call>> {
        let mut jobs = first.jobs();
        let mut calls = vec![first];
        while jobs < GATHERED
            && let Ok(message) = self.messages.try_recv()
        {
            if let Message::Call(call) = message {
                jobs = jobs.saturating_add(call.jobs());
                calls.push(call);
            }
        }
        calls.retain(|call| call.is_wanted());
        calls.sort_by_key(|call| !call.is_urgent());
        calls
    }

    /// The calls that come in just before a commit: claims of the waiters that new jobs have woken.
    fn linger(&mut self) -> Vec<Box<dyn Call>> {
        if !self.wake.has_called() {
            return Vec::new();
        }
        let (left, last) = &mut self.hurry;
        if *left > 0 {
            *left -= 1;
            return Vec::new();
        }
        let begun = Instant::now();
        loop {
            match self.messages.try_recv() {
                Ok(Message::Call(call)) => {
                    *last = 0;
                    return self.gather(call);
                }
                Ok(Message::Waiting) => {}
                Err(_) if begun.elapsed() < LINGER => thread::yield_now(),
                Err(_) => break,
            }
        }
        *last = (*last * 2 + 1).min(MAX_HURRY);
        *left = *last;
        Vec::new()
    }
}

fn transact(
    db: &mut Db,
    now: Timestamp,
    calls: &mut Vec<Box<dyn Call>>,
    more: impl FnOnce() -> Vec<Box<dyn Call>>,
) -> Result<News, Failed> {
    let whole = |error| Failed::Whole(translate(error));
    let tx = db
        .db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(whole)?;
    db.lanes.begin();
    let mut news = News::default();
    let mut run = |calls: &mut [Box<dyn Call>]| {
        for call in calls {
            let mut step = Tx {
                db: &tx,
                lanes: &mut db.lanes,
                news: &mut news,
                gone: Gone::default(),
                unreadable: Vec::new(),
                now,
            };
            call.run(&mut step)
                .map_err(|error| Failed::Call(translate(error)))?;
        }
        Ok(())
    };
    run(calls)?;
    let gathered = calls.len();
    calls.append(&mut more());
    run(&mut calls[gathered..])?;
    news.store_tallies(&tx).map_err(whole)?;
    tx.commit().map_err(whole)?;
    Ok(news)
}
