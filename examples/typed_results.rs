//! Typed metadata in, a typed result out: `serde` types, checked by the compiler at the enqueue.

use bgjob::prelude::*;
use serde::{Deserialize, Serialize};

/// What the job is told. It is stored as JSON, so any type that serde can write and read will do.
#[derive(Serialize, Deserialize)]
struct Text {
    title: String,
    words: Vec<String>,
}

/// What the job gives back.
#[derive(Debug, Serialize, Deserialize)]
struct Statistics {
    words: usize,
    longest: Option<String>,
}

#[job]
async fn analyse(text: Text) -> Result<Statistics, JobError> {
    let longest = text.words.iter().max_by_key(|word| word.len()).cloned();
    Ok(Statistics {
        words: text.words.len(),
        longest,
    })
}

fn text(title: &str, words: &str) -> Text {
    let words = words.split_whitespace().map(str::to_owned).collect();
    Text {
        title: title.to_owned(),
        words,
    }
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;

    // One. The handle knows the type of the result.
    let one = analyse::enqueue(&jobs, text("motto", "nothing is lost")).await?;

    // Many at once, in one batch: the handles come in the order of the metadata.
    let many = [text("empty", ""), text("two", "background jobs")];
    let many = analyse::enqueue_all(&jobs, many).tag("bulk").await?;

    let dispatcher = JobDispatcher::builder(&jobs).start().await?;
    let statistics: Statistics = one.result().await?;
    println!("motto: {statistics:?}");
    for job in &many {
        // The metadata can be read back, too.
        let Text { title, .. } = job.job().await?.spec.metadata.decode()?;
        println!("{title}: {:?}", job.result().await?);
    }

    // An id that was kept elsewhere is as good as the handle.
    let again = jobs.handle::<Statistics>(one.id());
    println!("again: {} words", again.result().await?.words);

    // The function is still there, for tests and for direct calls.
    println!(
        "directly: {} words",
        analyse(text("", "a b")).await.expect("it can't fail").words
    );

    dispatcher.shutdown().await;
    Ok(())
}
