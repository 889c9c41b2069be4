use std::time::Duration;

use bgjob::{JobItem, prelude::*};

#[job(backoff = "constant(0s)")]
async fn constant(_: ()) {}

#[job(backoff = "linear(10s, max 1m)")]
async fn linear(_: ()) {}

#[job(backoff = " exponential( 250ms , no jitter ) ")]
async fn exponential(_: ()) {}

#[job(backoff = "steps(1s, 10s, 1m 30s)")]
async fn steps(_: ()) {}

#[job(backoff = waits::squares)]
async fn custom(_: ()) {}

mod waits {
    pub fn squares(errors: u32) -> std::time::Duration {
        std::time::Duration::from_secs((errors * errors).into())
    }
}

fn check<T: JobItem>(millis: [u64; 4]) {
    let backoff = T::descriptor().backoff();
    let waits = [1, 2, 3, 4].map(|errors| backoff.wait(errors));
    assert_eq!(waits, millis.map(Duration::from_millis), "{}", T::NAME);
}

fn main() {
    check::<constant>([0; 4]);
    check::<linear>([10_000, 20_000, 30_000, 40_000]);
    check::<exponential>([250, 500, 1000, 2000]);
    check::<steps>([1000, 10_000, 90_000, 90_000]);
    check::<custom>([1000, 4000, 9000, 16_000]);
}
