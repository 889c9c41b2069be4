//! A document's body is kept byte for byte.

use bgjob::store::{Key, Replaced::Replaced};

use super::bundle::{Bundle, assert_same, changed, range};

/// A store that parses the JSON and writes it anew changes the bytes of most of these.
const ODD: &[&str] = &[
    "0",
    "null",
    r#""""#,
    "{}",
    "[]",
    r#"{ "b" : 1,  "a" : [ ] }"#,
    "{\n\t\"a\":\r\n 1}",
    r#"{"a":1,"a":2}"#,
    r#"[1.0,1.00,1e2,1E+2,-0,0.1e-7]"#,
    r#"12345678901234567890123456789012345678901234567890.5"#,
    r#""\u0000\u001f\u007f\ud83d\ude00\/\n\\""#,
    "\"\u{7f}\u{a0}é日本\u{1f600}\u{202e}\u{feff}\u{ffff}\"",
    r#""e\u0301 é \u00e9""#,
    r#""'; DROP TABLE documents; -- $1 %s ?1 {0} <a> \"""#,
];

pub(super) async fn every_byte_is_kept(t: &Bundle) {
    for body in ODD {
        let added = t.add(&["a"], body).await;
        assert_eq!(String::from_utf8_lossy(&added.body), *body);
        let mut read = t.add(&["a"], "{}").await;
        assert_eq!(t.replace(&changed(&read, &["a"], body)).await, Replaced);
        read = t.read(read.id).await;
        assert_eq!(String::from_utf8_lossy(&read.body), *body);
    }
    let listed = t.list(None, 100).await;
    for (two, body) in listed.chunks(2).zip(ODD) {
        assert!(two.iter().all(|document| document.body == body.as_bytes()));
    }
    assert_eq!(listed.len(), 2 * ODD.len());
}

/// A JSON text of this many bytes, no two parts of which are the same.
fn text(bytes: usize) -> String {
    let mut body = String::from("\"");
    for number in 0.. {
        if body.len() + 10 > bytes {
            break;
        }
        body.push_str(&format!("{number:08x},"));
    }
    let rest = bytes - body.len() - 1;
    body.extend(std::iter::repeat_n('x', rest));
    body.push('"');
    body
}

async fn is_kept(t: &Bundle, bytes: usize) {
    let body = text(bytes);
    assert_eq!(body.len(), bytes);
    let small = t.add(&["a"], "{}").await;
    let large = changed(&small, &["b"], &body);
    assert_eq!(t.replace(&large).await, Replaced);
    assert_same(&t.read(small.id).await, &large);
    let added = t.add(&["b"], &body).await;
    assert!(added.body == body.as_bytes(), "{bytes} bytes");
    t.assert_filed(&large).await;
    let listed = t.list(None, 9).await;
    assert!(
        listed
            .iter()
            .all(|document| document.body == body.as_bytes())
    );
    // And small again: no byte of the longer body is left.
    let read = t.read(small.id).await;
    let again = changed(&read, &["a"], "[]");
    assert_eq!(t.replace(&again).await, Replaced);
    assert_same(&t.read(small.id).await, &again);
}

pub(super) async fn a_large_one_is_kept(t: &Bundle) {
    is_kept(t, 300 * 1024).await;
}

pub(super) async fn the_largest_one_is_kept(t: &Bundle) {
    let metadata = t.documents.capabilities().max_metadata;
    is_kept(t, metadata + 512 * 1024).await;
}

pub(super) async fn the_longest_keys_are_kept(t: &Bundle) {
    // They differ only in their last byte.
    let stem = format!("{}0123456789,._-", "abcdefghijklmnopqrstuvwxyz".repeat(6));
    let stem = &stem[..Key::MAX - 1];
    let keys = ["b", "c", "d", "e"].map(|end| format!("{stem}{end}"));
    let one = t.add(&keys.each_ref().map(String::as_str), "{}").await;
    let two = t.add(&[&keys[1]], "{}").await;
    let found = t.page(&range(&keys[0], &keys[3]), None, 9).await;
    let filed = [(0, one.id), (1, one.id), (1, two.id), (2, one.id)];
    let filed = filed.map(|(place, id)| (Key::new(&*keys[place]), id));
    assert_eq!(found, filed);
    let rest = t.page(&range(&keys[0], &keys[3]), Some(&filed[1]), 9).await;
    assert_eq!(rest, filed[2..], "a long key is a cursor too");
    assert_eq!(t.delete(&one).await, Replaced);
    let found = t.page(&range(&keys[0], &keys[3]), None, 9).await;
    assert_eq!(found, filed[2..3]);
}
