use bgjob::prelude::*;

struct Oops;

#[job]
async fn greet(_: String) -> Result<(), Oops> {
    Err(Oops)
}

fn main() {}
