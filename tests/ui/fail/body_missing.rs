use bgjob::prelude::*;

#[job]
async fn greet(_: String);

fn main() {}
