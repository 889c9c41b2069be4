use bgjob::prelude::*;

#[job(colour = "blue")]
async fn greet(_: String) {}

fn main() {}
