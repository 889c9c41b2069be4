//! What the compiler says to a mistake in a `#[job]` or in a test of one, and what it must take.
//!
//! The texts in `fail/` are those of one compiler; any other must refuse the same files,
//! in words of its own. `TRYBUILD=overwrite cargo test -p bgjob-ui-tests` writes them anew.

use std::{env, fs, path::Path, process::Command};

/// The compiler whose words are pinned.
const PINNED: &str = "rustc 1.95.";

#[test]
fn jobs_that_compile() {
    trybuild::TestCases::new().pass("pass/*.rs");
}

#[test]
fn mistakes_are_explained() {
    if is_pinned() {
        trybuild::TestCases::new().compile_fail("fail/*.rs");
    } else if let Some(copies) = env::var_os("BGJOB_UI_COPIES") {
        trybuild::TestCases::new().compile_fail(Path::new(&copies).join("*.rs"));
    } else {
        must_fail();
    }
}

fn is_pinned() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.expect("cargo runs tests where there is a rustc");
    version.stdout.starts_with(PINNED.as_bytes())
}

/// On another compiler: this test again, on copies without a text, told to write what is missing.
/// Then the only way to fail is to compile.
fn must_fail() {
    let copies = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
    let _ = fs::remove_dir_all(&copies); // of an earlier run, if there was one
    fs::create_dir_all(&copies).expect("the target folder can be written");
    for file in fs::read_dir("fail").expect("the cases are there") {
        let path = file.expect("the folder can be read").path();
        if path.extension().is_some_and(|ext| ext == "rs") {
            let name = path.file_name().expect("it has an extension");
            fs::copy(&path, copies.join(name)).expect("the target folder can be written");
        }
    }
    let this = env::current_exe().expect("a test knows its own path");
    let status = Command::new(this)
        .args(["--exact", "mistakes_are_explained"])
        .env("BGJOB_UI_COPIES", &copies)
        .env("TRYBUILD", "overwrite")
        .status();
    assert!(status.expect("this very program runs").success());
}
