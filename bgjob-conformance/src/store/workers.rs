//! Names of workers. They are for people, so a store need not keep them.

use bgjob::job::Owner;

use super::bundle::Bundle;

pub(super) async fn what_a_worker_is_called_is_kept_or_not_known(t: &Bundle) {
    let owners = [(); 3].map(|()| Owner::random());
    for name in ["old", "a worker’s name: 50% «§»"] {
        let note = t.store.name_worker(owners[0], name);
        note.await.expect("it answers");
    }
    let long = "x".repeat(100);
    let note = t.store.name_worker(owners[2], &long);
    note.await.expect("two are not in each other's way");
    let names = t.store.worker_names(&owners).await.expect("it answers");
    assert_eq!((names.len(), &names[1]), (3, &None));
    if names != [None, None, None] {
        assert_eq!(names[0].as_deref(), Some("a worker’s name: 50% «§»"));
        assert_eq!(names[2].as_deref().map(str::len), Some(100));
    }
    assert!(
        t.store
            .worker_names(&[])
            .await
            .expect("it answers")
            .is_empty()
    );
}
