//! What only produces knows a job by its signature.

use bgjob::{JobHandle, JobItem, prelude::*};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Image {
    name: String,
}

/// Makes a small one.
#[job(extern, name = "images.resize", queue = "images", max_attempts = 3)]
pub async fn resize(image: Image) -> Result<u32, JobError>;

#[job(extern)]
fn hash(_: String) -> Outcome<u64>;

fn inside() {
    #[job(extern)]
    async fn local(_: ());
    assert_eq!(local::NAME, "local");
}

async fn typed(jobs: &JobManager) -> bgjob::Result<u32> {
    let image = Image {
        name: "a.png".to_owned(),
    };
    let job: JobHandle<Result<u32, JobError>> = resize::enqueue(jobs, image).await?;
    job.result().await
}

fn main() {
    inside();
    drop(typed);
    let job = resize::descriptor();
    assert!(job.is_signature() && hash::descriptor().is_signature());
    assert_eq!((resize::NAME, job.queue()), ("images.resize", "images"));
    assert_eq!(job.max_attempts(), 3);
    let none = bgjob::Registry::linked().expect_err("there is no function");
    assert!(none.to_string().contains("only signatures"), "{none}");
}
