use std::{fs, path::Path};

use super::*;
use crate::{ErrorKind, store::Key};

struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("bgjob-file-{}", JobId::new())))
    }

    fn open(&self) -> Folder {
        Folder::open(self.0.clone()).expect("it opens")
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn document(key: &str) -> Document {
    Document {
        id: JobId::new(),
        version: Version::default(),
        keys: vec![Key::new(key)],
        body: br#"{"a":1}"#.to_vec(),
    }
}

fn range() -> KeyRange {
    KeyRange {
        from: Key::new("a"),
        until: Key::new("z"),
    }
}

fn insert(folder: &mut Folder, new: &Document) {
    let inserted = folder
        .batch(|batch| batch.insert(new))
        .expect("it is written");
    assert_eq!(inserted.expect("it is no error"), Inserted::Inserted);
}

fn scan(folder: &mut Folder) -> Vec<JobId> {
    let filed = folder.batch(|batch| batch.scan(&range(), None, 100));
    filed
        .expect("it is read")
        .into_iter()
        .map(|(_, id)| id)
        .collect()
}

fn file_of(place: &TempFolder, id: JobId) -> PathBuf {
    let name = id.to_string();
    place
        .0
        .join("documents")
        .join(&name[..7])
        .join(name)
        .with_extension("json")
}

fn append(path: &Path, text: &str) {
    let mut all = fs::read(path).expect("it is there");
    all.extend_from_slice(text.as_bytes());
    fs::write(path, all).expect("it can be written");
}

#[test]
fn a_document_is_readable_json_for_its_owner_only() {
    let place = TempFolder::new();
    let new = document("b");
    insert(&mut place.open(), &new);
    let path = file_of(&place, new.id);
    let text = fs::read_to_string(&path).expect("it is text");
    let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(value["body"]["a"], 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode(&place.0), mode(&path)), (0o700, 0o600));
    }
}

#[test]
fn two_of_one_folder_see_each_other() {
    let place = TempFolder::new();
    let (mut one, mut two) = (place.open(), place.open());
    let (a, b) = (document("b"), document("c"));
    insert(&mut one, &a);
    insert(&mut two, &b);
    assert_eq!(scan(&mut one), [a.id, b.id]);
    assert_eq!(scan(&mut two), [a.id, b.id]);
    let again = two.batch(|batch| batch.insert(&a)).expect("it runs");
    assert_eq!(again.expect("it is no error"), Inserted::Taken);
}

#[test]
fn a_batch_that_was_cut_off_is_settled_by_the_documents() {
    let place = TempFolder::new();
    let (kept, lost) = (document("b"), document("c"));
    insert(&mut place.open(), &kept);
    let log = place.0.join("index.log");
    // A process logged this and died: it had not written `lost`, and had not removed `kept`.
    append(&log, &format!("+c {}\n-b {}\n", lost.id, kept.id));
    let half = file_of(&place, kept.id).with_extension("new");
    fs::write(&half, "{").expect("it can be written");
    assert_eq!(scan(&mut place.open()), [kept.id]);
    assert!(!half.exists());
    // Or it died while it logged.
    append(&log, &format!("+c {}\n+d 018b", lost.id));
    assert_eq!(scan(&mut place.open()), [kept.id]);
    insert(&mut place.open(), &lost);
    assert_eq!(scan(&mut place.open()), [kept.id, lost.id]);
}

#[test]
fn an_index_that_is_gone_or_damaged_is_made_anew() {
    let place = TempFolder::new();
    let new = document("b");
    let mut folder = place.open();
    insert(&mut folder, &new);
    let log = place.0.join("index.log");
    fs::remove_file(&log).expect("it is there");
    assert_eq!(scan(&mut folder), [new.id]);
    append(&log, "what is this\n");
    assert_eq!(scan(&mut folder), [new.id]);
    fs::write(&log, [0; 100]).expect("it can be written");
    assert_eq!(scan(&mut folder), [new.id]);
}

/// Under a running process: what it knows of the longer log no longer counts.
#[test]
fn a_backup_may_be_copied_back_in_place() {
    let place = TempFolder::new();
    let mut folder = place.open();
    let (old, new) = (document("b"), document("c"));
    insert(&mut folder, &old);
    let files = [place.0.join("index.log"), file_of(&place, old.id)];
    let backup = files
        .clone()
        .map(|file| fs::read(file).expect("it is there"));
    insert(&mut folder, &new);
    let gone = folder.batch(|batch| {
        let found = batch.get(old.id)?.expect("it is there");
        batch.delete(old.id, &found.version)
    });
    gone.expect("it is written").expect("it is no error");
    assert_eq!(scan(&mut folder), [new.id]);
    for (file, content) in files.iter().zip(backup) {
        fs::write(file, content).expect("it can be written");
    }
    assert_eq!(scan(&mut folder), [old.id, new.id]);
    assert_eq!(scan(&mut place.open()), [old.id, new.id]);
}

#[test]
fn what_is_no_document_is_left_alone() {
    let place = TempFolder::new();
    let mut folder = place.open();
    let (cut, whole) = (document("b"), document("c"));
    insert(&mut folder, &cut);
    insert(&mut folder, &whole);
    let path = file_of(&place, cut.id);
    for damage in [
        &b"{\"version\":\"1\",\"ke"[..],
        b"\xff\xfe",
        b"",
        b"{\"version\":\"1\",\"keys\":[\"A\\n\"],\"body\":1}",
    ] {
        fs::write(&path, damage).expect("it can be written");
        let read = folder.batch(|batch| (batch.get(cut.id), batch.get(whole.id)));
        let (one, other) = read.expect("one does not hinder the other");
        let one = one.expect("it is no error").expect("it is not missing");
        assert!(one.body.is_empty(), "nobody knows what it says");
        let written = folder.batch(|batch| batch.replace(&one)).expect("it runs");
        assert_eq!(written.expect("it is no error"), Replaced::Conflict);
        assert!(other.expect("it is no error").is_some());
        let again = folder.batch(|batch| batch.insert(&cut)).expect("it runs");
        assert_eq!(again.expect("it is no error"), Inserted::Taken);
        assert_eq!(fs::read(&path).expect("it is there"), damage);
    }
}

#[test]
fn a_long_log_is_written_anew() {
    let place = TempFolder::new();
    let mut folder = place.open();
    let new = document("b");
    insert(&mut folder, &new);
    let log = place.0.join("index.log");
    let other = JobId::new();
    let line = format!("+c {other}\n-c {other}\n.\n").repeat(6_000);
    append(&log, &line);
    assert_eq!(scan(&mut folder), [new.id]);
    let size = fs::metadata(&log).expect("it is there").len();
    assert!(size < 200, "{size}");
    assert_eq!(scan(&mut place.open()), [new.id]);
}

#[test]
fn folders_of_others_and_of_newer_versions_are_refused() {
    let place = TempFolder::new();
    fs::create_dir(&place.0).expect("it can be made");
    fs::write(place.0.join("letter.txt"), "dear").expect("it can be written");
    let error = Folder::open(place.0.clone()).expect_err("it is not ours");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let place = TempFolder::new();
    drop(place.open());
    fs::write(place.0.join("format"), "bgjob files 2\n").expect("it can be written");
    let error = Folder::open(place.0.clone()).expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_folder_that_is_gone_is_an_error_until_it_is_back() {
    let place = TempFolder::new();
    let mut folder = place.open();
    let new = document("b");
    insert(&mut folder, &new);
    let away = place.0.with_extension("away");
    fs::rename(&place.0, &away).expect("it can be moved");
    let error = folder
        .batch(|batch| batch.scan(&range(), None, 1))
        .expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    fs::rename(&away, &place.0).expect("it can be moved");
    assert_eq!(scan(&mut folder), [new.id]);
}

/// What was done to the disk since the last call, without the parts that differ each time.
fn done(place: &TempFolder, id: JobId) -> Vec<String> {
    let group = &id.to_string()[..7];
    let [root, id] = [place.0.display().to_string(), id.to_string()];
    let short = |line: String| {
        line.replace(&*root, "…")
            .replace(&id, "ID")
            .replace(group, "GROUP")
    };
    trace::take().into_iter().map(short).collect()
}

/// A power cut leaves what was synced. Of the rest it may leave anything.
#[test]
fn nothing_takes_its_place_or_is_told_before_it_is_synced() {
    let place = TempFolder::new();
    let mut folder = place.open();
    let new = document("b");
    assert_eq!(scan(&mut folder), []);
    done(&place, new.id);
    insert(&mut folder, &new);
    // The document and the log; then the folder it is in, and the one that folder is in.
    let written = [
        "write …/documents/GROUP/ID.new",
        "sync files 2",
        "rename …/documents/GROUP/ID.json",
        "sync …/documents/GROUP",
        "sync …/documents",
    ];
    assert_eq!(done(&place, new.id), written);
    // Another process died before that, and did not log the end.
    append(&place.0.join("index.log"), &format!("+c {}\n", new.id));
    assert_eq!(scan(&mut folder), [new.id]);
    let settled = ["sync …/documents/GROUP", "sync …/documents", "sync files 1"];
    assert_eq!(done(&place, new.id), settled);
    fs::remove_file(place.0.join("index.log")).expect("it is there");
    assert_eq!(scan(&mut folder), [new.id]);
    let made_anew = [
        "sync …/documents/GROUP",
        "sync …/documents",
        "write …/index.new",
        "sync files 1",
        "rename …/index.log",
        "sync …",
    ];
    assert_eq!(done(&place, new.id), made_anew);
}

#[test]
fn a_folder_whose_first_process_died_is_finished() {
    let place = TempFolder::new();
    fs::create_dir_all(place.0.join("documents")).expect("it can be made");
    for name in ["lock", "format.new"] {
        fs::write(place.0.join(name), "").expect("it can be written");
    }
    let mut folder = place.open();
    let new = document("b");
    insert(&mut folder, &new);
    assert_eq!(scan(&mut place.open()), [new.id]);
    // A folder with anything inside belongs to others.
    fs::remove_file(place.0.join("format")).expect("it is there");
    let error = Folder::open(place.0.clone()).expect_err("it is not ours");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_folder_that_was_made_anew_has_another_lock() {
    let place = TempFolder::new();
    let mut old = place.open();
    insert(&mut old, &document("b"));
    fs::remove_dir_all(&place.0).expect("it can be deleted");
    let mut new = place.open();
    let (one, two) = (document("c"), document("d"));
    insert(&mut new, &one);
    insert(&mut old, &two);
    assert_eq!(scan(&mut old), [one.id, two.id]);
    assert_eq!(scan(&mut new), [one.id, two.id]);
    let both = disk::private().append(true).open(place.0.join("lock"));
    let both = both.expect("it is there");
    old.locked(|_| both.try_lock().expect_err("it is the same lock"))
        .expect("it is not broken");
}

#[cfg(unix)]
#[test]
fn links_lead_nowhere() {
    use std::os::unix::fs::symlink;

    let (place, elsewhere) = (TempFolder::new(), TempFolder::new());
    fs::create_dir(&elsewhere.0).expect("it can be made");
    let mut folder = place.open();
    let new = document("b");
    let group = file_of(&place, new.id);
    let group = group.parent().expect("it has one");
    symlink(&elsewhere.0, group).expect("it can be made");
    let written = folder.batch(|batch| batch.insert(&new));
    let error = written.expect_err("it leads out of the store");
    assert!(error.to_string().contains("a link stands"), "{error}");
    assert_eq!(fs::read_dir(&elsewhere.0).expect("it is there").count(), 0);
    fs::remove_file(group).expect("it is there");
    insert(&mut folder, &new);
    let log = place.0.join("index.log");
    fs::rename(&log, elsewhere.0.join("log")).expect("it is there");
    symlink(elsewhere.0.join("log"), &log).expect("it can be made");
    let error = Folder::open(place.0.clone()).expect_err("it may lead out of the folder");
    assert!(
        error.to_string().contains("`index.log` is a link"),
        "{error}"
    );
}

#[test]
fn what_can_not_be_read_is_found_all_the_same() {
    let place = TempFolder::new();
    let mut folder = place.open();
    let cut = document("b");
    insert(&mut folder, &cut);
    fs::write(file_of(&place, cut.id), "{").expect("it can be written");
    // A process died within a change of it.
    let change = format!("+c {}\n-b {}\n", cut.id, cut.id);
    append(&place.0.join("index.log"), &change);
    assert_eq!(scan(&mut folder), [cut.id, cut.id]);
}

/// The usual limit of a process on macOS; a batch has thousands of documents.
#[cfg(unix)]
#[test]
fn few_files_are_open_at_once() {
    const WITHIN: &str = "BGJOB_FEW_FILES";
    if std::env::var_os(WITHIN).is_some() {
        let place = TempFolder::new();
        let new: Vec<_> = (0..2_000).map(|_| document("b")).collect();
        let mut folder = place.open();
        let written =
            folder.batch(|batch| new.iter().try_for_each(|new| batch.insert(new).map(drop)));
        written.expect("it is written").expect("it is no error");
        assert_eq!(scan(&mut folder).len(), 100);
        return;
    }
    let own = std::env::current_exe().expect("a test has a program");
    let name = "providers::file::tests::few_files_are_open_at_once";
    let run = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 256 && exec \"$0\" --exact \"$1\" --nocapture",
        ])
        .arg(own)
        .arg(name)
        .env(WITHIN, "1")
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn too_many_open_files_are_nobodys_fault() {
    let own = |code| disk::is_its_own(&std::io::Error::from_raw_os_error(code));
    // EIO, EACCES; EMFILE, ENFILE.
    #[cfg(unix)]
    assert_eq!([5, 13, 24, 23].map(own), [true, true, false, false]);
    let error = disk::translate(std::io::Error::from_raw_os_error(24));
    #[cfg(unix)]
    assert!(error.to_string().contains("ulimit -n"), "{error}");
}

#[tokio::test]
async fn urls() {
    for (url, says) in [
        ("sqlite:x", "file:folder"),
        ("file:", "names no folder"),
        ("file:x?sync=full", "no options"),
        ("file://host/x", "names no host"),
    ] {
        let error = FileStore::open_url(url).await.expect_err(url);
        assert!(error.to_string().contains(says), "{url}: {error}");
    }
}
