//! Rows as a newer version or another program may have left them. If such a column were read as
//! empty, it would be written back as empty.

use super::*;

async fn claim(store: &SqliteStore) -> Claimed {
    let claimed = store.claim_ready(&want(9), &grant(), &serves()).await;
    claimed.unwrap()
}

/// The SQL condition for this job.
fn such(id: JobId) -> String {
    let bytes = id.as_bytes().map(|byte| format!("{byte:02x}"));
    format!("id = x'{}'", bytes.concat())
}

/// Text that is not JSON, or not even UTF-8, is handed out, and the handler refuses it.
#[tokio::test]
async fn metadata_of_any_kind_is_handed_out() {
    let folder = Folder::new();
    let store = folder.store().await;
    store.create(&[new("1", 60)]).await.unwrap();
    folder.change("UPDATE bgjob_jobs SET metadata = CAST(x'ff31' AS TEXT)");
    let claimed = claim(&store).await;
    assert_eq!(claimed.jobs[0].spec.metadata.as_str(), "\u{fffd}1");
}

const STRANGE: [&str; 10] = [
    // What a newer version added, each beside what this one knows.
    "extra = '{\"backoff\":{\"steps\":[1],\"newer\":1}}'",
    "history = '[{\"fence\":1,\"owner\":\"018bcfe5-6800-7000-8000-000000000000\",\
     \"claimed_at\":1,\"ended_at\":2,\"newer\":1,\
     \"end\":{\"failed\":{\"kind\":\"error\",\"messages\":[]}}}]'",
    "history = '[{\"fence\":1,\"owner\":\"018bcfe5-6800-7000-8000-000000000000\",\
     \"claimed_at\":1,\"ended_at\":2,\
     \"end\":{\"failed\":{\"kind\":\"error\",\"messages\":[],\"newer\":1}}}]'",
    "history = '[{\"fence\":1,\"owner\":\"018bcfe5-6800-7000-8000-000000000000\",\
     \"claimed_at\":1,\"ended_at\":2,\"end\":{\"crashed\":{\"progress\":null,\"newer\":1}}}]'",
    "extra = '{'",
    "extra = '{\"newer\":1}'",
    "history = '[{}]'",
    "history = '[{\"started_at\":1,\"ended_at\":2,\"end\":{\"newer\":1}}]'",
    "lane = 77",
    "crashes = 'many'",
];

#[tokio::test]
async fn a_waiting_job_that_cannot_be_read_is_left_as_it_is() {
    for strange in STRANGE {
        let folder = Folder::new();
        let store = folder.store().await;
        let jobs = [new("1", 60), new("2", 60), new("3", 60)];
        let [before, job, after] = jobs.clone().map(|job| job.id);
        store.create(&jobs).await.unwrap();
        let such = such(job);
        folder.change(&format!("UPDATE bgjob_jobs SET {strange} WHERE {such}"));
        let row = || folder.row(&format!("SELECT * FROM bgjob_jobs WHERE {such}"));
        let was = row();

        let others = store.list(&Filter::default(), &Slice::first(9)).await;
        assert_eq!(others.unwrap().jobs.len(), 2, "{strange}");
        let claimed = claim(&store).await;
        let ids: Vec<_> = claimed.jobs.iter().map(|job| job.id).collect();
        assert_eq!(ids, [before, after], "{strange}");
        assert_eq!(claim(&store).await.jobs, [], "{strange}");
        let by_id = store.claim(&[job], &grant(), &serves()).await.unwrap();
        assert_eq!(by_id, [Claim::Unreadable], "{strange}");
        let error = store.get(&[job]).await.unwrap_err().to_string();
        assert!(error.contains("mend it, or remove it"), "{error}");
        assert!(store.operate(job, &Operation::Cancel).await.is_err());
        store.counts().await.unwrap();
        store.purge(9).await.unwrap();
        assert_eq!(row(), was, "{strange}");
    }
}

/// An unreadable job at the front holds up no other job, and does not hide when the next one is
/// due.
#[tokio::test]
async fn a_claim_tells_of_what_it_passes_over() {
    let folder = Folder::new();
    let store = folder.store().await;
    let mut later = new("3", 60);
    later.due = Due::After(Duration::from_secs(60));
    let jobs = [new("1", 60), new("2", 60), later];
    store.create(&jobs).await.unwrap();
    folder.change(&format!(
        "UPDATE bgjob_jobs SET history = '[7]' WHERE {}",
        such(jobs[0].id)
    ));
    let claimed = claim(&store).await;
    assert_eq!(claimed.unreadable, [jobs[0].id]);
    assert_eq!(claimed.jobs[0].id, jobs[1].id);
    assert!(
        claimed
            .next_due_in
            .is_some_and(|span| span > Duration::ZERO)
    );
}

#[tokio::test]
async fn the_sweep_tells_of_a_running_job_that_cannot_be_read() {
    let folder = Folder::new();
    let store = folder.store().await;
    store.create(&[new("1", 60), new("2", 60)]).await.unwrap();
    let jobs = claim(&store).await.jobs;
    let (id, other) = (jobs[0].id, jobs[1].id);
    folder.change("UPDATE bgjob_held SET lease_until = 1");
    folder.change(&format!(
        "UPDATE bgjob_jobs SET history = '[7]' WHERE {}",
        such(id)
    ));
    let swept = store.sweep(9, &SweepPolicy::default()).await.unwrap();
    assert!(swept.contains(&Swept::Unreadable { id }), "{swept:?}");
    let revoked = |swept: &Swept| matches!(swept, Swept::Revoked { id, .. } if *id == other);
    assert!(swept.iter().any(revoked), "{swept:?}");
}

#[tokio::test]
async fn an_end_of_a_newer_kind_is_no_death_by_errors() {
    let folder = Folder::new();
    let store = folder.store().await;
    store.create(&[new("1", 60)]).await.unwrap();
    let id = claim(&store).await.jobs[0].id;
    for ended in ["ended = 'newer'", "ended = 'dead', reason = 'newer'"] {
        folder.change(&format!(
            "UPDATE bgjob_jobs SET {ended}, ended_at = 1, purge_at = 99999999999999"
        ));
        assert!(store.get(&[id]).await.is_err(), "{ended}");
    }
}
