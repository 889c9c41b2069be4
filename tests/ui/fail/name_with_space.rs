use bgjob::prelude::*;

#[job(name = "send mail")]
async fn greet(_: String) {}

fn main() {}
