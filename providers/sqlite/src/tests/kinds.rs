//! Numbers of lanes that come to stand for other lanes, and lanes that are no longer used.

use super::*;

/// Claims for a worker that serves these names. Returns the names of the claimed jobs.
async fn names(store: &SqliteStore, names: &[&str]) -> Vec<String> {
    let jobs = names.iter().map(|name| ((*name).into(), 0));
    let serves = Serves::new(Arc::new(jobs.collect()));
    let claimed = store.claim_ready(&want(99), &grant(), &serves).await;
    let jobs = claimed.unwrap().jobs;
    jobs.iter().map(|job| job.spec.name.to_string()).collect()
}

fn named(name: &str) -> NewJob {
    let mut job = new("1", 60);
    Arc::make_mut(&mut job.spec).name = name.into();
    job
}

const TABLES: [&str; 7] = [
    "bgjob_lanes",
    "bgjob_jobs",
    "bgjob_ready",
    "bgjob_held",
    "bgjob_gone_0",
    "bgjob_gone_1",
    "bgjob_gone_2",
];

/// The database goes back to an earlier state while two programs use it. The next new kind of job
/// then gets a number that one of the programs knows as another kind.
async fn goes_back(folder: &Folder, a: &SqliteStore, go_back: impl FnOnce()) {
    let b = folder.store().await;
    b.counts().await.unwrap();
    go_back();
    b.create(&[named("echo"), named("pay")]).await.unwrap();
    let greet = named("greet");
    let created = a.create(std::slice::from_ref(&greet)).await.unwrap();
    assert_eq!(created, [Created::Created]);
    for store in [a, &b] {
        let job = store.get(&[greet.id]).await.unwrap().remove(0).unwrap();
        assert_eq!(&*job.spec.name, "greet");
    }
    assert_eq!(names(a, &["greet"]).await, ["greet"]);
    assert_eq!(names(a, &["greet", "echo"]).await, ["echo"]);
    assert_eq!(names(&b, &["greet", "pay"]).await, ["pay"]);
}

#[tokio::test]
async fn a_backup_that_is_put_back_in_place_runs_nothing_else() {
    let folder = Folder::new();
    let a = folder.store().await;
    a.create(&[named("first")]).await.unwrap();
    assert_eq!(names(&a, &["first"]).await, ["first"]);
    let backup = folder.0.join("backup.db");
    folder.change(&format!("VACUUM INTO '{}'", backup.display()));
    a.create(&[named("second"), named("greet")]).await.unwrap();
    assert_eq!(names(&a, &["second", "greet"]).await.len(), 2);
    goes_back(&folder, &a, || {
        let mut all = format!("ATTACH '{}' AS backup; BEGIN IMMEDIATE;", backup.display());
        for table in TABLES {
            all += &format!("DELETE FROM {table};");
            all += &format!("INSERT INTO {table} SELECT * FROM backup.{table};");
        }
        folder.change(&(all + "COMMIT"));
    })
    .await;
}

#[tokio::test]
async fn tables_that_are_emptied_run_nothing_else() {
    let folder = Folder::new();
    let a = folder.store().await;
    a.create(&[named("first"), named("greet")]).await.unwrap();
    assert_eq!(names(&a, &["first", "greet"]).await.len(), 2);
    goes_back(&folder, &a, || {
        let all = TABLES.map(|table| format!("DELETE FROM {table};")).concat();
        folder.change(&format!("BEGIN IMMEDIATE; {all} COMMIT"));
    })
    .await;
}

#[tokio::test]
async fn kinds_of_jobs_that_nobody_uses_are_forgotten() {
    let folder = Folder::new();
    let store = folder.store().await;
    let names: Vec<_> = (0..1500).map(|n| format!("kind-{n}")).collect();
    for names in names.chunks(500) {
        let jobs: Vec<_> = names.iter().map(|name| named(name)).collect();
        store.create(&jobs).await.unwrap();
    }
    // Of the jobs that are left, one waits, one runs and one is kept.
    folder.change(
        "DELETE FROM bgjob_ready WHERE lane > 3; DELETE FROM bgjob_jobs WHERE lane > 3;
         DELETE FROM bgjob_ready WHERE lane > 1;
         INSERT INTO bgjob_held SELECT id, id, id, 1, 99999999999999, 0
             FROM bgjob_jobs WHERE lane = 2;
         UPDATE bgjob_jobs SET ended = 'cancelled', ended_at = 1, purge_at = 99999999999999
             WHERE lane = 3",
    );
    store.purge(9).await.unwrap();
    let left = || folder.row("SELECT group_concat(id) FROM bgjob_lanes");
    assert_eq!(
        left(),
        "1,2,3,1500",
        "the last number is not given out again"
    );
    store.create(&[named("kind-9")]).await.unwrap();
    assert_eq!(left(), "1,2,3,1500,1501");
}
