use bgjob::prelude::*;

#[job]
async fn greet() {}

fn main() {}
