//! [`JobStore`]: the full contract of a document store.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Result, Timestamp,
    job::{
        ClaimedJob, End, Grant, Job, JobId, NewJob, Owner, Progress, Serves, State, Token,
        transition::{Operated, Operation, SweepPolicy},
    },
};

use super::{Filter, InTransactions, Listed, QueueCounts, Slice, Swept, Want};

/// Where jobs are kept: the only truth.
///
/// * **Linearizable per job.** A batch is not atomic: each element has its own answer, in the order
///   of the input, and one bad element does not affect the others.
/// * **An error means unknown**: the caller repeats the call. A refusal by the protocol (`Lost`,
///   `Exists`, `KeyTaken`, `NotServed` …) is an answer, not an error.
/// * **Durable at return**, at the level the capabilities declare.
/// * **A provider only translates**: it does not log, retry or read the host's clock. A provider
///   without a clock of its own is given a [`Clock`](crate::Clock).
/// * **Cancel safe**: dropping a call's future leaves each element either done or not, never half
///   done.
///
/// The meaning of every transition is that of [`transition`](crate::job::transition).
#[async_trait]
pub trait JobStore: Send + Sync + fmt::Debug {
    /// What this store can do. Constant for the life of the value.
    fn capabilities(&self) -> StoreCapabilities;

    /// T1 (create): stores jobs. A repeat with the same id and content returns `Exists`.
    async fn create(&self, jobs: &[NewJob]) -> Result<Vec<Created>>;

    /// T2 (claim) and T2′ (the same claim again): claims these jobs. A repeat with the same token
    /// returns `Claimed` again. `grant.repeat` changes nothing here.
    async fn claim(&self, ids: &[JobId], grant: &Grant, serves: &Serves) -> Result<Vec<Claim>>;

    /// T2 (claim) and T2′ (the same claim again): claims due jobs, at most `max` a queue. In each
    /// queue the most urgent jobs go first, and among these the longest due. With `grant.repeat` it
    /// first returns the jobs that this token already holds. Called only where `ready_scan` is
    /// declared.
    async fn claim_ready(&self, want: &[Want], grant: &Grant, serves: &Serves) -> Result<Claimed>;

    /// T4 (succeed), T5 (fail), T6 (release or snooze): ends attempts. Repeating an end that was
    /// applied returns `Lost` or the same answer again.
    async fn finish(&self, ends: &[Ending]) -> Result<Vec<Finished>>;

    /// Ends attempts and claims the next jobs. A store may do both in one commit.
    ///
    /// An error means that either, both or none of them happened: repeat both.
    async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
    ) -> Result<(Vec<Finished>, Claimed)> {
        let finished = if ends.is_empty() {
            Vec::new()
        } else {
            self.finish(ends).await?
        };
        Ok((finished, self.claim_ready(want, grant, serves).await?))
    }

    /// T3 (renew): moves leases on. Called from the lease thread's own runtime, at any time. Where
    /// calls queue up, this one goes first.
    async fn renew(&self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>>;

    /// T7 (revoke), T8 (touch), T11 (expire): revokes jobs whose lease has run out, ends jobs that
    /// are too late and notes jobs that must be hinted at again; at most `limit` jobs in all.
    async fn sweep(&self, limit: usize, policy: &SweepPolicy) -> Result<Vec<Swept>>;

    /// T9 (cancel), T10 (requeue, reschedule, edit), T12 (delete): what an operator asks of one
    /// job.
    async fn operate(&self, id: JobId, operation: &Operation) -> Result<Operated>;

    /// The same for many jobs, at most [`limits::BATCH`], each with its own answer. Operations on
    /// the same job take effect one after the other.
    ///
    /// Provided: one by one.
    ///
    /// [`limits::BATCH`]: crate::job::limits::BATCH
    async fn operate_many(&self, operations: &[(JobId, Operation)]) -> Result<Vec<Operated>> {
        let mut answers = Vec::with_capacity(operations.len());
        for (id, operation) in operations {
            answers.push(self.operate(*id, operation).await?);
        }
        Ok(answers)
    }

    /// The jobs with these ids, `None` where there is none.
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>>;

    /// A part of the jobs that match the filter, in the order of their ids. Looks at no more than a
    /// bounded number of jobs and bytes a call.
    async fn list(&self, filter: &Filter, slice: &Slice) -> Result<Listed>;

    /// How many jobs of each name each queue has, by state. A name without jobs may be left out.
    /// The cost should not grow with the number of jobs that are over.
    async fn counts(&self) -> Result<Vec<QueueCounts>>;

    /// Notes a holder's name, for people. Called when the holder starts and from time to time while
    /// it lives. The name is kept for a month after the last call, as long as dead jobs are.
    ///
    /// Provided: nothing is noted.
    async fn name_worker(&self, owner: Owner, name: &str) -> Result<()> {
        let _ = (owner, name);
        Ok(())
    }

    /// The names of these holders, where they were noted.
    ///
    /// Provided: none was.
    async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        Ok(vec![None; owners.len()])
    }

    /// T12 (purge): deletes at most `limit` jobs past their `purge_at`, and ids that need no longer
    /// be remembered. Returns how many jobs were deleted; fewer than `limit` means that none are
    /// left to delete now. A store that drops many at once may return more than `limit`, and may
    /// wait until it can drop them.
    async fn purge(&self, limit: usize) -> Result<usize>;

    /// The store's time.
    async fn now(&self) -> Result<Timestamp>;

    /// What this store does in the caller's own transactions, where it takes part in them.
    ///
    /// Provided: it takes no part.
    fn transactions(&self) -> Option<&dyn InTransactions> {
        None
    }

    /// Returns when one of these queues may have work that it did not have when the call began: a
    /// job was stored, released, requeued, revoked … and is due now or later. (A waiter learns of
    /// an earlier due time that way.) The call does not return because a delayed job becomes due:
    /// callers know that time from `next_due_in`. May return early. The call begins with the first
    /// poll of its future, so that "poll it once, claim, then await it" misses nothing. Cancel
    /// safe.
    ///
    /// Provided: a slow poll that returns after a second.
    async fn wait_ready(&self, queues: &[Arc<str>]) -> Result<()> {
        let _ = queues;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Returns when a running job may have been asked to end since the call began, by this process
    /// or another. A caller that holds jobs then asks [`cancelled`](Self::cancelled). May return
    /// early. As for [`wait_ready`](Self::wait_ready) the call begins with the first poll of its
    /// future. Cancel safe. Called from the lease thread's own runtime.
    ///
    /// Provided: never returns; holders learn of the request at their next renewal. A store that
    /// declares `wakes` implements it.
    async fn wait_cancelled(&self) -> Result<()> {
        std::future::pending().await
    }

    /// The running jobs that were asked to end, whoever holds them. `None` where finding them is no
    /// cheaper than renewing the held jobs, which answers the same question.
    ///
    /// Provided: `None`.
    async fn cancelled(&self) -> Result<Option<Vec<JobId>>> {
        Ok(None)
    }

    /// Returns when this job may have ended since the call began. Callers then look, and call again
    /// if it has not. May return early. Cancel safe. To miss nothing, make the future, poll it
    /// once, look, then await it.
    ///
    /// Provided: a slow poll that returns after half a second.
    async fn wait_ended(&self, id: JobId) -> Result<()> {
        let _ = id;
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    }
}

/// What survives which failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Nothing: jobs are gone with the process.
    Volatile,
    /// A crash of the process; a power failure may take the last commits.
    ProcessCrash,
    /// A crash of the machine: written through to the disk.
    OsCrash,
    /// The loss of a machine: acknowledged by several.
    Quorum,
}

/// Whose clock a store uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClockSource {
    /// One clock for all its clients: a server's, or the host's where all of them are on one host.
    Store,
    /// Each client's own: the sweeper waits a margin for their differences.
    Client,
}

/// What a store can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCapabilities {
    /// Its name, for messages.
    pub name: &'static str,
    /// What survives which failure.
    pub durability: Durability,
    /// Whose clock it uses.
    pub clock: ClockSource,
    /// It can find ready work by itself, so it needs no queue.
    pub ready_scan: bool,
    /// Its claims say when the next delayed job is due.
    pub next_due: bool,
    /// Its waits are notified, not polled.
    pub wakes: bool,
    /// It allows at most one live job for each unique key.
    pub unique: bool,
    /// With this many ends or more it is faster to end them in one call, beside another that claims
    /// the next jobs, than to do both in [`finish_and_claim`](JobStore::finish_and_claim). `None`:
    /// never. 0 is the same as 1.
    pub finish_beside: Option<usize>,
    /// The largest job it takes, in bytes of metadata.
    pub max_document: usize,
}

impl StoreCapabilities {
    /// The capabilities of a store of this name and durability that can do everything; set fields
    /// for what differs.
    ///
    /// ```
    /// use bgjob::{Durability, store::StoreCapabilities};
    ///
    /// let mut can = StoreCapabilities::new("mine", Durability::OsCrash);
    /// can.next_due = false;
    /// ```
    pub const fn new(name: &'static str, durability: Durability) -> Self {
        Self {
            name,
            durability,
            clock: ClockSource::Store,
            ready_scan: true,
            next_due: true,
            wakes: true,
            unique: true,
            finish_beside: None,
            max_document: crate::job::limits::METADATA_HARD,
        }
    }
}

/// The answer to one create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is stored.
    Created,
    /// It was stored before, by an earlier try. This is a success.
    Exists,
    /// The id belongs to a job of another function, of this name.
    IdTaken(Arc<str>),
    /// This live job has its unique key.
    KeyTaken(Holder),
    /// The store can never take it, for this reason.
    Rejected(String),
}

/// The live job that has a unique key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Holder {
    /// Its id.
    pub id: JobId,
    /// Its name; `None` where the job can't be read.
    pub name: Option<Arc<str>>,
}

impl Holder {
    /// This job as the holder.
    pub fn of(job: &Job) -> Self {
        Self {
            id: job.id,
            name: Some(Arc::clone(&job.spec.name)),
        }
    }
}

/// The answer to one claim by id.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// It is yours.
    Claimed(ClaimedJob),
    /// It is not due yet, or it is too late.
    NotDue,
    /// Another grant holds it.
    Busy,
    /// It is not among what you serve.
    NotServed,
    /// It is over.
    Terminal,
    /// There is no such job.
    Missing,
    /// It was not claimed, because the jobs claimed before it fill the answer: ask again.
    Full,
    /// It exists and can't be read: [`JobStore::get`] says where it is.
    Unreadable,
}

/// The answer to a claim of ready jobs.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Claimed {
    /// They are yours.
    pub jobs: Vec<ClaimedJob>,
    /// How long until the next job that could be claimed is due. `None` where there is none, where
    /// the time is unknown, and where more jobs may be ready.
    pub next_due_in: Option<Duration>,
    /// Jobs that were passed over because they can't be read: [`JobStore::get`] says where they
    /// are.
    pub unreadable: Vec<JobId>,
}

impl Claimed {
    /// These, and nothing is known of what is due later.
    pub const fn new(jobs: Vec<ClaimedJob>) -> Self {
        Self {
            jobs,
            next_due_in: None,
            unreadable: Vec::new(),
        }
    }
}

/// The end of one attempt.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ending {
    /// The job.
    pub id: JobId,
    /// The token it is held by.
    pub token: Token,
    /// How it ended.
    pub end: End,
}

impl Ending {
    /// This end of the attempt that the token stands for.
    pub const fn new(id: JobId, token: Token, end: End) -> Self {
        Self { id, token, end }
    }
}

/// The answer to one finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It is recorded; the job is in this state now.
    Applied(State),
    /// The token no longer holds the job: the end has no effect.
    Lost,
}

/// A held job whose lease is renewed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Renewal {
    /// The job.
    pub id: JobId,
    /// The token it is held by.
    pub token: Token,
    /// What the handler reported since the last renewal.
    pub progress: Option<Progress>,
}

impl Renewal {
    /// A job without news.
    pub const fn new(id: JobId, token: Token) -> Self {
        Self {
            id,
            token,
            progress: None,
        }
    }

    /// With what its handler reported.
    #[must_use]
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// The answer to one renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The lease has moved on.
    Renewed {
        /// Someone asked for the job's end.
        cancel: bool,
    },
    /// The token no longer holds the job: stop.
    Lost,
}
