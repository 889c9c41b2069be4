use bgjob::prelude::*;

#[job]
async fn greet(_: String, #[cfg(unix)] _: JobContext) {}

fn main() {}
