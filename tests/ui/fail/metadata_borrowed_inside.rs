use bgjob::prelude::*;

#[job]
async fn greet(_: Vec<std::borrow::Cow<'_, str>>) {}

fn main() {}
