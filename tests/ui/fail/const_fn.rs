use bgjob::prelude::*;

#[job(blocking)]
const fn greet(_: ()) {}

fn main() {}
