use bgjob::prelude::*;

#[job(retain = "4000d")]
async fn greet(_: String) {}

fn main() {}
