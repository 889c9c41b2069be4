use bgjob::Registry;

mod outer {
    pub mod inner {
        use bgjob::prelude::*;

        #[job]
        pub(in crate::outer) async fn deep(_: ()) {}

        #[job]
        pub(super) async fn for_outer(_: ()) {}
    }

    pub fn names() -> [&'static str; 2] {
        [inner::deep::NAME, inner::for_outer::NAME]
    }
}

fn main() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Local;

    #[bgjob::job]
    async fn in_a_body(_: Local) {}

    let jobs = Registry::linked().unwrap();
    assert_eq!(jobs.len(), 3);
    for name in outer::names() {
        assert!(jobs.get(name).is_some());
    }
    assert!(jobs.get(in_a_body::NAME).is_some());
    drop(in_a_body(Local));
}
