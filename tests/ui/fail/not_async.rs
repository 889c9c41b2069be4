use bgjob::prelude::*;

#[job]
fn greet(_: String) {}

fn main() {}
