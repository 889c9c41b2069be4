use bgjob::prelude::*;

#[job]
async fn greet(_: String)
where
    String: Clone,
{
}

fn main() {}
