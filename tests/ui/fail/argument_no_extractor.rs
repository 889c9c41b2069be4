use bgjob::prelude::*;

struct Db;

#[job]
async fn greet(_: String, _: JobContext, _: Db) {}

fn main() {}
