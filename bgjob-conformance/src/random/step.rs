//! [`Step`]: one call as it is drawn. It says "the second running job" where an
//! [`Op`](super::op::Op) has an id, so that a program still makes sense if earlier calls are left
//! out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::select,
};

use bgjob::{
    Backoff, JobSpec, Priority, Progress,
    job::{
        DeadReason, Due, End, Failure, FailureKind, Retry, Serves, State, StoredBackoff,
        transition::SweepPolicy,
    },
    store::{Filter, Order, Want},
};

use super::names::{self, IDS, KEYS, NAMES, QUEUES, TAG};

#[derive(Debug, Clone)]
pub(super) enum Step {
    Create(Vec<(u8, JobSpec, Due)>),
    Claim(Vec<u8>, Serves, Duration),
    ClaimReady(Vec<Want>, Serves, Duration),
    Finish(Vec<(Holder, End)>),
    FinishAndClaim(Vec<(Holder, End)>, Vec<Want>, Serves, Duration),
    Renew(Vec<(Holder, Option<Progress>)>, Duration),
    Sweep(usize, SweepPolicy),
    Operate(Vec<(u8, Wish)>),
    Purge(usize),
    List(Sought, Order, Option<u8>, usize),
    Advance(Duration),
    /// Repeats the call made this many calls ago, as if its answer had been lost.
    Repeat(usize),
}

/// A job, and a token shown for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    /// The index among the running jobs, or among all.
    pub(super) job: u8,
    pub(super) running: bool,
    /// How many grants ago the job got this token: 0 is the current grant.
    pub(super) old: u8,
}

/// A filter, and its times, each as a span before now.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    pub(super) filter: Filter,
    pub(super) created: Option<Duration>,
    pub(super) due: Option<Duration>,
    pub(super) ended: Option<Duration>,
}

/// An operator's request. An edit needs the job's `ver`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    Cancel,
    Requeue(Due),
    Reschedule(Due),
    Edit {
        metadata: u8,
        version: u32,
        stale: bool,
    },
    Delete,
}

/// A program of about fifty calls.
pub(super) fn program() -> impl Strategy<Value = Vec<Step>> {
    let phrase = prop_oneof![
        16 => step().prop_map(|step| vec![step]),
        1 => crash(),
    ];
    vec(phrase, 1..90).prop_map(|phrases| phrases.concat())
}

/// A process claims everything and dies, so that there are suspects; by chance they are rare.
fn crash() -> impl Strategy<Value = Vec<Step>> {
    (serves(), policy()).prop_map(|(serves, policy)| {
        let want = |queue: &str| Want::new(queue, 10);
        vec![
            Step::ClaimReady(QUEUES.map(want).to_vec(), serves, secs(30)),
            Step::Advance(secs(61)),
            Step::Sweep(1000, policy),
        ]
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec((0..IDS, spec(), due()), 1..4).prop_map(Step::Create),
        6 => (vec(0..IDS, 1..7), serves(), lease()).prop_map(|(i, s, l)| Step::Claim(i, s, l)),
        7 => (wants(), serves(), lease()).prop_map(|(w, s, l)| Step::ClaimReady(w, s, l)),
        5 => vec((holder(), end()), 1..4).prop_map(Step::Finish),
        4 => (vec((holder(), end()), 0..3), wants(), serves(), lease())
            .prop_map(|(e, w, s, l)| Step::FinishAndClaim(e, w, s, l)),
        2 => (vec((holder(), progress()), 1..4), lease()).prop_map(|(h, l)| Step::Renew(h, l)),
        8 => (limit(), policy()).prop_map(|(l, p)| Step::Sweep(l, p)),
        6 => (0..IDS, wish()).prop_map(|one| Step::Operate(vec![one])),
        2 => vec((0..IDS, wish()), 0..6).prop_map(Step::Operate),
        2 => limit().prop_map(Step::Purge),
        3 => (sought(), order(), proptest::option::of(0..IDS), limit())
            .prop_map(|(s, o, a, l)| Step::List(s, o, a, l)),
        7 => passing().prop_map(Step::Advance),
        3 => (1..4_usize).prop_map(Step::Repeat),
    ]
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Spans that coincide with each other and with the steps of time.
fn span() -> impl Strategy<Value = Duration> {
    select(vec![
        secs(5),
        secs(1),
        secs(30),
        secs(60),
        Duration::from_millis(1),
        Duration::ZERO,
    ])
}

/// For `expires` and `deadline`. Most jobs live long enough to be claimed.
fn limit_span() -> impl Strategy<Value = Duration> {
    select(vec![secs(60), secs(300), secs(30), secs(5), Duration::ZERO])
}

fn passing() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => span(),
        3 => select(vec![secs(31), secs(61), secs(299), secs(300), secs(301)]),
        1 => select(vec![secs(24 * 3600), secs(31 * 24 * 3600)]),
    ]
}

fn lease() -> impl Strategy<Value = Duration> {
    select(vec![secs(30), secs(5), secs(5), secs(60), Duration::ZERO])
}

fn due() -> impl Strategy<Value = Due> {
    prop_oneof![
        4 => Just(Due::Now),
        2 => span().prop_map(Due::After),
        // Long ago, for a place before all other jobs.
        1 => (0..3_i64).prop_map(|s| {
            Due::At(bgjob::Timestamp::from_millis(1_000_000_000_000 + s * 1000))
        }),
    ]
}

fn spec() -> impl Strategy<Value = JobSpec> {
    let asked = (
        select(vec![
            NAMES[0], NAMES[0], NAMES[0], NAMES[1], NAMES[1], NAMES[2],
        ]),
        select(QUEUES.to_vec()),
        select(vec![1, 1, 1, 0, 2_u32]),
        select(vec![
            Priority::Normal,
            Priority::High,
            Priority::Low,
            Priority::Critical,
        ]),
        0..2_u8,
        proptest::option::weighted(0.4, select(KEYS.to_vec())),
    );
    let limits = (
        select(vec![JobSpec::RETAIN, Duration::ZERO, secs(60)]),
        proptest::option::weighted(0.3, limit_span()),
        proptest::option::weighted(0.3, limit_span()),
        1..4_u32,
        select(vec![3, 2, 3, 1_u32]),
        any::<bool>(),
        own_ways(),
    );
    (asked, limits).prop_map(|(asked, limits)| {
        let (name, queue, version, priority, metadata, key) = asked;
        let (retain, expires, deadline, max_attempts, max_crashes, tagged, own) = limits;
        let mut spec = JobSpec::in_queue(queue, name, names::json(metadata));
        (spec.version, spec.priority) = (version, priority);
        spec.unique_key = key.map(str::to_owned);
        (spec.retain, spec.expires, spec.deadline) = (retain, expires, deadline);
        (spec.max_attempts, spec.max_crashes) = (max_attempts, max_crashes);
        spec.tags = tagged.then(|| TAG.to_owned()).into_iter().collect();
        (spec.timeout, spec.backoff) = own;
        spec
    })
}

/// A time-out and a backoff of the job's own. Stores keep them and do not use them.
fn own_ways() -> impl Strategy<Value = (Option<Duration>, Option<StoredBackoff>)> {
    let backoff = Backoff::exponential(secs(1), secs(60)).without_jitter();
    let backoff = StoredBackoff::try_from(backoff).ok();
    select(vec![
        (None, None),
        (Some(Duration::new(7, 1)), None),
        (Some(secs(9)), backoff),
    ])
}

fn serves() -> impl Strategy<Value = Serves> {
    let both = &NAMES[..2];
    let names = select(vec![both, both, both, &NAMES[..1], &NAMES[1..2]]);
    let suspect = proptest::bool::weighted(0.7);
    (names, select(vec![1, 1, 1, 2, 0_u32]), suspect).prop_map(|(names, version, suspect)| {
        let jobs = names.iter().map(|name| (Arc::from(*name), version));
        Serves::new(Arc::new(jobs.collect::<BTreeMap<_, _>>())).suspect(suspect)
    })
}

fn wants() -> impl Strategy<Value = Vec<Want>> {
    let max = || select(vec![1, 10, 2, 3, 0_usize]);
    let which = select(vec![&[0_usize][..], &[0, 1], &[1, 0], &[1], &[]]);
    (which, max(), max()).prop_map(|(which, first, second)| {
        let max = [first, second];
        let want = |&nth: &usize| Want::new(QUEUES[nth], max[nth]);
        which.iter().map(want).collect()
    })
}

fn holder() -> impl Strategy<Value = Holder> {
    let old = select(vec![0, 0, 0, 0, 0, 0, 1, 2_u8]);
    (0..IDS, proptest::bool::weighted(0.85), old).prop_map(|(job, running, old)| Holder {
        job,
        running,
        old,
    })
}

fn end() -> impl Strategy<Value = End> {
    let error = |retry| End::Error {
        failure: Failure::new(FailureKind::Error, "the disk is full"),
        retry,
    };
    prop_oneof![
        4 => (0..2_u8).prop_map(|n| End::Success(names::json(n))),
        3 => span().prop_map(move |wait| error(Retry::After(wait))),
        1 => Just(error(Retry::Never(DeadReason::Aborted))),
        2 => Just(End::Release),
        2 => span().prop_map(End::Snooze),
    ]
}

fn progress() -> impl Strategy<Value = Option<Progress>> {
    proptest::option::of((0..3_u64).prop_map(|done| Progress::of(done, 3)))
}

fn limit() -> impl Strategy<Value = usize> {
    select(vec![1000, 1000, 1, 2, 3, 0_usize])
}

fn policy() -> impl Strategy<Value = SweepPolicy> {
    let margin = select(vec![secs(1), Duration::ZERO]);
    let backoff = select(vec![vec![secs(5), secs(60)], Vec::new()]);
    let touch = select(vec![None, None, Some(secs(15)), Some(secs(60))]);
    (margin, backoff, touch).prop_map(|(margin, waits, touch)| {
        let policy = SweepPolicy::default().margin(margin);
        policy.crash_backoff(waits).touch(touch)
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        3 => Just(Wish::Cancel),
        4 => due().prop_map(Wish::Requeue),
        2 => due().prop_map(Wish::Reschedule),
        2 => (0..3_u8, 0..3_u32, proptest::bool::weighted(0.2)).prop_map(
            |(metadata, version, stale)| Wish::Edit { metadata, version, stale }
        ),
        1 => Just(Wish::Delete),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    select(vec![Order::Oldest, Order::Newest])
}

fn sought() -> impl Strategy<Value = Sought> {
    let last = || proptest::option::weighted(0.2, select(vec![secs(0), secs(5), secs(60)]));
    (filter(), last(), last(), last()).prop_map(|(filter, created, due, ended)| Sought {
        filter,
        created,
        due,
        ended,
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let queue = proptest::option::of(select(QUEUES.to_vec()));
    let names = select(vec![&NAMES[..0], &NAMES[..1], &NAMES[1..2], &NAMES[1..]]);
    let state = proptest::option::of(select(State::ALL.to_vec()));
    let reasons = vec![
        DeadReason::Errors,
        DeadReason::Crashes,
        DeadReason::Aborted,
        DeadReason::Expired,
    ];
    let reason = proptest::option::weighted(0.2, select(reasons));
    let error = proptest::option::weighted(0.2, select(vec!["disk", "tape"]));
    (queue, names, state, any::<bool>(), reason, error).prop_map(
        |(queue, names, state, tagged, reason, error)| {
            let mut filter = Filter::default();
            filter.queue = queue.map(Into::into);
            filter.names = names.iter().map(|name| (*name).into()).collect();
            (filter.state, filter.reason) = (state, reason);
            filter.tag = tagged.then(|| TAG.to_owned());
            filter.error = error.map(str::to_owned);
            filter
        },
    )
}
