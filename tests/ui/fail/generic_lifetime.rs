use bgjob::prelude::*;

#[job]
async fn greet<'a>(_: String) {}

fn main() {}
