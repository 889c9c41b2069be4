use bgjob::prelude::*;

#[job]
async fn grüße(_: String) {}

fn main() {}
