use std::{fs, path::Path};

use super::*;
use crate::{ErrorKind, store::Key};

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("bgjob-file-{}", JobId::new())))
    }

    fn open(&self) -> Folder {
        Folder::open(self.0.clone()).expect("it opens")
    }
}

impl Drop for Place {
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

fn file_of(place: &Place, id: JobId) -> PathBuf {
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
    let place = Place::new();
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
    let place = Place::new();
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
    let place = Place::new();
    let (kept, lost) = (document("b"), document("c"));
    insert(&mut place.open(), &kept);
    let log = place.0.join("index.log");
    // A process logged this and died: it had not written `lost`, and not removed `kept`.
    append(&log, &format!("+c {}\n-b {}\n", lost.id, kept.id));
    let half = file_of(&place, kept.id).with_extension("new");
    fs::write(&half, "{").expect("it can be written");
    assert_eq!(scan(&mut place.open()), [kept.id]);
    assert!(!half.exists());
    // Or died while it logged.
    append(&log, &format!("+c {}\n+d 018b", lost.id));
    assert_eq!(scan(&mut place.open()), [kept.id]);
    insert(&mut place.open(), &lost);
    assert_eq!(scan(&mut place.open()), [kept.id, lost.id]);
}

#[test]
fn an_index_that_is_gone_or_damaged_is_made_anew() {
    let place = Place::new();
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

#[test]
fn what_is_no_document_is_left_alone() {
    let place = Place::new();
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
    let place = Place::new();
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
    let place = Place::new();
    fs::create_dir(&place.0).expect("it can be made");
    fs::write(place.0.join("letter.txt"), "dear").expect("it can be written");
    let error = Folder::open(place.0.clone()).expect_err("it is not ours");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let place = Place::new();
    drop(place.open());
    fs::write(place.0.join("format"), "bgjob files 2\n").expect("it can be written");
    let error = Folder::open(place.0.clone()).expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_folder_that_is_gone_is_an_error_until_it_is_back() {
    let place = Place::new();
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

#[tokio::test]
async fn urls() {
    for (url, says) in [
        ("sqlite:x", "file:folder"),
        ("file:", "names no folder"),
        ("file:x?sync=full", "no options"),
    ] {
        let error = FileStore::open_url(url).await.expect_err(url);
        assert!(error.to_string().contains(says), "{url}: {error}");
    }
}
