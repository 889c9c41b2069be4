//! The document that stands for a unique key, where it can't be read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bgjob::{ErrorKind, JobId, JobStore, providers::file::FileStore, store::Created};

use crate::support::{Folder, echo, manager, new, says};

/// All documents but these jobs'.
fn others(folder: &Path, jobs: &[JobId]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for group in fs::read_dir(folder.join("documents")).unwrap() {
        for file in fs::read_dir(group.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if !jobs.iter().any(|id| id.to_string() == name) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn a_key_whose_guard_is_damaged_is_refused_by_name_and_alone() {
    let folder = Folder::new();
    let root = folder.join("jobs");
    let store = FileStore::open(&root).await.unwrap();
    let keyed = || new("echo", |spec| spec.unique_key = Some("invoice 7".into()));
    let first = keyed();
    assert_eq!(
        store.create(std::slice::from_ref(&first)).await.unwrap(),
        [Created::Created]
    );
    let guard = others(&root, &[first.id]);
    assert_eq!(guard.len(), 1);
    for damage in ["", "{\"version\":\"1\",\"keys\":[],\"body\":{\"newer\":1}}"] {
        fs::write(&guard[0], damage).unwrap();
        let batch = [new("echo", |_| {}), keyed(), new("echo", |_| {})];
        let answers = store.create(&batch).await.unwrap();
        assert_eq!(
            (&answers[0], &answers[2]),
            (&Created::Created, &Created::Created)
        );
        let Created::Rejected(reason) = &answers[1] else {
            panic!("{answers:?}");
        };
        assert!(reason.contains(guard[0].to_str().unwrap()), "{reason}");
        assert_eq!(
            fs::read_to_string(&guard[0]).unwrap(),
            damage,
            "it is kept as it is"
        );
    }
}

/// Two live jobs of one key would be worse than none, so a holder that can't be read keeps it.
#[tokio::test]
async fn a_holder_that_is_damaged_keeps_its_key() {
    let folder = Folder::new();
    let root = folder.join("jobs");
    let jobs = manager(FileStore::open(&root).await.unwrap());
    let holder = echo::enqueue(&jobs, 1).unique_key("k").await.unwrap();
    let name = holder.id().to_string();
    let path = root
        .join("documents")
        .join(&name[..7])
        .join(&name)
        .with_extension("json");
    fs::write(&path, "{").unwrap();
    let second = echo::enqueue(&jobs, 2).unique_key("k").await.unwrap();
    assert_eq!((second.id(), second.already_existed()), (holder.id(), true));
    let error = second.status().await.unwrap_err();
    says(&error, ErrorKind::Internal, &[path.to_str().unwrap()]);
}
