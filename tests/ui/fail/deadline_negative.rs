use bgjob::prelude::*;

#[job(deadline = "-1h")]
async fn greet(_: String) {}

fn main() {}
