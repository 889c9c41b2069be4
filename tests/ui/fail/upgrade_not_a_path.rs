use bgjob::prelude::*;

#[job(version = 1, upgrade = "newer")]
async fn greet(_: String) {}

fn main() {}
