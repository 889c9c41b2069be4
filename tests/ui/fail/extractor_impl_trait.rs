use bgjob::prelude::*;

#[job]
async fn greet(_: String, _: impl FromContext) {}

fn main() {}
