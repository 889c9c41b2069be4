//! Races for one job: the calls that threads make at the same time, and which of them may win.

use std::{sync::Arc, time::Duration};

use bgjob::{
    JobSpec, Progress,
    job::{
        Due, End, Failure, FailureKind, Grant, NewJob, Retry, Serves,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{Claim, Created, Ending, Finished, Renewal, Renewed, Swept, Want},
};

use super::{
    names::{self, KEYS, NAMES, QUEUES, id},
    op::{Answer, Claimer, Op},
};

/// Threads in each race.
pub(super) const THREADS: usize = 4;
/// The token of the grant that holds the job before a race.
const FIRST: u32 = 100;

/// The calls before the race, the calls of each thread, and which answers count as winning.
#[derive(Debug)]
pub(super) struct Race {
    pub(super) name: &'static str,
    pub(super) before: Vec<Op>,
    pub(super) threads: [Vec<Op>; THREADS],
    /// Whether this answer is a winner's. Exactly one must be.
    pub(super) wins: Option<fn(&Answer) -> bool>,
}

/// Races with one winner.
pub(super) const CONTESTS: &[fn() -> Race] = &[
    || Race {
        name: "claim, by id and of what is ready",
        before: vec![create(0, |_| {})],
        threads: each(|n| if n < 2 { claim(n) } else { ready(n) }),
        wins: Some(claimed),
    },
    || Race {
        name: "ends of one attempt",
        before: held(|_| {}),
        threads: each(|n| finish(FIRST, end(n))),
        wins: Some(applied),
    },
    || Race {
        name: "finish or revoke",
        before: lapsed(|_| {}),
        threads: each(|n| {
            if n < 2 {
                finish(FIRST, end(n))
            } else {
                sweep()
            }
        }),
        wins: Some(|answer| applied(answer) || swept(answer)),
    },
    || Race {
        name: "renew or revoke",
        before: lapsed(|_| {}),
        threads: each(|n| if n == 0 { renew(FIRST) } else { sweep() }),
        wins: Some(|answer| renewed(answer) || swept(answer)),
    },
    || Race {
        name: "finish while it is cancelled",
        before: held(|_| {}),
        threads: each(|n| match n {
            0 => operate(Operation::Cancel),
            1 => renew(FIRST),
            _ => finish(FIRST, end(n)),
        }),
        wins: Some(applied),
    },
    || Race {
        name: "requeue, purge or delete",
        before: over(|_| {}),
        threads: each(|n| match n {
            0 => purge(),
            1 => operate(Operation::Delete),
            _ => operate(Operation::Requeue(Due::Now)),
        }),
        wins: Some(|answer| done(answer) || matches!(answer, Answer::Purged(1, _))),
    },
    || Race {
        name: "creates of one id",
        before: Vec::new(),
        threads: each(|n| create(0, |spec| spec.metadata = names::json(n as u8))),
        wins: Some(created),
    },
    || Race {
        name: "creates of one unique key",
        before: Vec::new(),
        threads: each(|n| create(n as u8, keyed)),
        wins: Some(created),
    },
    || Race {
        name: "edits of one version",
        before: vec![create(0, |_| {})],
        threads: each(|n| {
            operate(Operation::Edit {
                metadata: names::json(n as u8),
                version: 1,
                ver: 0,
            })
        }),
        wins: Some(done),
    },
    || Race {
        name: "sweeps of what is too late",
        before: vec![
            create(0, |spec| spec.expires = Some(Duration::from_secs(60))),
            advance(61),
        ],
        threads: each(|_| sweep()),
        wins: Some(swept),
    },
    || Race {
        name: "the last end of a job that is not kept",
        before: held(|spec| spec.retain = Duration::ZERO),
        threads: each(|n| match n {
            0 => create(0, |spec| spec.retain = Duration::ZERO),
            1 => claim(n),
            _ => finish(FIRST, End::Success(names::json(n as u8))),
        }),
        wins: Some(applied),
    },
    || Race {
        name: "a release and who takes it up",
        before: held(|_| {}),
        threads: each(|n| match n {
            0 => finish_and_claim(FIRST, n),
            _ => ready(n),
        }),
        wins: Some(claimed),
    },
];

/// Arbitrary calls, three a thread, chosen by these numbers.
pub(super) fn mixed(draws: &[[u8; 3]; THREADS]) -> Race {
    let spec = |spec: &mut JobSpec| {
        spec.max_attempts = 3;
        if draws[0][0].is_multiple_of(2) {
            keyed(spec);
        }
        if draws[1][0].is_multiple_of(3) {
            spec.retain = Duration::ZERO;
        }
    };
    let before = match draws[2][0] % 5 {
        0 => Vec::new(),
        1 => vec![create(0, spec)],
        2 => held(spec),
        3 => lapsed(spec),
        _ => over(spec),
    };
    let thread = |n: usize| {
        let calls = draws[n].iter().enumerate();
        let call = |(nth, draw): (usize, &u8)| any(*draw, (10 * n + nth) as u32, spec);
        calls.map(call).collect()
    };
    Race {
        name: "anything",
        before,
        threads: std::array::from_fn(thread),
        wins: None,
    }
}

/// A call by a thread. A claim makes grant `token`; an end uses an earlier grant.
fn any(draw: u8, token: u32, spec: impl Fn(&mut JobSpec)) -> Op {
    let last = token.saturating_sub(1);
    match draw % 16 {
        0 => create(0, spec),
        1 => create(1, spec),
        2 | 3 => claim(token as usize),
        4 => ready(token as usize),
        5 => finish(last, end(usize::from(draw / 16) % 4)),
        6 => finish(FIRST, end(usize::from(draw / 16) % 4)),
        7 => finish_and_claim(last, token as usize),
        8 => renew(if draw < 128 { last } else { FIRST }),
        9 => sweep(),
        10 => operate(Operation::Cancel),
        11 => operate(Operation::Requeue(Due::Now)),
        12 => operate(Operation::Reschedule(Due::After(Duration::from_secs(5)))),
        13 => operate(Operation::Delete),
        14 => purge(),
        _ => get(),
    }
}

/// One call a thread, then a read.
fn each(call: impl Fn(usize) -> Op) -> [Vec<Op>; THREADS] {
    std::array::from_fn(|n| vec![call(n), get()])
}

fn create(nth: u8, change: impl FnOnce(&mut JobSpec)) -> Op {
    let mut spec = JobSpec::in_queue(QUEUES[0], NAMES[0], names::json(0));
    spec.version = 1;
    change(&mut spec);
    Op::Create(vec![NewJob::new(id(nth), spec, Due::Now)])
}

fn keyed(spec: &mut JobSpec) {
    spec.unique_key = Some(KEYS[0].to_owned());
}

/// A job held by the first grant.
fn held(change: impl FnOnce(&mut JobSpec)) -> Vec<Op> {
    vec![create(0, change), claim(FIRST as usize)]
}

/// A job whose lease has run out.
fn lapsed(change: impl FnOnce(&mut JobSpec)) -> Vec<Op> {
    let mut before = held(change);
    before.push(advance(40));
    before
}

/// A job that is over and may be purged (or has no retention).
fn over(change: impl FnOnce(&mut JobSpec)) -> Vec<Op> {
    let mut before = held(change);
    before.extend([finish(FIRST, end(0)), advance(25 * 3600)]);
    before
}

fn claimer(token: usize) -> Claimer {
    let number = token as u32;
    let (token, owner) = (names::token(number), names::owner(number));
    let jobs = [(Arc::from(NAMES[0]), 1)];
    Claimer {
        grant: Grant::new(token, owner, Duration::from_secs(30)),
        serves: Serves::new(Arc::new(jobs.into())).suspect(true),
    }
}

fn claim(token: usize) -> Op {
    Op::Claim {
        ids: vec![id(0)],
        by: claimer(token),
    }
}

fn want() -> Vec<Want> {
    vec![Want::new(QUEUES[0], 1)]
}

fn ready(token: usize) -> Op {
    Op::ClaimReady {
        want: want(),
        by: claimer(token),
    }
}

fn ending(token: u32, end: End) -> Vec<Ending> {
    vec![Ending::new(id(0), names::token(token), end)]
}

fn finish(token: u32, end: End) -> Op {
    Op::Finish(ending(token, end))
}

fn finish_and_claim(token: u32, next: usize) -> Op {
    Op::FinishAndClaim {
        ends: ending(token, End::Release),
        want: want(),
        by: claimer(next),
    }
}

/// Four ends that leave the job in different places.
fn end(n: usize) -> End {
    match n {
        0 => End::Success(names::json(7)),
        1 => End::Snooze(Duration::from_secs(60)),
        2 => End::Error {
            failure: Failure::new(FailureKind::Error, "the disk is full"),
            retry: Retry::After(Duration::from_secs(5)),
        },
        _ => End::Release,
    }
}

fn renew(token: u32) -> Op {
    let held = Renewal::new(id(0), names::token(token)).progress(Progress::of(1, 2));
    Op::Renew {
        held: vec![held],
        lease: Duration::from_secs(30),
    }
}

fn sweep() -> Op {
    Op::Sweep {
        limit: 10,
        policy: SweepPolicy::default(),
    }
}

fn operate(operation: Operation) -> Op {
    Op::Operate(vec![(id(0), operation)])
}

fn purge() -> Op {
    Op::Purge {
        limit: 10,
        look: Vec::new(),
    }
}

fn get() -> Op {
    Op::Get(vec![id(0)])
}

fn advance(seconds: u64) -> Op {
    Op::Advance(Duration::from_secs(seconds))
}

fn claimed(answer: &Answer) -> bool {
    match answer {
        Answer::Claims(claims) => matches!(claims[..], [Claim::Claimed(_)]),
        Answer::Claimed(claimed) | Answer::Both(_, claimed) => !claimed.jobs.is_empty(),
        _ => false,
    }
}

fn applied(answer: &Answer) -> bool {
    matches!(answer, Answer::Finished(ends) if matches!(ends[..], [Finished::Applied(_)]))
}

fn swept(answer: &Answer) -> bool {
    let ended = |one: &Swept| matches!(one, Swept::Revoked { .. } | Swept::Expired { .. });
    matches!(answer, Answer::Swept(swept) if swept.iter().any(ended))
}

fn renewed(answer: &Answer) -> bool {
    matches!(answer, Answer::Renewed(held) if matches!(held[..], [Renewed::Renewed { .. }]))
}

fn created(answer: &Answer) -> bool {
    matches!(answer, Answer::Created(jobs) if jobs[..] == [Created::Created])
}

fn done(answer: &Answer) -> bool {
    matches!(answer, Answer::Operated(all) if matches!(all[..], [Operated::Done(_)]))
}
