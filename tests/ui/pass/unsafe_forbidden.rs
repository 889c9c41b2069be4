#![forbid(unsafe_code)]

use bgjob::prelude::*;

#[job]
async fn greet(_: String, _: JobContext) {}

fn main() {
    assert_eq!(bgjob::Registry::linked().unwrap().len(), 1);
}
