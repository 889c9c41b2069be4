use bgjob::prelude::*;

struct Plain;

#[job(extern)]
async fn greet(_: Plain) -> Result<(), JobError>;

fn main() {}
