//! The README's first program, built and run as a stranger does: in a package of its own, with the
//! dependencies that the README adds and no others.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const README: &str = include_str!("../README.md");
const WORKSPACE: &str = env!("CARGO_MANIFEST_DIR");

/// The code blocks of the README in a language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let starts = README.split("```").skip(1).step_by(2);
    starts.filter_map(move |block| block.strip_prefix(language)?.split_once('\n').map(|b| b.1))
}

/// `serde = { version = "*", features = ["derive"] }` for `cargo add serde --features derive`. The
/// lock file has the versions.
fn dependency(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("cargo add ")?.split_whitespace();
    let name = words.next()?;
    let features = match (words.next(), words.next()) {
        (Some("--features"), Some(features)) => features.split(',').collect(),
        _ => Vec::new(),
    };
    let place = match name {
        "bgjob" => format!("path = {:?}", Path::new(WORKSPACE).join("bgjob")),
        _ => "version = \"*\"".to_owned(),
    };
    Some(format!("{name} = {{ {place}, features = {features:?} }}\n"))
}

/// The package, under the target folder: what it is built of stays for the next time.
fn package() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    let added: String = blocks("sh")
        .flat_map(str::lines)
        .filter_map(dependency)
        .collect();
    let program = blocks("rust").find(|code| code.contains("fn main()"));
    let program = program.expect("the README has a program");
    let manifest = format!(
        "[package]\nname = \"readme\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [workspace]\n[dependencies]\n{added}"
    );
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(
        folder.join("src/main.rs"),
        format!("#![deny(warnings)]\n{program}"),
    )
    .unwrap();
    fs::copy(
        Path::new(WORKSPACE).join("Cargo.lock"),
        folder.join("Cargo.lock"),
    )
    .unwrap();
    let _ = fs::remove_file(folder.join("jobs.db"));
    folder
}

#[test]
fn the_first_program_builds_without_a_warning_and_runs_its_job() {
    let folder = package();
    let build = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--target-dir", "target"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "{said}");

    let mut program = Command::new(folder.join("target/debug/readme"))
        .current_dir(&folder)
        .env("RUST_LOG", "bgjob=debug")
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("sent a welcome to a@b.c") {
        assert_ne!(out.read_line(&mut text).unwrap(), 0, "it ended: {text}");
    }
    let pid = program.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    out.read_to_string(&mut text).unwrap();
    assert!(program.wait().unwrap().success(), "{text}");
    assert!(text.contains("enqueued "), "{text}");
    assert!(text.contains(" bgjob: "), "no logs: {text}");
}
