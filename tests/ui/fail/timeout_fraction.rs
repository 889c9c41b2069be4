use bgjob::prelude::*;

#[job(timeout = "1.5h")]
async fn greet(_: String) {}

fn main() {}
