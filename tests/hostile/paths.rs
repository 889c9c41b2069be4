//! Ids and names that would lead elsewhere if they were paths.

use std::{fs, path::Path};

use bgjob::{ErrorKind, JobDispatcher, JobId, JobManager, Registry};

use crate::support::{Folder, Told, dispatch, echo, memory, says, soon};

const TRICKS: &[&str] = &[
    "../up",
    "..",
    ".",
    "/etc/passwd",
    "C:\\x",
    "a/../../b",
    "a\\..\\b",
    "a\0b",
    "~",
    "$HOME",
    "%2e%2e%2f",
    ".hidden",
    "-rf",
    "con ",
    "a\n/b",
];

#[tokio::test(start_paused = true)]
async fn queue_names_are_no_paths() {
    let jobs = memory();
    let long = "q".repeat(100_000);
    for trick in TRICKS.iter().chain([&&*long]) {
        let error = echo::enqueue(&jobs, 1).queue(*trick).await.unwrap_err();
        says(&error, ErrorKind::InvalidInput, &["queue names are"]);
        let builder = || JobDispatcher::builder(&jobs).registry(Registry::new().with::<echo>());
        let error = builder().slots(*trick, 1).start().await.unwrap_err();
        says(&error, ErrorKind::InvalidInput, &["queue names are"]);
    }
}

/// All files below a folder, which links must not lead out of.
fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_any_key_stay_within_the_folder() {
    let folder = Folder::new();
    let inside = folder.join("a").join("b");
    fs::create_dir_all(&inside).unwrap();
    let url = format!("file:{}", inside.join("jobs").display());
    let jobs = JobManager::connect(url).await.unwrap();
    let _running = dispatch(&jobs, Registry::new(), &Told::default()).await;
    let mut bytes: Vec<Vec<u8>> = TRICKS.iter().map(|trick| (*trick).into()).collect();
    bytes.extend([vec![0xff; 300], Vec::new(), vec![b'/'; 100_000]]);
    for key in &bytes {
        let job = echo::enqueue(&jobs, 1)
            .id(JobId::from_key(key))
            .await
            .unwrap();
        assert_eq!(soon(job.result()).await.unwrap(), 1);
    }
    for id in [[0; 16], [0xff; 16], *b"../../../../../x"] {
        let id = JobId::from_bytes(id);
        let job = echo::enqueue(&jobs, 1).id(id).await.unwrap();
        assert_eq!(soon(job.result()).await.unwrap(), 1);
        jobs.delete(id).await.unwrap();
        assert!(jobs.get(id).await.unwrap().is_none());
    }
    let mut found = Vec::new();
    files(folder.path(), &mut found);
    let documents = found.iter().filter(|name| name.ends_with(".json")).count();
    assert_eq!(documents, bytes.len());
    assert_eq!(found.len(), documents + 3, "format, lock, index: {found:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The path of a URL is the user's own, and taken as it stands.
#[tokio::test]
async fn urls_that_lead_nowhere_are_refused_by_name() {
    let folder = Folder::new();
    let refused = async |url: String, kind, all: &[&str]| {
        let error = JobManager::connect(url).await.unwrap_err();
        says(&error, kind, all);
    };
    let nul = folder.join("a\0b").display().to_string();
    refused(format!("file:{nul}"), ErrorKind::Unavailable, &["folder"]).await;
    let long = folder.join(&"x".repeat(10_000)).display().to_string();
    refused(format!("file:{long}"), ErrorKind::Unavailable, &["folder"]).await;
    refused(
        format!("sqlite:{long}"),
        ErrorKind::Unavailable,
        &["can't be opened", "file: "],
    )
    .await;
    let below = folder
        .join("no folder")
        .join("jobs.db")
        .display()
        .to_string();
    refused(
        format!("sqlite:{below}"),
        ErrorKind::Unavailable,
        &["check that its folder exists", &below],
    )
    .await;
    refused(
        "file:".into(),
        ErrorKind::InvalidInput,
        &["names no folder"],
    )
    .await;
    refused(
        "no url".into(),
        ErrorKind::InvalidInput,
        &["starts with a scheme"],
    )
    .await;
    refused(
        "gopher:x".into(),
        ErrorKind::InvalidInput,
        &["`gopher:` is no store", "it knows"],
    )
    .await;
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is made"
    );
}
