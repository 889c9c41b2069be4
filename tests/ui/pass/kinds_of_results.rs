use std::{error::Error, fmt};

use bgjob::prelude::*;
use serde::Serialize;

#[derive(Debug)]
struct Own;

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("own")
    }
}

impl Error for Own {}

#[derive(Serialize)]
struct Receipt {
    number: u64,
}

type Done = Result<Receipt, Own>;

#[job]
async fn nothing(_: ()) {}

#[job]
async fn nothing_said(_: ()) -> () {}

#[job]
async fn outcome(_: ()) -> Outcome<Receipt> {
    Outcome::Success(Receipt { number: 1 })
}

#[job]
async fn aliased(_: ()) -> Done {
    Err(Own)
}

#[job]
async fn boxed(_: ()) -> Result<&'static str, Box<dyn Error + Send + Sync>> {
    Err("a text is an error too")?
}

#[job]
async fn text(_: ()) -> Result<Vec<u8>, String> {
    Err("as is a string".to_owned())
}

#[job]
async fn job_error(_: ()) -> Result<(), JobError> {
    Err(JobError::abort(Own))
}

fn main() {}
