//! [`Exchange`]: one call to the store, and what is in doubt if it fails.
//!
//! ```text
//!              ┌─────────────────── answered ◄──────────────────┐
//!              ▼                                                │
//!   settled ─── call ──► failed with a claim ──► in doubt ─── call again, same token
//!              │                                    ▲           │
//!              │                                    └── failed ─┘
//!              │
//!              └─ refused for a lasting reason ──► the batch goes back (`refused`)
//!                 refused again ──► halves, until the culprit is alone
//! ```
//!
//! A claim in doubt may have been granted. It is repeated with the same token until the store
//! answers, even if no jobs are wanted by then. Ends in doubt need no state here: an [`EndBatch`]
//! that is dropped returns its ends to the line, marked as sent.

use std::{mem, sync::Arc};

use tokio::time::Instant;

use super::{
    claims::OpenClaim,
    core::Core,
    ends::{EndBatch, PendingEnd},
    record::{Recording, check, finish, settle},
    search::{REPAIR, WorkSearch},
    slot::backoff,
    suspects::SuspectTurn,
    unreadable::tell_unreadable,
};
use crate::{
    Error, JobStore, Result,
    events::Via,
    job::{End, Failure, FailureKind, Grant, Retry, Serves},
    store::{Claimed, Ending, Finished, Want},
};

pub(super) struct Exchange {
    core: Arc<Core>,
    /// A claim whose answer was lost, and when it was sent. `call` sets it and repeats the claim
    /// with the same token until the store answers.
    in_doubt: Option<(Grant, Instant)>,
    /// Set by `begin` before a claim is sent, dropped once its jobs are taken in; the shutdown
    /// waits for it.
    open: Option<OpenClaim>,
    /// Set when a claim asks for a suspect, dropped once the store has answered.
    turn: Option<SuspectTurn>,
    /// Since the last success, the store has refused ends for a seemingly lasting reason. Only a
    /// second refusal makes `call` split the batch: a bug may pass, and a split may cost a result.
    refused: bool,
    /// The call that records many ends beside a claim, if one is on its way.
    pub(super) recording: Recording,
}

impl Exchange {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            recording: Recording::new(Arc::clone(&core)),
            core,
            in_doubt: None,
            open: None,
            turn: None,
            refused: false,
        }
    }

    /// Whether the next call claims. If it does, keeps `open` until the claim is answered.
    pub(super) fn begin(&mut self, open: OpenClaim, want: &[Want]) -> bool {
        self.open = (!want.is_empty() || self.in_doubt.is_some()).then_some(open);
        self.open.is_some()
    }

    /// Notes that a call was answered.
    pub(super) fn worked(&mut self) {
        self.refused = false;
        self.core.store.worked();
    }

    /// One call to the store: records ends, claims jobs, or both.
    pub(super) async fn call(
        &mut self,
        search: &mut WorkSearch,
        ends: EndBatch,
        want: Vec<Want>,
    ) -> Result<()> {
        let (grant, sent) = match self.in_doubt {
            Some((grant, sent)) => (grant.repeat(true), sent),
            None => (self.core.grant(), Instant::now()),
        };
        // A claim in doubt is repeated even if no jobs are wanted: its jobs may be held for us.
        // After a while it asks for no others: they would be held only as long as the first call
        // says.
        let is_old = grant.repeat && sent.elapsed() > self.core.config.lease / 3;
        let want = if is_old { Vec::new() } else { want };
        let claims = !want.is_empty() || grant.repeat;
        let endings = ends.endings();
        let begun = Instant::now();
        let asked = claims.then(|| self.serves());
        let core = &self.core;
        let send = core
            .store
            .call(|store| Self::send(store, &endings, &want, &grant, asked));
        match self.recording.beside(send).await {
            Ok((answers, claimed)) => {
                self.core.hands.trip.note(begun.elapsed());
                let mut unreadable = Vec::new();
                if let Some(mut claimed) = claimed {
                    unreadable.append(&mut claimed.unreadable);
                    self.in_doubt = None;
                    search.answered(&claimed, &want);
                    self.core.take_in(claimed.jobs, sent, Via::Store);
                    self.turn = None;
                    self.open = None;
                }
                settle(&self.core, ends, &answers).await;
                tell_unreadable(&self.core, &unreadable).await;
                Ok(())
            }
            Err(error) => {
                if claims {
                    self.in_doubt = Some((grant, sent));
                }
                let may_pass = error.is_retryable() || ends.is_empty();
                if may_pass || !mem::replace(&mut self.refused, true) {
                    return Err(error);
                }
                self.halve(search, ends, error).await
            }
        }
    }

    /// The served jobs, including a suspect if it is this loop's turn.
    fn serves(&mut self) -> Serves {
        let (serves, turn) = self.core.serves();
        self.turn = self.turn.take().or(turn);
        serves
    }

    async fn send(
        store: &dyn JobStore,
        endings: &[Ending],
        want: &[Want],
        grant: &Grant,
        asked: Option<Serves>,
    ) -> Result<(Vec<Finished>, Option<Claimed>)> {
        let Some(serves) = asked else {
            return Ok((finish(store, endings).await?, None));
        };
        if endings.is_empty() {
            return Ok((
                Vec::new(),
                Some(store.claim_ready(want, grant, &serves).await?),
            ));
        }
        let (finished, claimed) = store
            .finish_and_claim(endings, want, grant, &serves)
            .await?;
        check(endings, &finished);
        Ok((finished, Some(claimed)))
    }

    /// The store refuses a batch of ends for a lasting reason. Sends each half, recursively, until
    /// the culprit is alone. Its result is then dropped, and the attempt ends as an error.
    async fn halve(
        &mut self,
        search: &mut WorkSearch,
        mut ends: EndBatch,
        error: Error,
    ) -> Result<()> {
        if let Some(PendingEnd { held, end, .. }) = ends.single() {
            if matches!(end, End::Success(_)) {
                let text = format!("the store refuses the result: {error}");
                let failure = Failure::new(FailureKind::Result, text);
                let job = self.core.served.descriptor(held);
                let wait = job.map(|job| backoff(&self.core, held, job));
                *end = End::Error {
                    failure,
                    retry: Retry::After(wait.unwrap_or(REPAIR)),
                };
            }
            return Err(error);
        }
        let [head, tail] = ends.halve();
        let head = Box::pin(self.call(search, head, Vec::new())).await;
        Box::pin(self.call(search, tail, Vec::new()))
            .await
            .and(head)
    }
}
