use bgjob::{JobItem, prelude::*};

#[job(blocking)]
fn hash(bytes: Vec<u8>, ctx: JobContext, salt: State<u64>) -> Result<u64, JobError> {
    let sum: u64 = bytes.into_iter().map(u64::from).sum();
    Ok(sum + *salt + ctx.fence())
}

fn main() {
    assert!(hash::descriptor().is_blocking());
}
