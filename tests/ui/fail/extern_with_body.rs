use bgjob::prelude::*;

#[job(extern)]
async fn greet(_: String) {}

fn main() {}
