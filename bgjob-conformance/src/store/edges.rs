//! Limits: values at a limit are stored whole, values beyond it are refused with a reason.

use std::collections::BTreeMap;

use bgjob::{
    Json, Progress,
    job::{AttemptEnd, End, Failure, FailureKind, How, Retry, State, limits},
    store::Created,
};

use super::bundle::{Bundle, OTHER_QUEUE, error_after, new, plain, secs};

/// A JSON text of this many bytes.
fn text(bytes: usize) -> Json {
    Json::trusted(format!("\"{}\"", "x".repeat(bytes - 2)))
}

pub(super) async fn metadata_at_the_limit_is_taken(t: &Bundle) {
    let max = t.store.capabilities().max_document;
    let id = t.add(|spec| spec.metadata = text(max)).await;
    assert_eq!(t.job(id).await.spec.metadata, text(max));
    assert_eq!(t.claim(id).await.spec.metadata.len(), max);
}

pub(super) async fn metadata_over_the_limit_is_rejected_alone(t: &Bundle) {
    let mut jobs = plain(3);
    let max = t.store.capabilities().max_document;
    jobs[1] = new(|spec| spec.metadata = text(max + 1));
    let answers = t.create(&jobs).await;
    assert_eq!(
        (&answers[0], &answers[2]),
        (&Created::Created, &Created::Created)
    );
    let Created::Rejected(reason) = &answers[1] else {
        panic!("what can never be stored is rejected: {:?}", answers[1]);
    };
    assert!(
        reason.contains("metadata"),
        "the reason names what is wrong: {reason}"
    );
    assert!(!reason.contains("xxx"), "and never quotes it");
    assert_eq!(t.get(jobs[1].id).await, None);
}

pub(super) async fn a_result_at_the_limit_is_kept(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let result = text(limits::RESULT);
    t.finish(&held, End::Success(result.clone())).await;
    let job = t.job(held.id).await;
    assert_eq!(super::finish::ended(&job).how, How::Succeeded(result));
}

pub(super) async fn headers_and_tags_at_the_limit_are_kept(t: &Bundle) {
    let tags: Vec<_> = (0..limits::TAGS).map(|n| format!("{n:0>256}")).collect();
    let headers: BTreeMap<_, _> = (0..32)
        .map(|n| (format!("{n:0>128}"), "v".repeat(120)))
        .collect();
    let id = t
        .add(|spec| (spec.headers, spec.tags) = (headers.clone(), tags.clone()))
        .await;
    let held = t.claim(id).await;
    assert_eq!((&held.spec.headers, &held.spec.tags), (&headers, &tags));
}

pub(super) async fn the_longest_names_are_kept(t: &Bundle) {
    let (name, queue) = ("n".repeat(limits::NAME), "q".repeat(limits::QUEUE));
    let id = t
        .add(|s| (s.name, s.queue) = (name.as_str().into(), queue.as_str().into()))
        .await;
    let job = t.job(id).await;
    assert_eq!((&*job.spec.name, &*job.spec.queue), (&*name, &*queue));
    assert_eq!(t.counts(&queue).await, [(State::Ready, 1)]);
}

pub(super) async fn the_largest_failure_is_kept(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let mut failure = Failure::new(FailureKind::Error, "e".repeat(limits::ERROR / 2));
    let part = limits::ERROR / 2 / (limits::ERROR_CHAIN - 1);
    failure
        .messages
        .extend((1..limits::ERROR_CHAIN).map(|n| format!("{n:0>part$}")));
    let retry = Retry::After(secs(1));
    t.finish(
        &held,
        End::Error {
            failure: failure.clone(),
            retry,
        },
    )
    .await;
    assert_eq!(
        t.job(held.id).await.history[0].end,
        AttemptEnd::Failed(failure)
    );
}

pub(super) async fn every_kind_of_failure_comes_back(t: &Bundle) {
    let kinds = [
        FailureKind::Error,
        FailureKind::Panic,
        FailureKind::Timeout,
        FailureKind::Decode,
        FailureKind::Extract,
        FailureKind::Result,
    ];
    for kind in kinds {
        let held = t.running(|_| {}).await;
        let failure = Failure::new(kind, "");
        let retry = Retry::After(secs(1));
        t.finish(
            &held,
            End::Error {
                failure: failure.clone(),
                retry,
            },
        )
        .await;
        assert_eq!(
            t.job(held.id).await.history[0].end,
            AttemptEnd::Failed(failure)
        );
    }
}

pub(super) async fn the_longest_note_is_kept(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let progress = Progress::of(1, u64::MAX >> 1).note("ä".repeat(limits::NOTE / 2));
    t.report(&held, progress.clone()).await;
    assert_eq!(t.job(held.id).await.progress, Some(progress));
}

pub(super) async fn a_note_that_is_too_long_is_cut(t: &Bundle) {
    let held = t.running(|_| {}).await;
    // Made by hand, which its public fields allow, so it was not checked before.
    let progress = Progress {
        done: 1,
        total: None,
        note: Some("\u{1b}ä".repeat(3 << 20)),
    };
    t.report(&held, progress.clone()).await;
    let stored = t.job(held.id).await.progress;
    assert_eq!(
        stored,
        Some(progress.bounded()),
        "it is cut, and still a text"
    );
    let note = stored
        .and_then(|progress| progress.note)
        .unwrap_or_default();
    assert!((1..=limits::NOTE).contains(&note.len()) && !note.contains(char::is_control));
    t.crash(&held).await;
    t.job(held.id).await;
}

pub(super) async fn a_failure_that_is_too_large_is_cut(t: &Bundle) {
    let (failures, wait) = (2 * limits::HISTORY, secs(1));
    let attempts = u32::try_from(failures).unwrap_or(u32::MAX) + 1;
    let id = t.add(|spec| spec.max_attempts = attempts).await;
    for _ in 0..failures {
        let held = t.claim(id).await;
        let failure = Failure {
            kind: FailureKind::Error,
            messages: vec!["ä\u{7}".repeat(300_000); 2 * limits::ERROR_CHAIN],
        };
        let retry = Retry::After(wait);
        t.finish(&held, End::Error { failure, retry }).await;
        t.advance(wait).await;
    }
    let job = t.job(id).await;
    assert_eq!(job.history.len(), limits::HISTORY);
    for attempt in &job.history {
        let AttemptEnd::Failed(failure) = &attempt.end else {
            panic!("{attempt:?}");
        };
        let bytes: usize = failure.messages.iter().map(String::len).sum();
        assert!((1..=limits::ERROR).contains(&bytes), "{bytes} bytes");
        assert!(failure.messages.len() <= limits::ERROR_CHAIN);
        assert!(!failure.message().contains(char::is_control));
    }
    // The job can still be claimed.
    t.claim(id).await;
}

pub(super) async fn the_largest_budgets_and_spans_are_kept(t: &Bundle) {
    let id = t
        .add(|spec| {
            (spec.version, spec.max_attempts, spec.max_crashes) = (u32::MAX, 1000, 1000);
            (spec.expires, spec.deadline) = (Some(limits::SPAN), Some(limits::SPAN));
            (spec.retain, spec.queue) = (limits::SPAN, OTHER_QUEUE.into());
        })
        .await;
    let spec = t.job(id).await.spec;
    assert_eq!(
        (spec.version, spec.max_attempts, spec.max_crashes),
        (u32::MAX, 1000, 1000)
    );
    let span = Some(limits::SPAN);
    assert_eq!(
        (spec.expires, spec.deadline, Some(spec.retain)),
        (span, span, span)
    );
}

pub(super) async fn the_longest_waits_are_kept(t: &Bundle) {
    let held = t.running(|_| {}).await;
    t.finish(&held, error_after(limits::SPAN)).await;
    assert!(t.job(held.id).await.due_at + secs(5) >= t.now().await + limits::SPAN);
    let held = t.running(|_| {}).await;
    t.finish(&held, End::Snooze(std::time::Duration::MAX)).await;
    assert_eq!(
        t.job(held.id).await.due_at,
        bgjob::Timestamp::MAX,
        "times stop at the last one"
    );
}

pub(super) async fn spans_shorter_than_a_millisecond_are_not_lost(t: &Bundle) {
    let span = std::time::Duration::from_nanos(1_500_001);
    let id = t
        .add(|spec| (spec.expires, spec.retain) = (Some(secs(1) + span), span))
        .await;
    let job = t.job(id).await;
    assert_eq!(
        job.expires_at,
        Some(job.due_at + (secs(1) + span)),
        "rounded up, never early"
    );
    let (retain, whole) = (job.spec.retain, std::time::Duration::from_millis(2));
    assert!(
        retain == span || retain == whole,
        "kept, or rounded up like times: {retain:?}"
    );
}
