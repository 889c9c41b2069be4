use bgjob::prelude::*;
use serde::Serialize;

#[derive(Serialize)]
struct Greeting;

#[job]
async fn greet(_: Greeting) {}

fn main() {}
