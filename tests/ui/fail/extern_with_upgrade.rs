use bgjob::prelude::*;

#[job(extern, version = 1, upgrade = newer)]
async fn greet(_: String) -> Result<(), JobError>;

fn main() {}
