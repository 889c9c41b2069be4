//! A payment that is made twice now and then, found by the simulator, and mended.
//!
//! The mistake is the usual one: the job asks the bank to pay and then ends. If its process dies in
//! between, the job runs again, and so does the payment. Try `cargo run --example simulation`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bgjob::{
    prelude::*,
    testing::simulation::{Sim, Simulation, step},
};

/// A bank as far as these jobs know it: it stays when a process dies.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<BTreeMap<String, u64>>>);

impl Bank {
    /// Pays. What has a key is paid once, however often it is asked for.
    async fn pay(&self, account: &str, cents: u64, key: Option<&str>) {
        step("the bank is asked to pay").await;
        {
            let mut paid = self.0.lock().expect("nobody panics with the lock");
            match key {
                Some(key) => _ = paid.entry(format!("{account} for {key}")).or_insert(cents),
                None => *paid.entry(account.to_owned()).or_default() += cents,
            }
        }
        step("the bank has paid").await;
    }

    fn paid(&self) -> u64 {
        let paid = self.0.lock().expect("nobody panics with the lock");
        paid.values().sum()
    }
}

#[job]
async fn pay(cents: u64, bank: State<Bank>) {
    bank.pay("Ada", cents, None).await;
}

/// The same, with the job's id for a key: it is the same in each attempt.
#[job]
async fn pay_once(cents: u64, bank: State<Bank>, ctx: JobContext) {
    let key = ctx.id().to_string();
    bank.pay("Ada", cents, Some(&key)).await;
}

/// One run: a payment of 100, and what must hold when all is over.
async fn scenario(sim: Sim, careful: bool) {
    let bank = Bank::default();
    let served = bank.clone();
    sim.workers(2, move |worker| worker.state(served.clone()));
    let enqueued = if careful {
        pay_once::enqueue(sim.jobs(), 100).await.map(drop)
    } else {
        pay::enqueue(sim.jobs(), 100).await.map(drop)
    };
    enqueued.expect("the test's own calls never fail");
    sim.all_over().await;
    let paid = bank.paid();
    assert!(paid == 100, "paid {paid} instead of 100");
}

fn main() {
    match Simulation::new().run(|sim| scenario(sim, false)) {
        Ok(_) => println!("nothing was found"),
        Err(failure) => println!("{failure}\n"),
    }
    match Simulation::new().run(|sim| scenario(sim, true)) {
        Ok(report) => println!(
            "with a key: {} runs, {} of {} places tried, 100 in each",
            report.runs, report.tried, report.places
        ),
        Err(failure) => println!("{failure}"),
    }
}
