//! What the caller sees of each fault, and what the wrapped provider was asked to do.

#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps nothing fails, as it should"
)]

use std::time::Duration;

use super::*;
use crate::{
    Due, JobId, JobQueue, JobSpec, JobStore, Json, Want,
    calls::caught,
    job::NewJob,
    providers::{channel::ChannelQueue, memory::MemoryStore},
    queue::Hint,
    store::{Created, Filter, Slice},
};

const SPAN: Duration = Duration::from_secs(1);

fn new() -> NewJob {
    NewJob::new(JobId::new(), JobSpec::new("job", Json::null()), Due::Now)
}

/// Creates a job with this fault. Returns whether the caller was told that the job is stored
/// (`None` if it got no answer for a day), and how many jobs there are afterwards.
async fn create(fault: Fault) -> (Option<bool>, usize) {
    let store = Faulty::new(MemoryStore::new());
    store.faults().once(&[Call::Create], fault);
    let day = Duration::from_secs(86_400);
    let jobs = [new()];
    let answer = tokio::time::timeout(day, caught(store.create(&jobs))).await;
    let heard = answer.ok().map(|answer| match answer {
        Ok(Ok(created)) => created == [Created::Created],
        Ok(Err(_)) | Err(_) => false,
    });
    let there = store
        .inner()
        .list(&Filter::default(), &Slice::first(9))
        .await;
    (heard, there.expect("memory answers").jobs.len())
}

#[tokio::test(start_paused = true)]
async fn a_call_fails_as_planned() {
    let slow = Fault::Slow {
        before: SPAN,
        after: SPAN,
    };
    for (fault, expected) in [
        (Fault::None, (Some(true), 1)),
        (Fault::Before, (Some(false), 0)),
        (Fault::After, (Some(false), 1)),
        (Fault::Lasting, (Some(false), 0)),
        (Fault::Panic, (Some(false), 0)),
        (Fault::PanicAfter, (Some(false), 1)),
        (slow, (Some(true), 1)),
        (Fault::Hang, (None, 0)),
        (Fault::HangAfter, (None, 1)),
        (Fault::Twice, (Some(true), 1)),
        // Outside a simulation there is no process to die.
        (Fault::Crash, (None, 0)),
        (Fault::CrashAfter, (None, 1)),
    ] {
        assert_eq!(create(fault).await, expected, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_call_is_done_after_its_caller_has_given_up() {
    let store = Faulty::new(MemoryStore::new());
    store.faults().once(&[Call::Create], Fault::Late(SPAN));
    assert!(store.create(&[new()]).await.is_err());
    assert!(store.counts().await.unwrap().is_empty());
    // Its own task starts when this one waits, and makes the call after the span.
    for _ in 0..3 {
        tokio::task::yield_now().await;
        tokio::time::advance(SPAN).await;
    }
    assert_eq!(store.counts().await.unwrap().len(), 1);
}

/// Pushes three hints with one fault and receives with another. Returns which hints came, in order.
async fn hints(push: Fault, receive: Fault) -> Vec<usize> {
    let queue = Faulty::new(ChannelQueue::new());
    let pushed: Vec<_> = (0..3)
        .map(|_| Hint::new(JobId::new(), "default", Default::default()))
        .collect();
    queue.faults().plan(move |call, _| match call {
        Call::Push => push,
        Call::Receive => receive,
        _ => Fault::None,
    });
    queue.push(&pushed).await.unwrap();
    let want = [Want::new("default", 10)];
    let got = queue.receive(&want, Duration::ZERO).await.unwrap();
    let place = |id| pushed.iter().position(|hint| hint.id == id);
    let places = got.iter().filter_map(|got| place(got.hint.id)).collect();
    // Hints that are lost for good are not delivered again either.
    queue.faults().heal();
    tokio::time::advance(Duration::from_secs(3600)).await;
    if got.is_empty() {
        let later = queue.receive(&want, Duration::ZERO).await.unwrap();
        assert!(later.is_empty(), "{push:?} {receive:?}");
    }
    places
}

#[tokio::test(start_paused = true)]
async fn hints_get_lost_doubled_and_disordered() {
    let none = Fault::None;
    assert_eq!(hints(none, none).await, [0, 1, 2]);
    assert_eq!(hints(Fault::Twice, none).await, [0, 1, 2, 0, 1, 2]);
    assert_eq!(hints(Fault::Reorder, none).await, [2, 1, 0]);
    assert_eq!(hints(none, Fault::Reorder).await, [2, 1, 0]);
    for (push, receive) in [
        (Fault::Lost, none),
        (none, Fault::Lost),
        (none, Fault::Wipe),
    ] {
        assert!(
            hints(push, receive).await.is_empty(),
            "{push:?} {receive:?}"
        );
    }
}

#[tokio::test]
async fn an_empty_list_means_all_kinds() {
    let store = Faulty::new(MemoryStore::new());
    store.faults().always(&[], Fault::Before);
    assert!(store.counts().await.is_err());
    assert!(store.now().await.is_err());
    store.faults().once(&[], Fault::Before);
    assert!(store.counts().await.is_err());
    assert!(store.now().await.is_ok());
}

/// A fault that does not fit is skipped, and is not used up.
#[tokio::test]
async fn once_is_kept_for_a_call_that_it_fits() {
    let faults = Faults::none();
    faults.once(&[], Fault::After);
    let met = [Call::WaitReady, Call::Get, Call::Get].map(|call| faults.next(call));
    assert_eq!(met, [Fault::None, Fault::After, Fault::None]);
}

#[test]
fn a_fault_that_does_not_fit_its_call_is_refused() {
    let refused = |set: fn(&Faults)| {
        let set = std::panic::catch_unwind(|| set(&Faults::none()));
        let why = set.expect_err("it is refused");
        why.downcast_ref::<String>().cloned().unwrap()
    };
    let lost = "`lost` can't happen to Create: it fits [Push, Receive, Ack]";
    assert_eq!(
        refused(|faults| faults.once(&[Call::Push, Call::Create], Fault::Lost)),
        lost
    );
    assert_eq!(
        refused(|faults| faults.always(&[Call::Create], Fault::Lost)),
        lost
    );
}

#[test]
fn the_same_seed_is_the_same_faults() {
    let drawn = |seed| {
        let rates = Rates {
            before: 0.2,
            after: 0.2,
            slow: 0.2,
            ..Rates::default()
        };
        let faults = Faults::seeded(seed, rates);
        (0..100)
            .map(|_| faults.next(Call::Finish))
            .collect::<Vec<_>>()
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let many = drawn(3)
        .iter()
        .filter(|fault| **fault != Fault::None)
        .count();
    assert!((40..80).contains(&many), "{many} of 100, 60 expected");
}
