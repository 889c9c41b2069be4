//! What a simulation says of itself: how much it has tried, and how to repeat what failed.

use std::thread;

use bgjob::{
    Registry,
    testing::simulation::{Sim, Simulation},
};

use crate::app::*;

async fn one_job(sim: Sim) {
    sim.workers(1, |worker| worker.registry(Registry::new().with::<hash>()));
    hash::enqueue(sim.jobs(), "x".to_owned()).await.unwrap();
    sim.all_over().await;
}

#[test]
fn it_says_how_many_places_it_tried() {
    let few = Simulation::new().runs(4).check(one_job);
    assert_eq!(few.tried, 2);
    assert!(few.places > 2, "{few}");
    let said = format!("\n2 of {} places tried\n", few.places);
    assert!(few.to_string().contains(&said), "{few}");

    let mut all = Simulation::new().runs(2 * few.places).check(one_job);
    assert_eq!((all.tried, all.places), (few.places, few.places));
    let later = Simulation::new()
        .first(2 * few.places)
        .runs(2)
        .check(one_job);
    assert_eq!((later.tried, later.places), (0, 0));
    all.join(later);
    assert_eq!((all.tried, all.places), (few.places, few.places));
}

/// What is said last where a run fails on a thread of this name.
fn repeated_how(thread: Option<&str>) -> String {
    let builder = thread.map_or_else(thread::Builder::new, |name| {
        thread::Builder::new().name(name.to_owned())
    });
    let failing = || Simulation::new().runs(1).run(|_| async { panic!("no") });
    let failure = builder.spawn(failing).unwrap().join().unwrap();
    let text = failure.expect_err("it panics").to_string();
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn it_says_how_to_repeat_a_run() {
    let test = repeated_how(Some("orders::each_is_paid"));
    assert_eq!(
        test,
        "to repeat it: BGJOB_RUN=0 cargo test orders::each_is_paid"
    );
    for program in [Some("main"), None] {
        let program = repeated_how(program);
        assert_eq!(
            program,
            "to repeat it: set BGJOB_RUN=0 and run this program again"
        );
    }
}
