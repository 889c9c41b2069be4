use bgjob::prelude::*;

#[job]
async fn greet<T>(_: T) {}

fn main() {}
