//! What no suite sees from outside: writers that interleave at every step.

use std::{sync::Arc, time::Duration};

use bgjob::{
    Clock, Error, ErrorKind, JobId, JobSpec, Json, Owner,
    job::{
        Due, End, Grant, NewJob, Serves, Token,
        transition::{Operated, Operation, SweepPolicy},
    },
    store::{
        Body, Claim, Created, Document, DocumentCapabilities, DocumentStore, Documents, Ending,
        Filed, Filter, Inserted, JobStore, KeyRange, Replaced, Slice, Version, Want,
    },
    testing::{Call, Fault, Faulty, ManualClock, MemoryDocuments},
};

/// Random numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

type Store = Documents<MemoryDocuments>;

fn keyed(id: JobId) -> NewJob {
    let mut spec = JobSpec::new("job", Json::null());
    spec.unique_key = Some("only one".into());
    spec.retain = Duration::from_secs(60);
    NewJob::new(id, spec, Due::Now)
}

fn grant() -> Grant {
    Grant::new(Token::random(), Owner::random(), Duration::from_secs(30))
}

fn serves() -> Serves {
    Serves::new(Arc::new([("job".into(), 0)].into())).suspect(true)
}

/// S9, at this moment: a list of one page is one look.
async fn check(store: &Store) {
    let page = store
        .store()
        .list(None, usize::MAX)
        .await
        .expect("memory answers");
    let live = page.iter().filter(|document| match Body::read(document) {
        Some(Body::Job(job)) => !job.state().is_terminal(),
        _ => false,
    });
    assert!(live.count() <= 1, "one live job to a key");
}

/// One step of a caller that works with jobs of one key.
async fn act(
    store: &Store,
    clock: &ManualClock,
    ids: &[JobId],
    dice: &mut Dice,
) -> Result<(), Error> {
    let id = ids[dice.roll(ids.len() as u64) as usize];
    match dice.roll(8) {
        0..=2 => _ = store.create(&[keyed(id)]).await?,
        3 => {
            let claims = store.claim(&[id], &grant(), &serves()).await?;
            if let [Claim::Claimed(job)] = claims.as_slice() {
                let end = End::Success(Json::null());
                store.finish(&[Ending::new(id, job.token, end)]).await?;
            }
        }
        4 => _ = store.operate(id, &Operation::Cancel).await?,
        5 => _ = store.operate(id, &Operation::Requeue(Due::Now)).await?,
        6 => _ = store.operate(id, &Operation::Delete).await?,
        _ => {
            clock.advance(Duration::from_secs(dice.roll(2) * 4000));
            store.purge(10).await?;
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_key_has_one_live_job_however_writers_cross() {
    for seed in 0..300 {
        let clock = ManualClock::new();
        let store = Arc::new(Documents::new(MemoryDocuments::new(Arc::new(
            clock.clone(),
        ))));
        let ids: Arc<[JobId]> = (0..3).map(|n| JobId::from_key(format!("{n}"))).collect();
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..5 {
            let (store, clock, ids) = (Arc::clone(&store), clock.clone(), Arc::clone(&ids));
            tasks.spawn(async move {
                let mut dice = Dice(seed * 1000 + task);
                for _ in 0..25 {
                    act(&store, &clock, &ids, &mut dice)
                        .await
                        .expect("memory answers");
                    check(&store).await;
                    for _ in 0..dice.roll(4) {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
    }
}

type Adapter = Documents<Faulty<MemoryDocuments>>;

/// Two adapters over one store, whose calls can be delayed.
fn adapters(clock: &ManualClock) -> (Adapter, Adapter) {
    let documents = Arc::new(MemoryDocuments::new(Arc::new(clock.clone())));
    let one = Documents::new(Faulty::shared(Arc::clone(&documents)));
    (one, Documents::new(Faulty::shared(documents)))
}

/// Two of them with a job that has ended and may be purged.
async fn two() -> (Adapter, Adapter) {
    let clock = ManualClock::new();
    let (one, other) = adapters(&clock);
    let old = JobId::from_key("old");
    one.create(&[keyed(old)]).await.expect("memory answers");
    let cancelled = one.operate(old, &Operation::Cancel).await;
    assert!(matches!(cancelled, Ok(Operated::Done(_))), "{cancelled:?}");
    clock.advance(Duration::from_secs(90_000));
    (one, other)
}

fn slow(secs: u64) -> Fault {
    Fault::Slow {
        before: Duration::from_secs(secs),
        after: Duration::ZERO,
    }
}

fn plain(name: &str) -> NewJob {
    let spec = JobSpec::new("job", Json::null());
    NewJob::new(JobId::from_key(name), spec, Due::Now)
}

/// Another claimer takes the job that was found, and a new job is added: the answer must not be
/// that there is nothing.
#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_too_late_looks_again() {
    let (one, other) = adapters(&ManualClock::new());
    let (first, second) = (plain("first"), plain("second"));
    one.create(std::slice::from_ref(&first))
        .await
        .expect("memory answers");
    let faults = one.store().faults();
    faults.once(&[Call::GetDocuments], slow(1));
    let meanwhile = async {
        while faults.count(Call::GetDocuments) == 0 {
            tokio::task::yield_now().await;
        }
        let claimed = other.claim(&[first.id], &grant(), &serves()).await;
        assert!(matches!(claimed.as_deref(), Ok([Claim::Claimed(_)])));
        other
            .create(std::slice::from_ref(&second))
            .await
            .expect("memory answers");
    };
    let want = [Want::new("default", 1)];
    let (grant, serves) = (grant(), serves());
    let claim = one.claim_ready(&want, &grant, &serves);
    let (claimed, ()) = tokio::join!(claim, meanwhile);
    let claimed = claimed.expect("memory answers").jobs;
    let ids: Vec<_> = claimed.iter().map(|job| job.id).collect();
    assert_eq!(ids, [second.id]);
}

/// The key was taken only after the job that wants it back was gone.
#[tokio::test(start_paused = true)]
async fn what_is_gone_is_missing_though_another_has_its_key() {
    let (one, other) = two().await;
    let [old, new] = ["old", "new"].map(JobId::from_key);
    // This caller has seen the job, and is about to look at the key.
    let faults = one.store().faults();
    let seen = faults.count(Call::GetDocuments) + 1;
    faults.plan(move |call, nth| match call {
        Call::GetDocuments if nth == seen + 1 => slow(1),
        _ => Fault::None,
    });
    let meanwhile = async {
        while faults.count(Call::GetDocuments) <= seen {
            tokio::task::yield_now().await;
        }
        assert_eq!(other.purge(10).await.expect("memory answers"), 1);
        other.create(&[keyed(new)]).await.expect("memory answers");
    };
    let operation = Operation::Requeue(Due::Now);
    let (requeued, ()) = tokio::join!(one.operate(old, &operation), meanwhile);
    assert_eq!(requeued.expect("memory answers"), Operated::Missing);
}

/// A caller that takes a key rewrites the job that had it. That job may be purged all the same.
#[tokio::test(start_paused = true)]
async fn a_purge_is_not_stopped_by_who_takes_the_key() {
    let (one, other) = two().await;
    // This caller knows which job had the key, and looks at that job a second later,
    other.store().faults().plan(|call, nth| match call {
        Call::GetDocuments if nth == 4 => slow(1),
        _ => Fault::None,
    });
    // between the purge's look at the job and its deletion; the first one is the key's.
    one.store().faults().plan(|call, nth| match call {
        Call::Delete if nth == 2 => slow(2),
        _ => Fault::None,
    });
    let new = [keyed(JobId::from_key("new"))];
    let purge = async {
        while other.store().faults().count(Call::GetDocuments) < 4 {
            tokio::task::yield_now().await;
        }
        one.purge(10).await
    };
    let (created, purged) = tokio::join!(other.create(&new), purge);
    assert_eq!(created.expect("memory answers"), [Created::Created]);
    assert_eq!(purged.expect("memory answers"), 1);
}

#[tokio::test]
async fn a_key_is_let_go_some_time_after_its_job_ended() {
    let clock = ManualClock::new();
    let store = Documents::new(MemoryDocuments::new(Arc::new(clock.clone())));
    let id = JobId::from_key("a");
    store.create(&[keyed(id)]).await.expect("memory answers");
    for _ in 0..3 {
        clock.advance(Duration::from_secs(4000));
        store.purge(10).await.expect("memory answers");
    }
    let documents = async || {
        store
            .store()
            .list(None, 10)
            .await
            .expect("memory answers")
            .len()
    };
    assert_eq!(documents().await, 2, "the job lives, and has the key");
    store
        .operate(id, &Operation::Cancel)
        .await
        .expect("memory answers");
    clock.advance(Duration::from_secs(4000));
    assert_eq!(
        store.purge(10).await.expect("memory answers"),
        1,
        "the job, and its key"
    );
    assert_eq!(documents().await, 0, "nothing is left behind");
}

async fn document(store: &Store, id: JobId) -> Result<Document, Error> {
    let document = store.store().get(&[id]).await?.pop().flatten();
    Ok(document.expect("it is there"))
}

/// A store that writes keys and documents apart may die, or lose the connection, before it has
/// removed an old key.
#[tokio::test]
async fn an_old_key_leads_to_nothing() -> Result<(), Error> {
    let store = Documents::new(MemoryDocuments::new(Arc::new(ManualClock::new())));
    let id = JobId::from_key("a");
    store.create(&[keyed(id)]).await?;
    let waiting = document(&store, id).await?.keys;
    let (mut mine, serves) = (grant(), serves());
    let want = [Want::new("default", 10)];
    assert_eq!(
        store.claim_ready(&want, &mine, &serves).await?.jobs.len(),
        1
    );
    let mut running = document(&store, id).await?;
    running.keys.extend(waiting);
    let replaced = store.store().replace(&[running]).await?;
    assert_eq!(replaced, [Replaced::Replaced]);

    for (repeat, held) in [(false, 0), (true, 1)] {
        mine.repeat = repeat;
        let jobs = store.claim_ready(&want, &mine, &serves).await?.jobs;
        assert_eq!(jobs.len(), held, "repeat: {repeat}");
    }
    assert!(
        store
            .claim_ready(&want, &grant(), &serves)
            .await?
            .jobs
            .is_empty()
    );
    let swept = store.sweep(10, &SweepPolicy::default()).await?;
    assert!(swept.is_empty(), "{swept:?}");
    Ok(())
}

#[tokio::test]
async fn foreign_documents_are_nobodys() {
    let clock = ManualClock::new();
    let store = Documents::new(MemoryDocuments::new(Arc::new(clock.clone())));
    let id = JobId::from_key("a");
    store.create(&[keyed(id)]).await.expect("memory answers");
    let mut newer = document(&store, id).await.expect("memory answers");
    newer.body = b"{\"newer\":1}".to_vec();
    let replaced = store.store().replace(&[newer]).await;
    assert_eq!(replaced.expect("memory answers"), [Replaced::Replaced]);
    let error = store.get(&[id]).await.expect_err("nobody can read it");
    assert_eq!(
        (error.kind(), error.job_id()),
        (ErrorKind::Internal, Some(id))
    );
    let found = store
        .list(&Filter::default(), &Slice::first(10))
        .await
        .expect("memory answers");
    assert!(found.jobs.is_empty());
    clock.advance(Duration::from_secs(1_000_000));
    store.purge(10).await.expect("memory answers");
    // Nor is it purged.
    document(&store, id).await.expect("memory answers");
}

/// Documents that somebody else changes before each write.
#[derive(Debug)]
struct Contended(MemoryDocuments);

#[async_trait::async_trait]
impl DocumentStore for Contended {
    fn capabilities(&self) -> DocumentCapabilities {
        self.0.capabilities()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock()
    }

    async fn insert(&self, documents: &[Document]) -> Result<Vec<Inserted>, Error> {
        self.0.insert(documents).await
    }

    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<Document>>, Error> {
        self.0.get(ids).await
    }

    async fn replace(&self, documents: &[Document]) -> Result<Vec<Replaced>, Error> {
        Ok(vec![Replaced::Conflict; documents.len()])
    }

    async fn delete(&self, documents: &[(JobId, Version)]) -> Result<Vec<Replaced>, Error> {
        Ok(vec![Replaced::Conflict; documents.len()])
    }

    async fn scan(
        &self,
        range: &KeyRange,
        after: Option<&Filed>,
        limit: usize,
    ) -> Result<Vec<Filed>, Error> {
        self.0.scan(range, after, limit).await
    }

    async fn list(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Document>, Error> {
        self.0.list(after, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn giving_up_is_an_error_to_repeat() {
    let documents = MemoryDocuments::new(Arc::new(ManualClock::new()));
    let store = Documents::new(Contended(documents));
    let job = plain("contended");
    store
        .create(std::slice::from_ref(&job))
        .await
        .expect("it is new");
    let error = store.operate(job.id, &Operation::Cancel).await;
    let error = error.expect_err("others always come first");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable());
}
