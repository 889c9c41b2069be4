use bgjob::Registry;

async fn greet(_: String) {}

struct Greet;

fn jobs() -> Registry {
    Registry::new().with::<Greet>()
}

fn main() {}
