//! [`InTransactions`]: what a store can do in transactions of the caller's.

use std::fmt;

use async_trait::async_trait;

use crate::{
    Error, ErrorKind, JobStore, Result,
    job::{JobId, Json, NewJob, Token},
    transaction::Statement,
};

/// What a store does in transactions of the caller's own: a store that has it keeps jobs in the
/// database that the caller's tables are in. [`JobStore::transactions`] answers it.
#[async_trait]
pub trait InTransactions: Send + Sync + fmt::Debug {
    /// T1 as a statement, at most [`limits::BATCH`] jobs.
    ///
    /// It answers JSON, an element a job: `"created"`, `"exists"`,
    /// `{"id_taken_by": "<name of the job that is there>"}` or
    /// `{"key_taken_by": {"id": "<id of the holder>", "name": "<its name>"}}`.
    ///
    /// [`limits::BATCH`]: crate::job::limits::BATCH
    async fn create(&self, jobs: &[NewJob]) -> Result<Statement>;

    /// T4 as a statement: the job succeeds with the transaction, in one commit.
    ///
    /// It answers JSON: `["succeeded"]`, or `["lost"]` where the token no longer holds the job.
    fn succeed(&self, id: JobId, token: Token, result: &Json) -> Result<Statement>;

    /// A success was committed in such a transaction: wakes whoever waits for the job's end.
    ///
    /// Provided: nothing; whoever waits looks now and then.
    fn succeeded(&self, id: JobId) {
        let _ = id;
    }
}

/// What this store does in transactions of the caller's.
///
/// # Errors
/// `Unsupported` where it takes no part in them.
pub(crate) fn in_transactions(store: &(impl JobStore + ?Sized)) -> Result<&dyn InTransactions> {
    store.transactions().ok_or_else(|| {
        let text = format!(
            "the {} store takes no part in transactions of yours: `in_transaction` and `JobTransaction` \
             need one that keeps jobs in the same database, as `postgres:` does",
            store.capabilities().name
        );
        Error::new(ErrorKind::Unsupported, text)
    })
}
