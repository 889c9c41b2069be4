//! Jobs collected by the linker, from a library that is only named: `use that_crate as _;`.
//!
//! A binary of its own, since all jobs of a binary are in one registry. Other tests list theirs.

use std::{path::Path, process::Command};

use bgjob::Registry;
use bgjob_linked_jobs as _;

#[bgjob::job]
async fn at_home(_: ()) {}

#[test]
fn jobs_of_a_library_that_is_named_are_linked() {
    #[bgjob::job]
    async fn in_a_function_body(_: ()) {}

    let jobs = Registry::linked().expect("each name is there once");
    let names: Vec<_> = jobs.iter().map(|job| job.name()).collect();
    assert_eq!(
        names,
        [
            "at_home",
            "in_a_function_body",
            "linked:private",
            "linked_public"
        ]
    );

    let private = jobs.get("linked:old").expect("an alias is a name");
    assert_eq!(private.name(), "linked:private");
    let place = Path::new(private.file());
    assert!(place.ends_with("linked-jobs/src/lib.rs"), "{place:?}");
}

#[test]
fn what_is_missing_is_named() {
    let jobs = Registry::linked().expect("each name is there once");
    let error = jobs
        .expect_jobs(["linked:pivate", "at_home", "elsewhere"])
        .expect_err("missing");
    assert_eq!(
        error.to_string(),
        "no job named `linked:pivate` is linked into this program; did you mean \
         `linked:private`?; no job named `elsewhere` is linked into this program; if it lives in \
         another crate, add `use that_crate as _;`"
    );
}

/// The optimiser sees the whole program and finds no use of the jobs; they must stay.
#[test]
fn link_time_optimisation_keeps_them() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("linked");
    for program in ["named", "unnamed"] {
        let status = Command::new(env!("CARGO"))
            .args([
                "run",
                "--quiet",
                "--release",
                "-p",
                "bgjob-linked-jobs",
                "--bin",
                program,
            ])
            .args(["--config", "profile.release.lto='fat'"])
            .args(["--config", "profile.release.codegen-units=1"])
            .args(["--config", "profile.release.strip=true"])
            .args(["--config", "profile.release.panic='abort'"])
            .arg("--target-dir")
            .arg(&folder)
            .status()
            .expect("cargo runs this test, so it can be run");
        assert!(status.success(), "{program}");
    }
}

/// Two lists are made by the linker; in one crate a name may be in both.
mod elsewhere {
    #[bgjob::job(extern, name = "linked:there", queue = "there", max_attempts = 7)]
    pub(crate) async fn there(_: u32) -> bgjob::Outcome<u32>;

    #[bgjob::job(extern, version = 1, queue = "away")]
    pub(crate) async fn with_version(_: u32);

    #[bgjob::job(extern)]
    pub(crate) async fn at_home(_: ());
}

#[tokio::test]
async fn who_enqueues_by_name_gets_what_the_attribute_says() {
    #[derive(Debug, PartialEq)]
    struct Said(String, String, u32, u32);

    let jobs = bgjob::JobManager::connect("memory:").await.expect("memory");
    let said = async |name: &str| {
        let job = jobs.enqueue_raw(name, 1).await.expect("stored");
        let spec = job.job().await.expect("there").spec;
        let (name, queue) = (spec.name.to_string(), spec.queue.to_string());
        Said(name, queue, spec.version, spec.max_attempts)
    };
    let expect = |name: &str, queue: &str, version, attempts| {
        Said(name.to_owned(), queue.to_owned(), version, attempts)
    };
    let there = said("linked:there").await;
    assert_eq!(there, expect("linked:there", "there", 0, 7));
    let version = said("with_version").await;
    assert_eq!(version, expect("with_version", "away", 1, 5));
    // An alias stays what it is: workers that know the old name only run it too.
    let private = Registry::linked()
        .expect("fine")
        .get("linked:old")
        .expect("alias")
        .queue();
    assert_eq!(
        said("linked:old").await,
        expect("linked:old", private, 0, 5)
    );
    let unknown = said("nobody:knows").await;
    assert_eq!(unknown, expect("nobody:knows", "default", 0, 5));
    // What is said at the enqueue goes before.
    let other = jobs
        .enqueue_raw("linked:there", 1)
        .queue("other")
        .version(3);
    let spec = other
        .await
        .expect("stored")
        .job()
        .await
        .expect("there")
        .spec
        .clone();
    assert_eq!(
        (&*spec.queue, spec.version, spec.max_attempts),
        ("other", 3, 7)
    );
}

#[tokio::test]
async fn a_signature_is_checked_where_its_job_is_linked_too() {
    let jobs = bgjob::JobManager::connect("memory:").await.expect("memory");
    let running = bgjob::JobDispatcher::builder(&jobs).start().await;
    let running = running.expect("they say the same");
    let _ = running.shutdown().await;
    assert_eq!(elsewhere::there::NAME, "linked:there");
    assert_eq!(elsewhere::with_version::NAME, "with_version");
    assert_eq!(elsewhere::at_home::NAME, "at_home");
}
