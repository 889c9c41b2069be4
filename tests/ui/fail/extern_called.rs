use bgjob::prelude::*;

#[job(extern)]
async fn greet(_: String) -> Result<(), JobError>;

async fn call() {
    greet("Ada".to_owned()).await.ok();
}

fn main() {}
