use bgjob::prelude::*;

#[job]
async extern "C" fn greet(_: String) {}

fn main() {}
