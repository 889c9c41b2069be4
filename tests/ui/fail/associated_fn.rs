use bgjob::prelude::*;

struct Greeter;

impl Greeter {
    #[job]
    async fn greet(_: String) {}
}

fn main() {}
