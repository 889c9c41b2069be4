use bgjob::prelude::*;

/// No function at all.
#[job]
struct Greet;

fn main() {}
