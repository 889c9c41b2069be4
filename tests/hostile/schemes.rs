//! Stores and queues of other crates, opened by their URLs.

use std::sync::Arc;

use bgjob::{
    ErrorKind, JobManager, JobQueue, JobStore,
    providers::{channel::ChannelQueue, memory::MemoryStore},
    store::{Opening, Scheme},
};

use crate::support::says;

fn store(url: &str) -> Opening<'_, dyn JobStore> {
    Box::pin(async move {
        if url != "mine:here" {
            return Err(bgjob::Error::new(
                ErrorKind::InvalidInput,
                "`mine:` takes `here`",
            ));
        }
        Ok(Arc::new(MemoryStore::new()) as Arc<dyn JobStore>)
    })
}

fn queue(_: &str) -> Opening<'_, dyn JobQueue> {
    Box::pin(async { Ok(Arc::new(ChannelQueue::new()) as Arc<dyn JobQueue>) })
}

bgjob::register_scheme!(Scheme::store("mine", store));
bgjob::register_scheme!(Scheme::queue("myline", queue));
bgjob::register_scheme!(Scheme::store("twice", store));
bgjob::register_scheme!(Scheme::store("twice", store));
// One of bgjob's own is not taken over.
bgjob::register_scheme!(Scheme::store("memory", store));

#[tokio::test]
async fn a_store_and_a_queue_of_another_crate_are_opened_by_url() {
    let jobs = JobManager::connect("mine:here").queue_url("myline:x").await;
    jobs.unwrap().enqueue_raw("echo", 1).await.unwrap();
    JobManager::connect("memory:").await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_scheme_is_said() {
    let store = |url: &'static str| async move { JobManager::connect(url).await.unwrap_err() };
    let queue = |url: &'static str| async move {
        let jobs = JobManager::connect("memory:").queue_url(url);
        jobs.await.unwrap_err()
    };
    let kind = ErrorKind::InvalidInput;
    says(&store("mine:there").await, kind, &["`mine:` takes `here`"]);
    says(&store("myline:").await, kind, &["is a queue", "queue_url"]);
    says(&queue("mine:here").await, kind, &["is a store", "connect"]);
    says(&store("twice:").await, kind, &["two crates", "`twice:`"]);
    let unknown = ["`gopher:` is no store", "`mine:`", "use that_crate as _;"];
    says(&store("gopher://secret").await, kind, &unknown);
    assert!(
        !store("gopher://secret")
            .await
            .to_string()
            .contains("secret")
    );
}
