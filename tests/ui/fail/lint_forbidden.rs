#![forbid(non_camel_case_types)]

use bgjob::prelude::*;

#[job]
async fn greet(_: String) {}

fn main() {}
