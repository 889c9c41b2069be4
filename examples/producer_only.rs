//! A program that only produces: it has the job's signature, and neither its body nor what that
//! links. Here both are in one file; else the signature is in a small crate of its own.

use bgjob::prelude::*;
use serde::{Deserialize, Serialize};

/// What both programs know.
mod shared {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub struct Image {
        pub name: String,
        pub side: u32,
    }
}

/// The web server.
mod web {
    use super::*;

    #[job(extern, name = "resize", queue = "images", max_attempts = 3)]
    pub async fn resize(image: shared::Image) -> Result<String, JobError>;

    /// It does not fit: the worker's is in another queue.
    #[job(extern, name = "crop")]
    pub async fn crop(image: shared::Image) -> Result<String, JobError>;
}

/// The worker, which links the library that resizes.
mod worker {
    use super::*;

    #[job(queue = "images", max_attempts = 3, timeout = "10s")]
    pub async fn resize(image: shared::Image) -> Result<String, JobError> {
        Ok(format!("{} is {} pixels wide", image.name, image.side))
    }

    #[job(queue = "images")]
    pub async fn crop(image: shared::Image) -> Result<String, JobError> {
        Ok(image.name)
    }
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;
    let image = shared::Image {
        name: "ada.png".to_owned(),
        side: 128,
    };
    let job = web::resize::enqueue(&jobs, image).await?;

    // Where the signature and the job are in one program, they must say the same.
    let all = bgjob::Registry::linked()?;
    let refused = JobDispatcher::builder(&jobs).registry(all).start().await;
    let text = refused.expect_err("`crop` has two queues").to_string();
    println!("{}", text.split(':').next_back().unwrap_or_default().trim());

    let worker = bgjob::Registry::new().with::<worker::resize>();
    let running = JobDispatcher::builder(&jobs)
        .registry(worker)
        .start()
        .await?;
    println!("{}", job.result().await?);
    let _ = running.shutdown().await;
    Ok(())
}
