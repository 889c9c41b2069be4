//! A transaction that somebody holds open: nothing that was deleted since can be removed. 2,000
//! jobs a second go on passing through; how long does one wait for its start, how fast is a drain?
//! As many pass through another database of the same server, where nobody holds anything: what both
//! have in common is the machine's doing.
//!
//! Prints a line for each ten seconds, and writes the curve where a path is given:
//! `cargo bench --bench throughput -- bloat docs/bloat.svg`.

use std::{
    fmt::Write as _,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use bgjob::prelude::*;
use sqlx::{Connection, PgConnection, raw_sql};
use tokio::time::{MissedTickBehavior, interval_at, sleep_until};

use crate::{
    report::Report,
    server::Server,
    work::{count_email_once, fill, in_turns, rate, run_all},
};

/// As many jobs every ten milliseconds.
const BATCH: u64 = 20;
const TICK: Duration = Duration::from_millis(10);
const WINDOW: Duration = Duration::from_secs(10);
/// Windows before the transaction begins, and while it is open.
const NORMAL: usize = 6;
const HELD: usize = 60;
const DRAINED: u64 = 50_000;

/// The database with the transaction, and the other one.
const DATABASES: [&str; 2] = ["held", "free"];
static WAITED: [Mutex<Vec<Duration>>; 2] = [const { Mutex::new(Vec::new()) }; 2];

fn waited(database: usize) -> Vec<Duration> {
    std::mem::take(&mut *WAITED[database].lock().expect("nobody panics with it"))
}

/// Notes how long ago it was enqueued, in nanoseconds since 1970, and in which database.
#[job(retain = "0s")]
async fn pass((database, sent): (usize, u64)) {
    let sent = SystemTime::UNIX_EPOCH + Duration::from_nanos(sent);
    let waited = sent.elapsed().unwrap_or_default();
    WAITED[database]
        .lock()
        .expect("nobody panics with it")
        .push(waited);
}

/// Enqueues until it is dropped. The two take turns.
async fn produce(jobs: JobManager, database: usize) -> bgjob::Result<()> {
    let turn = TICK / 2 * database as u32;
    let mut tick = interval_at(tokio::time::Instant::now() + turn, TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tick.tick().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.expect("after 1970").as_nanos() as u64;
        pass::enqueue_all(&jobs, (0..BATCH).map(|_| (database, now))).await?;
    }
}

/// What one window has seen of both databases.
struct Point {
    seconds: u64,
    p50: [f64; 2],
    p99: [f64; 2],
}

async fn windows(count: usize, begun: Instant) -> Vec<Point> {
    let mut points = Vec::new();
    for _ in 0..count {
        let from = tokio::time::Instant::now();
        let _ = [waited(0), waited(1)];
        sleep_until(from + WINDOW).await;
        let mut point = Point {
            seconds: begun.elapsed().as_secs(),
            p50: [f64::NAN; 2],
            p99: [f64::NAN; 2],
        };
        print!("{:>5} s", point.seconds);
        for (database, name) in DATABASES.iter().enumerate() {
            let mut waited = waited(database);
            waited.sort();
            let at = |share: f64| {
                let nth = (waited.len() as f64 * share) as usize;
                waited.get(nth).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
            };
            let (p50, p99) = (at(0.5), at(0.99));
            let rate = waited.len() as u64 / WINDOW.as_secs();
            print!("  {name} {rate:>5} jobs/s, start after p50 {p50:.2} ms, p99 {p99:.2} ms");
            (point.p50[database], point.p99[database]) = (p50, p99);
        }
        println!();
        points.push(point);
    }
    points
}

async fn drain(jobs: &JobManager, database: usize) -> bgjob::Result<f64> {
    fill(DRAINED, |batch| count_email_once::enqueue_all(jobs, batch)).await?;
    let rate = rate(DRAINED, run_all(jobs, DRAINED).await?);
    println!("{} drained at {rate:.0} jobs/s", DATABASES[database]);
    Ok(rate)
}

/// Mean over these windows, of both databases.
fn means(points: &[Point], of: fn(&Point) -> [f64; 2]) -> [f64; 2] {
    [0, 1].map(|n| points.iter().map(|point| of(point)[n]).sum::<f64>() / points.len() as f64)
}

async fn sql(connection: &mut PgConnection, sql: &'static str) {
    raw_sql(sql).execute(connection).await.expect("it answers");
}

pub async fn run(report: &mut Report, plot: Option<&str>) -> bgjob::Result<()> {
    let server = Server::start(&["shared_buffers=1GB", "max_wal_size=4GB"]);
    let held = server.url();
    let mut holder = PgConnection::connect(&held).await.expect("it answers");
    sql(&mut holder, "CREATE DATABASE free").await;
    let at = held.rfind('/').expect("the name of a database");
    let free = format!("{}/free", &held[..at]);
    let managers = [
        JobManager::connect(held).await?,
        JobManager::connect(free).await?,
    ];
    let mut running = Vec::new();
    let mut producers = Vec::new();
    for (database, jobs) in managers.iter().enumerate() {
        running.push(JobDispatcher::builder(jobs).start().await?);
        producers.push(tokio::spawn(produce(jobs.clone(), database)));
    }
    let begun = Instant::now();
    let normal = windows(NORMAL, begun).await;

    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()";
    sql(&mut holder, hold).await;
    let held = windows(HELD, begun).await;
    for producer in producers {
        producer.abort();
    }
    for running in running {
        running.shutdown().await;
    }
    let (free, pinned) = in_turns(|| drain(&managers[1], 1), || drain(&managers[0], 0)).await?;
    sql(&mut holder, "ROLLBACK").await;

    let last = &held[HELD - HELD / 10..];
    for (what, of) in [
        ("p50", (|point| point.p50) as fn(&Point) -> [f64; 2]),
        ("p99", |point| point.p99),
    ] {
        for (when, points) in [("at first", &normal[..]), ("in the tenth minute", last)] {
            let [held, free] = means(points, of);
            report.figure(&format!("bloat: {what} {when}, held open"), held, "ms", "");
            report.figure(&format!("bloat: {what} {when}, free"), free, "ms", "");
            report.figure(&format!("bloat: {what} {when}"), held / free, "×", "≤ 1.3");
        }
    }
    report.rate("bloat: drain after ten minutes, free", free, None);
    report.rate("bloat: the same, held open", pinned, Some((free, 0.7)));
    if let Some(path) = plot {
        let points: Vec<_> = normal.into_iter().chain(held).collect();
        std::fs::write(path, draw(&points)).expect("the curve can be written");
    }
    Ok(())
}

/// The curve as SVG: a line each for p50 and p99 of both databases, dashed for the free one.
fn draw(points: &[Point]) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 280.0;
    const EDGE: f64 = 40.0;
    const TITLE: &str = "time from enqueue to start at 2,000 jobs/s, ms: p50 blue, p99 red; \
                         dashed: in another database";
    let last = points.last().map_or(1, |point| point.seconds) as f64;
    let all = points.iter().flat_map(|point| point.p99);
    let top = all.fold(1.0, f64::max) * 1.1;
    let x = |seconds: f64| EDGE + (WIDTH - 2.0 * EDGE) * seconds / last;
    let y = |millis: f64| HEIGHT - EDGE - (HEIGHT - 2.0 * EDGE) * millis / top;
    let line = |of: fn(&Point) -> f64| {
        points.iter().fold(String::new(), |mut line, point| {
            let _ = write!(line, "{:.1},{:.1} ", x(point.seconds as f64), y(of(point)));
            line
        })
    };
    let held = x((NORMAL as u64 * WINDOW.as_secs()) as f64);
    let (right, bottom) = (WIDTH - EDGE, HEIGHT - EDGE);
    let [p50, free_p50] = [line(|p| p.p50[0]), line(|p| p.p50[1])];
    let [p99, free_p99] = [line(|p| p.p99[0]), line(|p| p.p99[1])];
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"
  font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<rect x="{held:.1}" y="{EDGE}" width="{:.1}" height="{:.1}" fill="#f0f0f0"/>
<text x="{:.1}" y="{:.1}">a transaction is held open</text>
<g fill="none" stroke-dasharray="2 3">
<polyline points="{free_p50}" stroke="#1f77b4"/>
<polyline points="{free_p99}" stroke="#d62728"/>
</g>
<polyline points="{p50}" fill="none" stroke="#1f77b4" stroke-width="2"/>
<polyline points="{p99}" fill="none" stroke="#d62728" stroke-width="2"/>
<path d="M{EDGE},{EDGE} V{bottom} H{right}" fill="none" stroke="black"/>
<text x="{EDGE}" y="{:.1}">{TITLE}</text>
<text x="4" y="{EDGE}">{top:.1}</text><text x="4" y="{bottom}">0</text>
<text x="{:.1}" y="{:.1}">{last} s</text>
</svg>
"##,
        right - held,
        bottom - EDGE,
        held + 8.0,
        EDGE + 16.0,
        EDGE - 12.0,
        right - 30.0,
        bottom + 16.0,
    )
}
