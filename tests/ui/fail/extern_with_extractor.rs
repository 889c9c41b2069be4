use bgjob::prelude::*;

#[job(extern)]
async fn greet(_: String, ctx: JobContext) -> Result<(), JobError>;

fn main() {}
