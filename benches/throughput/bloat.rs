//! A transaction that somebody holds open: nothing that was deleted since can be removed. 2,000
//! jobs a second go on passing through; how long does one wait for its start, how fast is a drain?
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
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::{
    report::Report,
    server::Server,
    work::{count_email_once, fill, median, rate, run_all},
};

/// As many jobs every ten milliseconds.
const BATCH: u64 = 20;
const TICK: Duration = Duration::from_millis(10);
const WINDOW: Duration = Duration::from_secs(10);
/// Windows before the transaction begins, and while it is open.
const NORMAL: usize = 6;
const HELD: usize = 60;
const DRAINED: u64 = 50_000;

static WAITED: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

fn waited() -> Vec<Duration> {
    std::mem::take(&mut *WAITED.lock().expect("nobody panics with it"))
}

/// Notes how long ago it was enqueued, in nanoseconds since 1970.
#[job(retain = "0s")]
async fn pass(sent: u64) {
    let sent = SystemTime::UNIX_EPOCH + Duration::from_nanos(sent);
    let waited = sent.elapsed().unwrap_or_default();
    WAITED.lock().expect("nobody panics with it").push(waited);
}

/// Enqueues until it is dropped.
async fn produce(jobs: JobManager) -> bgjob::Result<()> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tick.tick().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.expect("after 1970").as_nanos() as u64;
        pass::enqueue_all(&jobs, (0..BATCH).map(|_| now)).await?;
    }
}

/// What one window has seen.
struct Point {
    seconds: u64,
    jobs: usize,
    p50: f64,
    p99: f64,
}

async fn windows(count: usize, begun: Instant) -> Vec<Point> {
    let mut points = Vec::new();
    for _ in 0..count {
        let from = tokio::time::Instant::now();
        waited();
        sleep_until(from + WINDOW).await;
        let mut waited = waited();
        waited.sort();
        let at = |share: f64| {
            let nth = (waited.len() as f64 * share) as usize;
            waited.get(nth).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
        };
        let point = Point {
            seconds: begun.elapsed().as_secs(),
            jobs: waited.len(),
            p50: at(0.5),
            p99: at(0.99),
        };
        let Point {
            seconds, p50, p99, ..
        } = point;
        let rate = point.jobs as u64 / WINDOW.as_secs();
        println!("{seconds:>5} s {rate:>6} jobs/s, start after p50 {p50:.2} ms, p99 {p99:.2} ms");
        points.push(point);
    }
    points
}

async fn drain(jobs: &JobManager) -> bgjob::Result<f64> {
    fill(DRAINED, |batch| count_email_once::enqueue_all(jobs, batch)).await?;
    run_all(jobs, DRAINED).await.map(|took| rate(DRAINED, took))
}

pub async fn run(report: &mut Report, plot: Option<&str>) -> bgjob::Result<()> {
    let server = Server::start(&["shared_buffers=1GB", "max_wal_size=4GB"]);
    let url = server.url();
    let jobs = JobManager::connect(&url).await?;
    let free = median(|| drain(&jobs)).await?;
    let running = JobDispatcher::builder(&jobs).start().await?;
    let producer = tokio::spawn(produce(jobs.clone()));
    let begun = Instant::now();
    let normal = windows(NORMAL, begun).await;

    let mut holder = PgConnection::connect(&url).await.expect("it answers");
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()";
    raw_sql(hold)
        .execute(&mut holder)
        .await
        .expect("it answers");
    let held = windows(HELD, begun).await;
    producer.abort();
    let _ = running.shutdown().await;
    let pinned = median(|| drain(&jobs)).await?;
    raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .expect("it answers");

    let mean = |points: &[Point], of: fn(&Point) -> f64| {
        points.iter().map(of).sum::<f64>() / points.len() as f64
    };
    let last = &held[HELD - HELD / 10..];
    let (before, after) = (mean(&normal, |p| p.p50), mean(last, |p| p.p50));
    report.figure("bloat: start after, p50, normal", before, "ms", "");
    report.figure("bloat: start after, p50, the tenth minute", after, "ms", "");
    report.figure(
        "bloat: the second to the first",
        after / before,
        "×",
        "≤ 1.3",
    );
    let (before, after) = (mean(&normal, |p| p.p99), mean(last, |p| p.p99));
    report.figure("bloat: start after, p99, normal", before, "ms", "");
    report.figure("bloat: start after, p99, the tenth minute", after, "ms", "");
    report.rate("bloat: drain, normal", free, None);
    report.rate("bloat: drain after ten minutes", pinned, Some((free, 0.7)));
    if let Some(path) = plot {
        let points: Vec<_> = normal.into_iter().chain(held).collect();
        std::fs::write(path, draw(&points)).expect("the curve can be written");
    }
    Ok(())
}

/// The curve as SVG: a line each for p50 and p99.
fn draw(points: &[Point]) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 280.0;
    const EDGE: f64 = 40.0;
    let last = points.last().map_or(1, |point| point.seconds) as f64;
    let top = points.iter().map(|point| point.p99).fold(1.0, f64::max) * 1.1;
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
    let (p50, p99) = (line(|p| p.p50), line(|p| p.p99));
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"
  font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<rect x="{held:.1}" y="{EDGE}" width="{:.1}" height="{:.1}" fill="#f0f0f0"/>
<text x="{:.1}" y="{:.1}">a transaction is held open</text>
<polyline points="{p50}" fill="none" stroke="#1f77b4" stroke-width="2"/>
<polyline points="{p99}" fill="none" stroke="#d62728" stroke-width="2"/>
<path d="M{EDGE},{EDGE} V{bottom} H{right}" fill="none" stroke="black"/>
<text x="{EDGE}" y="{:.1}">time from enqueue to start at 2,000 jobs/s, ms: p50 blue, p99 red</text>
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
