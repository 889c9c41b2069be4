//! Texts: odd ones where any are allowed, and refused by name where not.

use std::sync::Arc;

use bgjob::{ErrorKind, JobId, SystemClock};

use crate::support::{Folder, Told, dispatch, echo, manager, memory, says, stores};

/// What breaks those who cut, fold, quote or show text by other means than its bytes.
const ODD: &[&str] = &[
    "\0",
    "a\0b",
    "\u{1b}[31mred\u{7}",
    "\u{202e}drow\u{202c}\u{200f}",
    "e\u{301}\u{301}\u{301}",
    "🦀👩‍👩‍👧‍👦",
    "\u{feff}\u{fffd}\u{ffff}\u{10ffff}",
    "'; drop table bgjob_jobs; --",
    "line\r\nbreak",
    "\"}],{\"a\":\"",
];

#[tokio::test(flavor = "multi_thread")]
async fn headers_tags_and_unique_keys_take_any_text() {
    let folder = Folder::new();
    for store in stores(&folder, Arc::new(SystemClock)).await {
        let jobs = manager(store);
        let _running = dispatch(&jobs, bgjob::Registry::new(), &Told::default()).await;
        for odd in ODD {
            let enqueue = || echo::enqueue(&jobs, 1).delay(std::time::Duration::from_secs(3600));
            let odd_one = enqueue()
                .header(*odd, *odd)
                .tag(*odd)
                .unique_key(*odd)
                .await
                .unwrap();
            let again = enqueue().unique_key(*odd).await.unwrap();
            assert_eq!(
                (again.id(), again.already_existed()),
                (odd_one.id(), true),
                "{odd:?}"
            );
            let stored = odd_one.job().await.unwrap().spec;
            assert_eq!(stored.headers.get(*odd).map(String::as_str), Some(*odd));
            assert_eq!(
                (&stored.tags[..], stored.unique_key.clone()),
                (&[(*odd).to_owned()][..], Some(format!("echo/{odd}")))
            );
            let found = jobs.list().tag(*odd).await.unwrap();
            assert_eq!(found.jobs.len(), 1, "{odd:?}");
            jobs.reschedule(odd_one.id(), bgjob::Due::Now)
                .await
                .unwrap();
            assert_eq!(crate::support::soon(odd_one.result()).await.unwrap(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_queues_take_a_few_characters_and_say_which() {
    let jobs = memory();
    let long = "n".repeat(129);
    let mut bad: Vec<&str> = ODD.to_vec();
    bad.extend(["", " ", "a b", "ä", "a/b", "a\\b", "a,b", &long]);
    for odd in bad {
        let error = jobs.enqueue_raw(odd, 1).await.unwrap_err();
        says(
            &error,
            ErrorKind::InvalidInput,
            &["job names are 1–128 bytes of", "name: "],
        );
        let error = echo::enqueue(&jobs, 1).queue(odd).await.unwrap_err();
        says(
            &error,
            ErrorKind::InvalidInput,
            &["queue names are 1–64 bytes of", "queue: "],
        );
        // To look for what can't be there is to find nothing.
        let found = jobs.list().queue(odd).name(odd).tag(odd).await.unwrap();
        assert!(found.jobs.is_empty());
    }
    assert!(jobs.counts().await.unwrap().is_empty(), "nothing is stored");
}

#[tokio::test(start_paused = true)]
async fn too_much_beside_the_metadata_is_refused_by_name() {
    let jobs = memory();
    let enqueue = || echo::enqueue(&jobs, 1);
    // At the limits all is well.
    let tags = (0..32).fold(enqueue(), |job, _| job.tag("x".repeat(500)));
    tags.header("h", "v".repeat(16 * 1024 - 32 * 500 - 1))
        .await
        .unwrap();
    enqueue().unique_key("🦀".repeat(64)).await.unwrap();

    let refused = async |job: bgjob::Enqueue<_, _>, all: &[&str]| {
        says(&job.await.unwrap_err(), ErrorKind::InvalidInput, all);
    };
    let text = "v".repeat(16 * 1024);
    refused(
        enqueue().header("h", &text),
        &["headers and tags are 16385 bytes", "use the metadata"],
    )
    .await;
    refused(
        enqueue().tag("t").tag(&text),
        &["headers and tags are 16385 bytes"],
    )
    .await;
    refused((0..33).fold(enqueue(), |job, _| job.tag("")), &["33 tags"]).await;
    refused(
        enqueue().unique_key("k".repeat(257)),
        &["unique_key", "this one has 257", "use a hash"],
    )
    .await;
    refused(
        enqueue().unique_key(""),
        &["unique_key", "this one has 0", "leave it out"],
    )
    .await;
    assert_eq!(
        jobs.counts().await.unwrap()[0].total(),
        2,
        "nothing else is stored"
    );
}

#[test]
fn ids_and_cursors_are_what_bgjob_printed() {
    let long = "0".repeat(1_000_000);
    let mut bad: Vec<&str> = ODD.to_vec();
    bad.extend([
        "",
        "../../etc/passwd",
        "/",
        "018bcfe5-6800-7000-8000-00000000000",
        &long,
    ]);
    for odd in bad {
        let error = odd.parse::<JobId>().unwrap_err();
        says(&error, ErrorKind::InvalidInput, &["a job id is a UUID"]);
        let error = odd.parse::<bgjob::Cursor>().unwrap_err();
        says(
            &error,
            ErrorKind::InvalidInput,
            &["this is no cursor", "`next`, unchanged"],
        );
    }
}
