use bgjob::prelude::*;

#[job(expires = "soon")]
async fn greet(_: String) {}

fn main() {}
