//! Odd characters: every text is read back as it was written, byte for byte.

use bgjob::{
    Json, Progress,
    job::{AttemptEnd, End, Failure, FailureKind, How, Retry, transition::Operation},
};

use super::bundle::{Bundle, To, error_after, secs, success};

/// Texts that break code which quotes, cuts or folds them, or does not go by length and bytes.
const ODD: &[&str] = &[
    "",
    " ",
    "\0",
    "a\0b",
    "'; drop table jobs; --",
    "\"quoted\"",
    "back\\slash",
    "%_?*[]{}$1 :name @p",
    "line\nbreak\r\n\ttab",
    "\u{7f}\u{80}\u{9f}\u{ad}\u{200b}\u{202e}\u{feff}\u{fffd}\u{ffff}\u{10ffff}",
    "ä a\u{308} ß ﬁ İ ı Σ ς",
    "🦀👩‍👩‍👧‍👦🇩🇪",
    "漢字かな한글العربية",
    "null",
    "{\"a\":1}",
];

/// JSON texts whose spelling matters.
const SPELLED: &[&str] = &[
    "null",
    "0",
    "-0.0",
    "1e400",
    "123456789012345678901234567890",
    "0.1000",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud83e\\udd80\"",
    "\"\\ud800\"",
    "\"'; drop table jobs; --\"",
    "{ \"b\" : 1 ,\n \"a\":2, \"a\" : 3 }",
    "{\"\":{\"\\u0000\":[]}}",
    "[1, 2,3 ]",
];

pub(super) async fn metadata_comes_back_as_it_was_spelled(t: &Bundle) {
    for text in SPELLED {
        let id = t.add(|spec| spec.metadata = Json::trusted(*text)).await;
        assert_eq!(t.job(id).await.spec.metadata.as_str(), *text);
        assert_eq!(t.claim(id).await.spec.metadata.as_str(), *text);
    }
}

pub(super) async fn texts_within_metadata_come_back(t: &Bundle) {
    for text in ODD {
        let metadata = Json::encode(text).expect("a string is JSON");
        let id = t.add(|spec| spec.metadata = metadata).await;
        let back: String = t
            .claim(id)
            .await
            .spec
            .metadata
            .decode()
            .expect("it is a string");
        assert_eq!(back, *text);
    }
}

pub(super) async fn deep_metadata_comes_back(t: &Bundle) {
    let deep = Json::trusted(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)));
    let id = t.add(|spec| spec.metadata = deep.clone()).await;
    assert_eq!(
        t.job(id).await.spec.metadata,
        deep,
        "a store does not look into metadata"
    );
}

pub(super) async fn results_come_back_as_they_were_spelled(t: &Bundle) {
    for text in SPELLED {
        let held = t.running(|_| {}).await;
        t.finish(&held, End::Success(Json::trusted(*text))).await;
        let job = t.job(held.id).await;
        assert_eq!(
            super::finish::ended(&job).how,
            How::Succeeded(Json::trusted(*text))
        );
    }
}

pub(super) async fn edited_metadata_comes_back(t: &Bundle) {
    for text in SPELLED {
        let id = t.add(|_| {}).await;
        let metadata = Json::trusted(*text);
        t.operate(
            id,
            Operation::Edit {
                metadata,
                version: 1,
                ver: 0,
            },
        )
        .await;
        assert_eq!(t.claim(id).await.spec.metadata.as_str(), *text);
    }
}

pub(super) async fn headers_come_back(t: &Bundle) {
    let headers = ODD
        .iter()
        .rev()
        .enumerate()
        .map(|(n, value)| (ODD[n].into(), (*value).into()));
    let headers: std::collections::BTreeMap<String, String> = headers.collect();
    let id = t.add(|spec| spec.headers = headers.clone()).await;
    assert_eq!(t.job(id).await.spec.headers, headers);
    assert_eq!(t.claim(id).await.spec.headers, headers);
}

pub(super) async fn tags_come_back_in_their_order(t: &Bundle) {
    let tags: Vec<String> = ODD.iter().map(|tag| (*tag).into()).collect();
    let id = t.add(|spec| spec.tags = tags.clone()).await;
    assert_eq!(t.job(id).await.spec.tags, tags);
    assert_eq!(t.claim(id).await.spec.tags, tags);
}

pub(super) async fn errors_come_back(t: &Bundle) {
    let held = t.running(|_| {}).await;
    let failure = Failure {
        kind: FailureKind::Error,
        messages: ODD.iter().map(|text| (*text).into()).collect(),
    };
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
        AttemptEnd::Failed(failure.bounded())
    );
}

pub(super) async fn notes_come_back(t: &Bundle) {
    let held = t.running(|_| {}).await;
    for text in ODD {
        let progress = Progress::of(1, 2).note(*text);
        t.report(&held, progress.clone()).await;
        assert_eq!(t.job(held.id).await.progress, Some(progress));
    }
}

pub(super) async fn names_of_every_allowed_character(t: &Bundle) {
    let name = "Az09._:-";
    let queue = "az09_.-";
    let id = t
        .add(|spec| (spec.name, spec.queue) = (name.into(), queue.into()))
        .await;
    let job = t.job(id).await;
    assert_eq!((&*job.spec.name, &*job.spec.queue), (name, queue));
    let serves = super::bundle::serving(&[(name, 1)], false);
    let held = t.claim_by(&[id], &t.grant(), &serves).await.remove(0);
    super::bundle::claimed(held);
}

pub(super) async fn odd_jobs_live_like_others(t: &Bundle) {
    let id = t
        .add(|spec| {
            spec.metadata = Json::trusted("\"\\u0000\"");
            spec.tags = vec!["\0".into()];
            spec.headers = [("\0".into(), "\0".into())].into();
        })
        .await;
    let held = t.claim(id).await;
    t.finish(&held, error_after(secs(0))).await;
    let held = t.claim(id).await;
    t.crash(&held).await;
    t.advance(secs(6)).await;
    let held = t.claim(id).await;
    t.finish(&held, success()).await;
    t.operate(id, Operation::Requeue(bgjob::job::Due::Now))
        .await;
    t.end(id, To::Death).await;
    let job = t.job(id).await;
    assert_eq!((job.epoch, job.errors, job.history.len()), (1, 1, 3));
}
