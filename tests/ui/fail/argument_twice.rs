use bgjob::prelude::*;

#[job(queue = "mail", name = "greeting", queue = "post")]
async fn greet(_: String) {}

fn main() {}
