//! The ends of attempts: T4 (succeed), T5 (fail), T6 (release, snooze). Until then T3 (renew).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use sqlx::Row;
use uuid::Uuid;

use bgjob_core::{
    JobId, Result,
    job::{End, Grant, Serves, State, transition},
    store::{Claimed, Ending, Finished, Renewal, Renewed, Want},
    toolkit::columns::encode,
};

use super::{
    change::News,
    create::millis,
    db::{Call, Db, call, ids},
    error::translate,
};

/// Successes, in the form that the server takes.
pub(super) struct Succeeded {
    ids: Vec<Uuid>,
    tokens: Vec<Uuid>,
    results: Vec<String>,
    /// Those of the ids that bgjob did not make.
    own: Vec<Uuid>,
}

impl Succeeded {
    /// The successes among these ends, in which each job is named once.
    pub(super) fn of(ends: &[Ending]) -> Self {
        let mut all = Self {
            ids: Vec::with_capacity(ends.len()),
            tokens: Vec::with_capacity(ends.len()),
            results: Vec::with_capacity(ends.len()),
            own: Vec::new(),
        };
        for ending in ends {
            if let End::Success(result) = &ending.end {
                let id = Uuid::from(ending.id);
                all.ids.push(id);
                all.tokens.push(Uuid::from_bytes(*ending.token.as_bytes()));
                all.results.push(result.as_str().to_owned());
                if id.get_version_num() != 7 {
                    all.own.push(id);
                }
            }
        }
        all
    }

    pub(super) fn bind(&self, call: Call, clock: Option<i64>) -> Call {
        call.bind(clock)
            .bind(self.ids.clone())
            .bind(self.tokens.clone())
            .bind(self.results.clone())
            .bind(self.own.clone())
    }
}

impl Db {
    /// Ends attempts and claims the next jobs. The successes and the claim are one commit, unless a
    /// job is named twice.
    pub(super) async fn finish_and_claim(
        &self,
        ends: &[Ending],
        want: &[Want],
        grant: &Grant,
        serves: &Serves,
        news: &mut News,
    ) -> Result<(Vec<Finished>, Claimed)> {
        if !are_apart(ends) {
            let finished = self.finish(ends, news).await?;
            let (_, claimed) = self.claim_ready(None, want, grant, serves).await?;
            return Ok((finished, claimed));
        }
        let mut answers = self.fail(ends, news).await?;
        let succeeded = Succeeded::of(ends);
        let some = (!succeeded.ids.is_empty()).then_some(&succeeded);
        let (done, claimed) = self.claim_ready(some, want, grant, serves).await?;
        note(&done, &mut answers, news);
        Ok((finished(ends, &answers), claimed))
    }

    pub(super) async fn finish(&self, ends: &[Ending], news: &mut News) -> Result<Vec<Finished>> {
        if !are_apart(ends) {
            // One after the other: the second end of a job applies to what the first has left.
            let mut all = Vec::with_capacity(ends.len());
            for ending in ends {
                let one = Box::pin(self.finish(std::slice::from_ref(ending), news)).await?;
                all.extend(one);
            }
            return Ok(all);
        }
        let mut answers = self.fail(ends, news).await?;
        let succeeded = Succeeded::of(ends);
        if !succeeded.ids.is_empty() {
            let done = self.succeed(&succeeded).await?;
            note(&done, &mut answers, news);
        }
        Ok(finished(ends, &answers))
    }

    async fn succeed(&self, succeeded: &Succeeded) -> Result<Vec<JobId>> {
        let finish = succeeded.bind(call(&self.sql.succeed), self.clock());
        ids(&self.row(finish).await?)
    }

    /// Records the ends that are not successes.
    async fn fail(&self, ends: &[Ending], news: &mut News) -> Result<HashMap<JobId, State>> {
        let others: HashMap<JobId, &Ending> = ends
            .iter()
            .filter(|ending| !matches!(ending.end, End::Success(_)))
            .map(|ending| (ending.id, ending))
            .collect();
        if others.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<JobId> = others.keys().copied().collect();
        let finish = |job: &mut bgjob_core::Job, now| {
            let ending = others[&job.id];
            transition::finish(job, ending.token, &ending.end, now)
        };
        self.change(&ids, finish, news).await
    }

    /// T3 (renew).
    pub(super) async fn renew(&self, held: &[Renewal], lease: Duration) -> Result<Vec<Renewed>> {
        // If one job is renewed several times in a batch, its last progress counts.
        let mut news: BTreeMap<(Uuid, Uuid), Option<String>> = BTreeMap::new();
        for held in held {
            let latest = news.entry(pair(held)).or_default();
            if let Some(progress) = &held.progress {
                *latest = Some(encode(&progress.clone().bounded()));
            }
        }
        let renew = call(&self.sql.renew)
            .bind(self.clock())
            .bind(news.keys().map(|pair| pair.0).collect::<Vec<_>>())
            .bind(news.keys().map(|pair| pair.1).collect::<Vec<_>>())
            .bind(news.into_values().collect::<Vec<_>>())
            .bind(millis(lease));
        let mut renewed = HashMap::new();
        for row in self.renewal(renew).await? {
            let read = || {
                let pair: (Uuid, Uuid) = (row.try_get("id")?, row.try_get("token")?);
                Ok((pair, row.try_get::<bool, _>("cancel")?))
            };
            let (pair, cancel) = read().map_err(translate)?;
            renewed.insert(pair, cancel);
        }
        let answer = |held: &Renewal| {
            let cancel = renewed.get(&pair(held)).copied();
            cancel.map_or(Renewed::Lost, |cancel| Renewed::Renewed { cancel })
        };
        Ok(held.iter().map(answer).collect())
    }
}

fn pair(held: &Renewal) -> (Uuid, Uuid) {
    let token = Uuid::from_bytes(*held.token.as_bytes());
    (held.id.into(), token)
}

/// Whether each job is named once.
fn are_apart(ends: &[Ending]) -> bool {
    let mut seen = HashSet::with_capacity(ends.len());
    ends.iter().all(|ending| seen.insert(ending.id))
}

/// Notes the successes that were applied.
fn note(done: &[JobId], answers: &mut HashMap<JobId, State>, news: &mut News) {
    answers.extend(done.iter().map(|id| (*id, State::Succeeded)));
    news.ended.extend(done);
}

fn finished(ends: &[Ending], answers: &HashMap<JobId, State>) -> Vec<Finished> {
    let answer = |ending: &Ending| {
        let state = answers.get(&ending.id).copied();
        state.map_or(Finished::Lost, Finished::Applied)
    };
    ends.iter().map(answer).collect()
}
