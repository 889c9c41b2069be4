use bgjob::prelude::*;

#[job]
async unsafe fn greet(_: String) {}

fn main() {}
