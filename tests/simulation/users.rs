//! `simulate!` as users have it: a mistake is found, and what is right passes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bgjob::{
    Registry,
    prelude::*,
    testing::simulation::{Sim, Simulation, step},
};

/// Orders, and how often each was paid.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<BTreeMap<u32, u32>>>);

impl Bank {
    async fn pay(&self, order: u32, key: Option<u32>) {
        step("the bank hears of it").await;
        {
            let mut paid = self.0.lock().unwrap();
            let times = paid.entry(order).or_default();
            // A bank that is told a key pays it once.
            if key.is_none() || *times == 0 {
                *times += 1;
            }
        }
        step("the bank has paid").await;
    }
}

#[job]
async fn pay_twice_perhaps(order: u32, bank: State<Bank>) {
    bank.pay(order, None).await;
}

#[job]
async fn pay_once(order: u32, bank: State<Bank>) {
    bank.pay(order, Some(order)).await;
}

async fn paid_once(sim: Sim, careful: bool) {
    let bank = Bank::default();
    let served = bank.clone();
    sim.workers(2, move |worker| {
        let registry = Registry::new()
            .with::<pay_once>()
            .with::<pay_twice_perhaps>();
        worker.registry(registry).state(served.clone())
    });
    for order in 0..3 {
        if careful {
            pay_once::enqueue(sim.jobs(), order).await.unwrap();
        } else {
            pay_twice_perhaps::enqueue(sim.jobs(), order).await.unwrap();
        }
    }
    sim.all_over().await;
    let paid = bank.0.lock().unwrap().clone();
    assert_eq!(paid, BTreeMap::from([(0, 1), (1, 1), (2, 1)]));
}

#[test]
fn a_payment_with_a_key_is_made_once() {
    let report = bgjob::simulate!(runs = 300, |sim| paid_once(sim, true));
    println!("{report}");
    assert_eq!(report.runs, 300);
}

#[test]
fn a_payment_without_a_key_is_found_out() {
    let all = Simulation::new().run(|sim| paid_once(sim, false));
    let failure = all.expect_err("it is paid twice");
    let text = failure.to_string();
    assert!(text.contains("worker-1   dies "), "{text}");
    assert!(text.contains(": 2"), "{text}");
    let again = format!(
        "BGJOB_RUN={} cargo test users::a_payment_without",
        failure.run
    );
    assert!(text.contains(&again), "{text}");
}
