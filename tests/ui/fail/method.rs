use bgjob::prelude::*;

struct Greeter;

impl Greeter {
    #[job]
    async fn greet(&self, _: String) {}
}

fn main() {}
