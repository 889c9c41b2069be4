use bgjob::prelude::*;

#[job(version = 1, upgrade = newer)]
async fn greet(_: String) {}

fn newer(old: String) -> String {
    old
}

fn main() {}
