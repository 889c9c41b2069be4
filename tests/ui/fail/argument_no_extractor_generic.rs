use bgjob::prelude::*;

use std::sync::Arc;

struct Db;

#[job]
async fn greet(_: String, _: Arc<Db>, _: JobContext) {}

fn main() {}
