//! The program, run as a user runs it: every file is hashed once, whatever its name
//! and whenever the process is killed.
#![cfg(unix)]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bgjob::{JobId, JobManager};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Names that are hard to write down.
const NAMES: [&[u8]; 9] = [
    b"plain.txt",
    b"new\nline",
    b"quote\"'\\",
    b" blanks ",
    b"\xff\xfe is not UTF-8",
    b"\xff\xfd is not UTF-8",
    b"\xef\xbf\xbd\xef\xbf\xbd is not UTF-8",
    b"\x1b[31mred",
    b"-n",
];

/// A folder of its own with a tree in it, gone at the end.
struct Bundle(PathBuf);

impl Bundle {
    /// A tree of the hard names and this many others.
    fn new(files: usize) -> Self {
        let bundle = Self(std::env::temp_dir().join(JobId::new().to_string()));
        let names = NAMES.map(|name| OsStr::from_bytes(name).to_owned());
        let numbers = (0..files).map(|n| n.to_string().into());
        let folder = bundle.0.join("tree").join("inner");
        fs::create_dir_all(&folder).unwrap();
        for (n, name) in names.into_iter().chain(numbers).enumerate() {
            fs::write(folder.join(name), "line\n".repeat(n % 7)).unwrap();
        }
        std::os::unix::fs::symlink("inner", bundle.0.join("tree/link")).unwrap();
        bundle
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.0.join("jobs.db").display())
    }

    fn quickstart(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
        command
            .current_dir(&self.0)
            .arg("tree")
            .args(["--store", &self.store()]);
        command.args(["--output", "out.jsonl"]);
        command
    }

    fn run(&self) -> Output {
        self.quickstart().output().unwrap()
    }

    /// What it wrote: path and hash of each file. No path may be there twice.
    fn written(&self) -> BTreeMap<Vec<u8>, String> {
        let text = fs::read_to_string(self.0.join("out.jsonl")).unwrap();
        let mut hashes = BTreeMap::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let path = match line["path_hex"].as_str() {
                Some(hex) => from_hex(hex),
                None => line["path"].as_str().unwrap().into(),
            };
            let twice = hashes.insert(path, line["sha256"].as_str().unwrap().to_owned());
            assert_eq!(twice, None, "{line}");
        }
        hashes
    }

    /// What it should have written.
    fn expected(&self) -> BTreeMap<Vec<u8>, String> {
        let files = fs::read_dir(self.0.join("tree/inner")).unwrap();
        let hash = |file: fs::DirEntry| {
            let path = Path::new("tree/inner").join(file.file_name());
            let sha = Sha256::digest(fs::read(file.path()).unwrap());
            (path.as_os_str().as_bytes().to_vec(), to_hex(&sha))
        };
        files.map(|file| hash(file.unwrap())).collect()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |n| u8::from_str_radix(&text[n..n + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn check(output: &Output, code: i32, says: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    assert!(text.contains(says), "{text}{errors}");
}

#[test]
fn every_file_is_hashed_and_a_second_run_finds_nothing_to_do() {
    let bundle = Bundle::new(20);
    check(&bundle.run(), 0, "29 succeeded, 0 dead, 0 cancelled");
    assert_eq!(bundle.written(), bundle.expected());
    check(&bundle.run(), 0, "this run: 0 files");
    assert_eq!(bundle.written(), bundle.expected());
}

#[tokio::test]
async fn what_a_killed_run_left_is_done_by_the_next() {
    let bundle = Bundle::new(5000);
    let jobs = JobManager::connect(bundle.store()).await.unwrap();
    let mut killed = bundle.quickstart().spawn().unwrap();
    while !has_some(&jobs).await {
        assert!(
            killed.try_wait().unwrap().is_none(),
            "it ended before it was killed"
        );
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    check(&bundle.run(), 0, "5009 succeeded, 0 dead, 0 cancelled");
    assert_eq!(bundle.written(), bundle.expected());
}

/// Whether a file has been hashed.
async fn has_some(jobs: &JobManager) -> bool {
    let counts = jobs.counts().await.unwrap();
    counts.iter().any(|count| count.succeeded > 0)
}

#[test]
fn wrong_arguments_are_told_apart_from_failures() {
    let bundle = Bundle::new(0);
    let with = |args: &[&str]| bundle.quickstart().args(args).output().unwrap();
    check(&with(&["--workers", "0"]), 2, "");
    check(&with(&["--help"]), 0, "path_hex");
    let mut elsewhere = bundle.quickstart();
    check(&elsewhere.current_dir("/").output().unwrap(), 2, "");
}
