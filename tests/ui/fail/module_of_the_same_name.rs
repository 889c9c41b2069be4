mod greet {
    #[bgjob::job]
    pub async fn greet(_: String) {}
}

pub use greet::greet;

fn main() {}
