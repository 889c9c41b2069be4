//! [`InTransactions`]: what a store can do in the caller's own transactions.

use std::fmt;

use async_trait::async_trait;

use crate::{
    Error, ErrorKind, JobStore, Result,
    job::{JobId, Json, NewJob, Token},
    transaction::Statement,
};

/// What a store does in the caller's own transactions. A store that has it keeps jobs in the same
/// database as the caller's tables. [`JobStore::transactions`] returns it.
#[async_trait]
pub trait InTransactions: Send + Sync + fmt::Debug {
    /// T1 (create) as a statement, for at most [`limits::BATCH`] jobs.
    ///
    /// The statement returns JSON with one element a job: `"created"`, `"exists"`,
    /// `{"id_taken_by": "<name of the job that is there>"}` or
    /// `{"key_taken_by": {"id": "<id of the holder>", "name": "<its name>"}}`.
    ///
    /// [`limits::BATCH`]: crate::job::limits::BATCH
    async fn create(&self, jobs: &[NewJob]) -> Result<Statement>;

    /// T4 (succeed) as a statement: the job succeeds with the transaction, in one commit.
    ///
    /// The statement returns JSON: `["succeeded"]`, or `["lost"]` where the token no longer holds
    /// the job.
    fn succeed(&self, id: JobId, token: Token, result: &Json) -> Result<Statement>;

    /// Called after such a transaction has committed a success: wakes every waiter for the job's
    /// end.
    ///
    /// Provided: does nothing; waiters look again from time to time.
    fn succeeded(&self, id: JobId) {
        let _ = id;
    }
}

/// What this store does in the caller's own transactions.
///
/// # Errors
/// `Unsupported` where the store takes no part in them.
#[doc(hidden)]
pub fn in_transactions(store: &(impl JobStore + ?Sized)) -> Result<&dyn InTransactions> {
    store.transactions().ok_or_else(|| {
        let text = format!(
            "the {} store takes no part in transactions of yours: `in_transaction` and \
             `JobTransaction` need one that keeps jobs in the same database, as `postgres:` does",
            store.capabilities().name
        );
        Error::new(ErrorKind::Unsupported, text)
    })
}
