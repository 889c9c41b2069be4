use bgjob::prelude::*;

#[job(blocking = true)]
fn greet(_: String) {}

fn main() {}
