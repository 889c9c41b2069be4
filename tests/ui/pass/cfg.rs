use bgjob::{Registry, prelude::*};

#[cfg(any())]
#[job]
async fn off_above(_: ()) {}

#[job]
#[cfg(any())]
async fn off_below(_: ()) {}

#[job]
#[cfg_attr(all(), cfg(any()))]
async fn off_by_cfg_attr(_: ()) {}

#[job]
#[cfg(all())]
#[cfg_attr(all(), allow(dead_code), inline)]
async fn on(_: ()) {}

fn main() {
    let jobs = Registry::linked().unwrap();
    assert_eq!(
        jobs.iter().map(|job| job.name()).collect::<Vec<_>>(),
        ["on"]
    );
}
