use bgjob::prelude::*;

#[job("greeting")]
async fn greet(_: String) {}

fn main() {}
