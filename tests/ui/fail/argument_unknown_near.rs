use bgjob::prelude::*;

#[job(priorty = "high")]
async fn greet(_: String) {}

fn main() {}
