mod jobs {
    #[bgjob::job]
    pub async fn greet(_: String) {}
}

fn make() {
    let _ = jobs::greet { _private: () };
}

fn main() {}
