use bgjob::prelude::*;

#[job(backoff = wiats)]
async fn greet(_: String) {}

fn main() {}
