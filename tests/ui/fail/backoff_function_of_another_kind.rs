use bgjob::prelude::*;

#[job(backoff = waits)]
async fn greet(_: String) {}

fn waits(errors: u32) -> u64 {
    errors.into()
}

fn main() {}
