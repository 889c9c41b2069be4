//! Calls that only look.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Model, Verdict, ensure, same};
use crate::{
    Job, JobId,
    job::State,
    store::{Filter, QueueCount},
    testing::conformance::random::op::Page,
};

impl Model {
    pub(super) fn get(&self, id: JobId, got: Option<&Job>) -> Verdict {
        match (self.jobs.get(&id), got) {
            (Some(expected), Some(got)) => same_job(expected, got),
            (None, None) => Ok(()),
            (Some(job), None) => Err(format!("{id} is {} and is not found", job.state())),
            (None, Some(job)) => Err(format!("there is no {id}, and it is found {}", job.state())),
        }
    }

    pub(super) fn list(&self, filter: &Filter, page: &Page, got: &[Job]) -> Verdict {
        let fits = |job: &&Job| filter.fits(job) && page.after.is_none_or(|id| job.id > id);
        let expected: Vec<_> = self.jobs.values().filter(fits).take(page.limit).collect();
        let ids = |jobs: &mut dyn Iterator<Item = JobId>| jobs.collect::<Vec<_>>();
        same(
            "list",
            &ids(&mut expected.iter().map(|job| job.id)),
            &ids(&mut got.iter().map(|job| job.id)),
        )?;
        let mut pairs = expected.into_iter().zip(got);
        pairs.try_for_each(|(expected, got)| same_job(expected, got))
    }

    pub(super) fn counts(&self, got: &[QueueCount]) -> Verdict {
        let mut expected: BTreeMap<(Arc<str>, State), u64> = BTreeMap::new();
        for job in self.jobs.values() {
            let of = (job.spec.queue.clone(), job.state());
            *expected.entry(of).or_default() += 1;
        }
        let some = got.iter().filter(|count| count.jobs > 0);
        let pairs = some.map(|count| ((count.queue.clone(), count.state), count.jobs));
        let pairs: Vec<_> = pairs.collect();
        let mut sorted = pairs;
        sorted.sort();
        same("counts", &expected.into_iter().collect::<Vec<_>>(), &sorted)
    }
}

/// Says in which fields two jobs differ.
fn same_job(expected: &Job, got: &Job) -> Verdict {
    if expected == got {
        return Ok(());
    }
    let fields = |job: &Job| match serde_json::to_value(job) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("a job is stored as a JSON object: {other:?}"),
    };
    let (wanted, found) = (fields(expected), fields(got));
    let differ = wanted.iter().filter_map(|(name, value)| {
        let other = found.get(name).unwrap_or(&Value::Null);
        (other != value).then(|| format!("{name} should be {value}, not {other}"))
    });
    let differ: Vec<_> = differ.collect();
    ensure(false, || format!("{}: {}", expected.id, differ.join("; ")))
}
