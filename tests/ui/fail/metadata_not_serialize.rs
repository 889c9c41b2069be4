use bgjob::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Greeting;

#[job]
async fn greet(_: Greeting) {}

fn main() {}
