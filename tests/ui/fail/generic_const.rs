use bgjob::prelude::*;

#[job]
async fn greet<const N: usize>(_: String) {}

fn main() {}
