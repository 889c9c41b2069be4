use bgjob::prelude::*;

#[job]
async fn greet(_: String) -> u8 {
    0
}

fn main() {}
