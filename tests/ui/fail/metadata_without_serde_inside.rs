use bgjob::prelude::*;

struct Greeting;

#[job]
async fn greet(_: Vec<Greeting>) {}

fn main() {}
