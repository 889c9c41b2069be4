use bgjob::prelude::*;

#[job(version = 0, upgrade = newer)]
async fn greet(_: String) {}

fn newer(value: serde_json::Value, _: u32) -> Result<serde_json::Value, JobError> {
    Ok(value)
}

fn main() {}
