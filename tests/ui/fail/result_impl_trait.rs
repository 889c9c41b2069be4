use bgjob::prelude::*;

#[job]
async fn greet(_: String) -> Result<impl Sized, JobError> {
    Ok(())
}

fn main() {}
