use bgjob::prelude::*;

#[job(queue = "mail" name = "greeting")]
async fn greet(_: String) {}

fn main() {}
