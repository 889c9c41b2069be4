use bgjob::prelude::*;

#[job(timeout = "5 minutes", deadline = 300, expires = Duration::from_secs(60))]
async fn greet(_: String) {}

fn main() {}
