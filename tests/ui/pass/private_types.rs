use bgjob::prelude::*;
use serde::{Deserialize, Serialize};

mod jobs {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub struct Greeting(String);

    #[derive(Serialize)]
    pub struct Receipt;

    #[job]
    pub async fn greet(_: Greeting) -> Result<Receipt, JobError> {
        Ok(Receipt)
    }
}

#[derive(Serialize, Deserialize)]
struct Private;

#[job]
async fn quiet(_: Private) {}

fn main() {
    assert_eq!((jobs::greet::NAME, quiet::NAME), ("greet", "quiet"));
}
