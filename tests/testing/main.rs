//! The kit for users' own tests, used as they would: what it answers, and each word it says where
//! a test fails.

mod app;
mod enqueued;
mod inline;
mod jobs;
mod perform;
mod simulation;

/// What a panic said.
async fn fault<F>(test: F) -> String
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let error = match tokio::spawn(test).await {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error,
    };
    let panic = error.into_panic();
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast_ref::<&str>().expect("a text")).to_owned(),
    }
}
