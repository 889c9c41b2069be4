//! Calls that only read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use bgjob::{
    Job, JobId,
    job::State,
    store::{Filter, Listed, Order, QueueCounts, Slice},
};

use super::{Model, Verdict, ensure, same};

impl Model {
    pub(super) fn get(&self, id: JobId, got: Option<&Job>) -> Verdict {
        match (self.jobs.get(&id), got) {
            (Some(expected), Some(got)) => same_job(expected, got),
            (None, None) => Ok(()),
            (Some(job), None) => Err(format!("{id} is {} and is not found", job.state())),
            (None, Some(job)) => Err(format!("there is no {id}, and it is found {}", job.state())),
        }
    }

    pub(super) fn list(&self, filter: &Filter, slice: &Slice, got: &Listed) -> Verdict {
        let within = slice.ids().filter(|_| slice.limit > 0);
        let jobs = within.map(|(least, greatest)| self.jobs.range(least..=greatest));
        let jobs = jobs.into_iter().flatten().map(|(_, job)| job);
        let mut expected: Vec<_> = jobs.filter(|job| filter.fits(job)).collect();
        if slice.order == Order::Newest {
            expected.reverse();
        }
        let is_reached = |job: &&Job| match (slice.order, got.next) {
            (_, None) => true,
            (Order::Oldest, Some(next)) => job.id <= next,
            (Order::Newest, Some(next)) => job.id >= next,
        };
        expected.retain(is_reached);
        ensure(expected.len() <= slice.limit, || {
            format!("a list of {} says that nothing is left", slice.limit)
        })?;
        let ids = |jobs: &mut dyn Iterator<Item = JobId>| jobs.collect::<Vec<_>>();
        same(
            "list",
            &ids(&mut expected.iter().map(|job| job.id)),
            &ids(&mut got.jobs.iter().map(|job| job.id)),
        )?;
        let mut pairs = expected.into_iter().zip(&got.jobs);
        pairs.try_for_each(|(expected, got)| same_job(expected, got))
    }

    pub(super) fn counts(&self, got: &[QueueCounts]) -> Verdict {
        // A job that is too late and waits for a sweep may count for the age or not.
        let is_late = |job: &Job| {
            let mut limits = job.expires_at.into_iter().chain(job.deadline_at);
            limits.any(|limit| limit <= self.now)
        };
        let mut ages: BTreeMap<_, Ages> = BTreeMap::new();
        let mut expected: BTreeMap<_, QueueCounts> = BTreeMap::new();
        for job in self.jobs.values() {
            let (queue, name) = (&job.spec.queue, &job.spec.name);
            let kind = (Arc::clone(queue), Arc::clone(name));
            let none = || QueueCounts::new(Arc::clone(queue), Arc::clone(name));
            let waits = job.state() == State::Ready && job.due_at <= self.now;
            let ages = ages.entry(kind.clone()).or_default();
            let age = self.now.since(job.due_at);
            match is_late(job) {
                _ if !waits => {}
                true => ages.late.push(age),
                false => ages.oldest = ages.oldest.max(Some(age)),
            }
            let counts = expected.entry(kind).or_insert_with(none);
            match job.state() {
                State::Ready => counts.add_waiting(job.due_at, job.has_started(), self.now),
                state => counts.add(state, 1),
            }
        }
        let some = got.iter().filter(|count| count.total() > 0).cloned();
        let mut got: Vec<_> = some.collect();
        got.sort_by(|a, b| (&a.queue, &a.name).cmp(&(&b.queue, &b.name)));
        for got in &got {
            let kind = (Arc::clone(&got.queue), Arc::clone(&got.name));
            if let Some(expected) = expected.get_mut(&kind)
                && ages
                    .get(&kind)
                    .is_some_and(|ages| ages.allow(got.oldest_due_age))
            {
                expected.oldest_due_age = got.oldest_due_age;
            }
        }
        same("counts", &expected.into_values().collect(), &got)
    }
}

/// The ages of the due jobs of one kind.
#[derive(Default)]
struct Ages {
    /// The age of the oldest job that can be claimed.
    oldest: Option<Duration>,
    /// The ages of all jobs that are too late.
    late: Vec<Duration>,
}

impl Ages {
    /// Whether a store may return this age.
    fn allow(&self, got: Option<Duration>) -> bool {
        let is_late = got.is_some_and(|age| self.late.contains(&age));
        got == self.oldest || (is_late && got > self.oldest)
    }
}

/// Reports the fields in which two jobs differ.
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
