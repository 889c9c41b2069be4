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
