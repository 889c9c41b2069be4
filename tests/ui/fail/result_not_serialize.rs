use bgjob::prelude::*;

struct Receipt;

#[job]
async fn greet(_: String) -> Result<Receipt, JobError> {
    Ok(Receipt)
}

fn main() {}
