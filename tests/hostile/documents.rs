//! The file store's folder, after others were there: documents that can't be read, and files that
//! are none of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use bgjob::{
    Error, ErrorKind, JobId, JobManager, JobState, JobStore, Registry,
    job::transition::SweepPolicy,
    providers::file::{FileDocuments, FileStore},
    store::{Claim, Documents, Swept},
    testing::ManualClock,
};

use crate::support::{Folder, Told, dispatch, echo, grant, manager, new, says, serves, soon, want};

async fn open(folder: &Folder) -> JobManager {
    manager(FileStore::open(folder.join("jobs")).await.unwrap())
}

/// The file of a job.
fn file(folder: &Folder, id: JobId) -> PathBuf {
    let name = id.to_string();
    let group = folder.join("jobs").join("documents").join(&name[..7]);
    group.join(name).with_extension("json")
}

/// Makes of a document what is to be in its place.
type Damage = fn(&str) -> Vec<u8>;

/// What may be in the place of a document.
/// As a newer program may have left it.
fn newer() -> Vec<(&'static str, Damage)> {
    vec![
        ("of a newer version", |old| {
            old.replace("{\"job\":", "{\"newer\":").into_bytes()
        }),
        ("a newer field of the job", |old| {
            old.replace("\"errors\":0", "\"errors\":0,\"stalls\":3")
                .into_bytes()
        }),
        ("a newer field of the phase", |old| {
            old.replace("\"ready\":{", "\"ready\":{\"newer\":1,")
                .into_bytes()
        }),
        ("a newer field of an attempt", |old| {
            let attempt = "{\"fence\":1,\"owner\":\"018bcfe5-6800-7000-8000-000000000000\",\
                           \"claimed_at\":1,\"ended_at\":2,\"newer\":1,\
                           \"end\":{\"crashed\":{\"progress\":null}}}";
            let history = format!("\"history\":[{attempt}]");
            old.replace("\"history\":[]", &history).into_bytes()
        }),
        ("a newer option", |old| {
            old.replace("\"max_crashes\":", "\"max_stalls\":9,\"max_crashes\":")
                .into_bytes()
        }),
    ]
}

fn damages() -> Vec<(&'static str, Damage)> {
    vec![
        ("nothing", |_| vec![]),
        ("half", |old| old.as_bytes()[..old.len() / 2].to_vec()),
        ("all but the end", |old| {
            old.as_bytes()[..old.len() - 3].to_vec()
        }),
        ("zeros", |old| vec![0; old.len()]),
        ("no UTF-8", |old| {
            old.replace("echo", "\u{1}")
                .into_bytes()
                .into_iter()
                .map(|b| if b == 1 { 0xff } else { b })
                .collect()
        }),
        ("other JSON", |_| br#"{"hello":[1,2,3]}"#.to_vec()),
        ("no object", |_| b"[]".to_vec()),
        ("two documents", |old| old.repeat(2).into_bytes()),
        ("deep", |old| {
            old.replace("\"body\":{", &format!("\"body\":{}{{", "[".repeat(10_000)))
                .into_bytes()
        }),
        ("no version", |old| {
            old.replacen("\"version\":\"", "\"version\":\"\",\"was\":\"", 1)
                .into_bytes()
        }),
        ("a key twice", |old| {
            old.replacen("\"keys\"", "\"keys\":[],\"keys\"", 1)
                .into_bytes()
        }),
        ("keys with lines", |old| {
            old.replacen("[\"r,", "[\"\\n,", 1).into_bytes()
        }),
        ("a state there is not", |old| {
            old.replace("\"ready\"", "\"asleep\"").into_bytes()
        }),
        ("too large a number", |old| {
            old.replace("\"fence\":0", "\"fence\":1e400").into_bytes()
        }),
        ("the last fence", |old| {
            old.replace("\"fence\":0", "\"fence\":18446744073709551615")
                .into_bytes()
        }),
        ("the last error", |old| {
            old.replace("\"errors\":0", "\"errors\":4294967295")
                .into_bytes()
        }),
        ("a queue elsewhere", |old| {
            old.replace("\"queue\":\"default\"", "\"queue\":\"../up\"")
                .into_bytes()
        }),
        ("a name of two lines", |old| {
            old.replace("\"name\":\"echo\"", "\"name\":\"e\\nho\"")
                .into_bytes()
        }),
        ("another job's", |old| {
            old.replace("\"id\":\"0", "\"id\":\"1").into_bytes()
        }),
        ("far too large", |_| vec![b' '; 9 * 1024 * 1024]),
    ]
}

/// Asking for a job that can't be read names its file, and says what to do.
async fn check_asked(jobs: &JobManager, id: JobId, path: &Path) {
    let place = path.to_str().unwrap();
    let check = |error: Error, what: &str| {
        says(
            &error,
            ErrorKind::Internal,
            &[place, "mend it, or remove it"],
        );
        assert_eq!(error.job_id(), Some(id), "{what}");
    };
    check(jobs.get(id).await.unwrap_err(), "get");
    check(jobs.cancel(id).await.unwrap_err(), "cancel");
    check(jobs.requeue(id).await.unwrap_err(), "requeue");
    check(jobs.handle::<u32>(id).result().await.unwrap_err(), "result");
    let error = echo::enqueue(jobs, 2).id(id).await.unwrap_err();
    says(
        &error,
        ErrorKind::InvalidInput,
        &[place, "mend it, or remove it"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_document_is_told_and_kept_and_stops_nobody() {
    for (what, damage) in damages().into_iter().chain(newer()) {
        let folder = Folder::new();
        let jobs = open(&folder).await;
        let handles = echo::enqueue_all(&jobs, [1, 2, 3]).await.unwrap();
        let id = handles[1].id();
        let path = file(&folder, id);
        let whole = fs::read_to_string(&path).unwrap();
        let damaged = damage(&whole);
        assert_ne!(damaged, whole.as_bytes(), "{what}");
        fs::write(&path, &damaged).unwrap();

        let told = Told::default();
        let running = dispatch(&jobs, Registry::new(), &told).await;
        let said = told.wait("Unreadable").await;
        assert!(said.contains(path.to_str().unwrap()), "{what}: {said}");
        for (n, handle) in [(1, &handles[0]), (3, &handles[2])] {
            assert_eq!(soon(handle.result()).await.unwrap(), n, "{what}");
        }
        check_asked(&jobs, id, &path).await;
        // The list goes on without it.
        assert_eq!(jobs.list().await.unwrap().jobs.len(), 2);
        let health = running.health();
        assert_eq!((health.unreadable, health.is_good()), (1, true), "{what}");
        assert_eq!(told.all("Unreadable").len(), 1, "it is told once");
        assert_eq!(
            fs::read(&path).unwrap(),
            damaged,
            "{what}: it is kept as it is"
        );

        fs::write(&path, whole).unwrap();
        // Unless the dispatcher has found it by itself.
        if let Err(error) = jobs.reschedule(id, bgjob::Due::Now).await {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: {error}");
        }
        assert_eq!(
            soon(handles[1].result()).await.unwrap(),
            2,
            "{what}: mended, it runs"
        );
    }
}

/// Makes something at this path; that one is outside.
#[cfg(unix)]
type Make = fn(&Path, &Path);

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_no_document() {
    let make: [(&str, Make); 5] = [
        ("a folder", |path, _| fs::create_dir(path).unwrap()),
        ("a pipe", |path, _| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("a link out", |path, out| {
            std::os::unix::fs::symlink(out, path).unwrap()
        }),
        ("a link to nothing", |path, _| {
            std::os::unix::fs::symlink("nowhere", path).unwrap()
        }),
        ("a link to itself", |path, _| {
            std::os::unix::fs::symlink(path, path).unwrap()
        }),
    ];
    for (what, make) in make {
        let folder = Folder::new();
        let jobs = open(&folder).await;
        let handles = echo::enqueue_all(&jobs, [1, 2]).await.unwrap();
        let path = file(&folder, handles[0].id());
        // What is outside is a whole document even: it is not to be had through a link.
        let outside = folder.join("outside.json");
        fs::rename(&path, &outside).unwrap();
        let before = fs::read(&outside).unwrap();
        make(&path, &outside);

        let told = Told::default();
        let _running = dispatch(&jobs, Registry::new(), &told).await;
        told.wait("Unreadable").await;
        assert_eq!(soon(handles[1].result()).await.unwrap(), 2, "{what}");
        check_asked(&jobs, handles[0].id(), &path).await;
        // Also where all documents are looked through.
        fs::remove_file(folder.join("jobs").join("index.log")).unwrap();
        let third = echo::enqueue(&jobs, 3).await.unwrap();
        assert_eq!(soon(third.result()).await.unwrap(), 3, "{what}");
        assert_eq!(jobs.list().await.unwrap().jobs.len(), 2, "{what}");
        assert_eq!(fs::read(&outside).unwrap(), before, "{what}");
    }
}

/// A half-written file is replaced, not written through: it may lead out of the store.
#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let folder = Folder::new();
    let jobs = open(&folder).await;
    let job = echo::enqueue(&jobs, 1).await.unwrap();
    let outside = folder.join("outside");
    fs::write(&outside, "mine").unwrap();
    let half = file(&folder, job.id()).with_extension("new");
    std::os::unix::fs::symlink(&outside, &half).unwrap();
    assert_eq!(job.cancel().await.unwrap(), JobState::Cancelled);
    assert_eq!(job.status().await.unwrap(), JobState::Cancelled);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
    assert!(!half.exists());
}

/// Names that are nobody's, in each of the store's folders.
fn litter(folder: &Folder, id: JobId) {
    let root = folder.join("jobs");
    let documents = root.join("documents");
    let path = file(folder, id);
    let group = path.parent().unwrap();
    let text = fs::read(&path).unwrap();
    for name in [
        ".DS_Store",
        "notes.txt",
        "a\nb",
        "$(reboot)",
        "..json",
        "-rf",
        "ä🦀",
    ] {
        for folder in [&root, &documents, group] {
            fs::write(folder.join(name), &text).unwrap();
        }
    }
    // The same document once more, under its id in other spellings and in other places.
    let id = id.to_string();
    for name in [
        id.to_uppercase(),
        id.replace('-', ""),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
    ] {
        fs::write(group.join(name).with_extension("json"), &text).unwrap();
    }
    fs::write(group.join(format!("{id}.json.bak")), &text).unwrap();
    fs::write(group.join(format!("{id}.JSON")), &text).unwrap();
    fs::write(documents.join(format!("{id}.json")), &text).unwrap();
    for elsewhere in ["0000000", "zzzzzzz", "x"] {
        fs::create_dir(documents.join(elsewhere)).unwrap();
        fs::write(documents.join(elsewhere).join(format!("{id}.json")), &text).unwrap();
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"\xff\xfe.json");
        fs::write(group.join(name), &text).unwrap();
        std::os::unix::fs::symlink("/", documents.join("0000001")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_are_nobodys() {
    let folder = Folder::new();
    let jobs = open(&folder).await;
    let handles = echo::enqueue_all(&jobs, [1, 2]).await.unwrap();
    litter(&folder, handles[0].id());
    let listed = |jobs: Vec<bgjob::Job>| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
    let ids = [handles[0].id(), handles[1].id()];
    assert_eq!(listed(jobs.list().await.unwrap().jobs), ids, "each once");
    drop(jobs);
    // A store that has to look through everything.
    fs::remove_file(folder.join("jobs").join("index.log")).unwrap();
    let jobs = open(&folder).await;
    assert_eq!(jobs.counts().await.unwrap()[0].total(), 2);
    let told = Told::default();
    let running = dispatch(&jobs, Registry::new(), &told).await;
    for (n, id) in [(1, ids[0]), (2, ids[1])] {
        assert_eq!(soon(jobs.handle::<u32>(id).result()).await.unwrap(), n);
    }
    assert_eq!(
        running.health().unreadable,
        0,
        "{:?}",
        told.all("Unreadable")
    );
    let starts = told.all("AttemptStarted").len();
    assert_eq!(starts, 2, "each job is started once");
    for id in ids {
        jobs.delete(id).await.unwrap();
    }
    assert!(
        folder
            .join("jobs")
            .join("documents")
            .join(".DS_Store")
            .exists()
    );
    assert!(jobs.list().await.unwrap().jobs.is_empty());
}

/// A job that runs while its document is damaged: its end goes nowhere, and the sweeper tells.
#[tokio::test]
async fn a_document_that_is_damaged_while_its_job_runs_is_told_by_the_sweeper() {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let documents = FileDocuments::with_clock(folder.join("jobs"), Arc::new(clock.clone())).await;
    let store = Documents::new(documents.unwrap());
    let created = [new("echo", |_| {}), new("echo", |_| {})];
    store.create(&created).await.unwrap();
    let claimed = store
        .claim_ready(&want(2), &grant(), &serves("echo"))
        .await
        .unwrap();
    assert_eq!((claimed.jobs.len(), claimed.unreadable), (2, vec![]));
    let path = file(&folder, created[0].id);
    fs::write(&path, "{").unwrap();
    clock.advance(Duration::from_secs(31));
    let policy = SweepPolicy::default().margin(Duration::ZERO);
    let swept = store.sweep(10, &policy).await.unwrap();
    let id = created[0].id;
    let revoked = store
        .get(&[created[1].id])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(revoked.state(), JobState::Ready);
    assert_eq!(swept, [Swept::revoked(&revoked), Swept::Unreadable { id }]);
    let claim = store.claim(&[id], &grant(), &serves("echo")).await.unwrap();
    assert!(matches!(claim[..], [Claim::Unreadable]), "{claim:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
}

#[tokio::test]
async fn the_folder_itself_is_refused_by_name() {
    let folder = Folder::new();
    let path = folder.join("a file");
    fs::write(&path, "mine").unwrap();
    let error = FileStore::open(&path).await.unwrap_err();
    says(&error, ErrorKind::Unavailable, &["a file"]);
    let foreign = folder.join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter.txt"), "dear").unwrap();
    let error = FileStore::open(&foreign).await.unwrap_err();
    says(
        &error,
        ErrorKind::InvalidInput,
        &["foreign", "give another folder"],
    );
    assert_eq!(
        fs::read_dir(&foreign).unwrap().count(),
        1,
        "nothing is left there"
    );
}
