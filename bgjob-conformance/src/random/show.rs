//! Prints calls as the lines of a readable program.

use std::fmt;

use bgjob::{
    JobSpec, Priority,
    job::{Due, End, NewJob},
    store::{Ending, Renewal, Want},
};

use super::{
    names::short,
    op::{Claimer, Op},
};

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&short(&self.line()))
    }
}

impl Op {
    fn line(&self) -> String {
        match self {
            Self::Create(jobs) => format!("create {}", all(jobs, job)),
            Self::Claim { ids, by } => format!("claim {ids:?} {}", claimer(by)),
            Self::ClaimReady { want, by } => {
                format!("claim_ready {} {}", all(want, wanted), claimer(by))
            }
            Self::Finish(ends) => format!("finish {}", all(ends, ending)),
            Self::FinishAndClaim { ends, want, by } => format!(
                "finish_and_claim {} {} {}",
                all(ends, ending),
                all(want, wanted),
                claimer(by)
            ),
            Self::Renew { held, lease } => format!("renew {} for {lease:?}", all(held, renewal)),
            Self::Sweep { limit, policy } => format!(
                "sweep {limit} margin={:?} backoff={:?} touch={:?}",
                policy.margin, policy.crash_backoff, policy.touch
            ),
            Self::Operate(each) => format!("operate {each:?}"),
            Self::Purge { limit, .. } => format!("purge {limit}"),
            Self::Get(ids) => format!("get {ids:?}"),
            Self::List { filter, slice } => format!("list {filter:?} {slice:?}"),
            Self::Counts => "counts".to_owned(),
            Self::Advance(by) => format!("advance {by:?}"),
        }
    }
}

fn all<T>(each: &[T], show: impl Fn(&T) -> String) -> String {
    let each: Vec<_> = each.iter().map(show).collect();
    format!("[{}]", each.join(", "))
}

/// A job, with the fields that are not at their defaults.
fn job(new: &NewJob) -> String {
    let spec = &*new.spec;
    let plain = JobSpec::new(spec.name.clone(), spec.metadata.clone());
    let mut out = format!("{}:{}.v{}", new.id, spec.name, spec.version);
    let mut say = |what: String| {
        out += " ";
        out += &what;
    };
    say(format!("queue={}", spec.queue));
    say(format!("metadata={}", spec.metadata.as_str()));
    if new.due != Due::Now {
        say(format!("due={:?}", new.due));
    }
    if spec.priority != Priority::Normal {
        say(format!("{:?}", spec.priority));
    }
    if let Some(key) = &spec.unique_key {
        say(format!("key={key}"));
    }
    for (name, span) in [("expires", spec.expires), ("deadline", spec.deadline)] {
        if let Some(span) = span {
            say(format!("{name}={span:?}"));
        }
    }
    if spec.retain != plain.retain {
        say(format!("retain={:?}", spec.retain));
    }
    if spec.max_attempts != plain.max_attempts {
        say(format!("max_attempts={}", spec.max_attempts));
    }
    if spec.max_crashes != plain.max_crashes {
        say(format!("max_crashes={}", spec.max_crashes));
    }
    if !spec.tags.is_empty() {
        say(format!("tags={:?}", spec.tags));
    }
    out
}

fn wanted(want: &Want) -> String {
    format!("{} of {}", want.max, want.queue)
}

fn claimer(by: &Claimer) -> String {
    let Claimer { grant, serves } = by;
    let names = serves.jobs.iter();
    let names: Vec<_> = names.map(|(name, v)| format!("{name}.v{v}")).collect();
    format!(
        "by {:?} lease={:?}{} serves={}{}",
        grant.token,
        grant.lease,
        if grant.repeat { " repeat" } else { "" },
        names.join("+"),
        if serves.suspect { "+suspect" } else { "" },
    )
}

fn ending(ending: &Ending) -> String {
    let end = match &ending.end {
        End::Success(result) => format!("success={}", result.as_str()),
        End::Error { retry, .. } => format!("error {retry:?}"),
        End::Release => "release".to_owned(),
        End::Snooze(delay) => format!("snooze {delay:?}"),
    };
    format!("{} by {:?}: {end}", ending.id, ending.token)
}

fn renewal(held: &Renewal) -> String {
    let progress = held.progress.as_ref();
    let progress = progress.map_or_else(String::new, |p| format!(" progress={}", p.done));
    format!("{} by {:?}{progress}", held.id, held.token)
}
