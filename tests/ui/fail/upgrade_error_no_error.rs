use bgjob::prelude::*;

struct Oops;

#[job(version = 1, upgrade = newer)]
async fn greet(_: String) {}

fn newer(_: serde_json::Value, _: u32) -> Result<serde_json::Value, Oops> {
    Err(Oops)
}

fn main() {}
