use bgjob::prelude::*;

struct Greeting;

#[job]
async fn greet(_: Greeting) {}

fn main() {}
