//! `claim_ready` and jobs that have crashed: one suspect a call, and no job hidden behind one.

use super::bundle::{
    Bundle, NAME, OTHER_QUEUE, QUEUE, VERSION, claimed_ids, fragile, new, plain, secs, serves,
    serving, want,
};

pub(super) async fn what_has_chances_left_is_claimed_like_any_other(t: &Bundle) {
    let jobs = plain(3);
    t.add_all(&jobs).await;
    let held = t.ready(3).await;
    t.crash(&held[0]).await;
    t.advance(secs(6)).await;
    t.add_all(&plain(1)).await;
    let unwanted = serving(&[(NAME, VERSION)], false);
    let got = t
        .ready_by(&[want(QUEUE, 10)], &t.grant(), &unwanted)
        .await
        .jobs;
    assert_eq!(got.len(), 4, "one of three crashes makes no suspect");
    t.crash(&got[0]).await;
    t.advance(secs(61)).await;
    let got = t
        .ready_by(&[want(QUEUE, 10)], &t.grant(), &unwanted)
        .await
        .jobs;
    assert_eq!(
        got.len(),
        1,
        "who crashed for the first time, and no suspect"
    );
    for _ in 0..3 {
        assert_eq!(t.ready(10).await.len(), 1, "then one suspect a call");
    }
}

/// Jobs with chances left stand between suspects that the claim does not want, or wants no more of.
pub(super) async fn suspects_hide_nobody_behind_them(t: &Bundle) {
    let jobs: Vec<_> = (0..8)
        .map(|nth| new(|spec| spec.max_crashes = 2 + nth % 2))
        .collect();
    t.add_all(&jobs).await;
    let held = t.ready(8).await;
    t.crash(&held[0]).await;
    t.advance(secs(6)).await;
    let unwanted = serving(&[(NAME, VERSION)], false);
    let got = t
        .ready_by(&[want(QUEUE, 2)], &t.grant(), &unwanted)
        .await
        .jobs;
    assert_eq!(got.len(), 2, "suspects are passed over");
    assert!(got.iter().all(|job| job.spec.max_crashes == 3));
    let got = t.ready(10).await;
    let suspects = got.iter().filter(|job| job.is_suspect());
    assert_eq!((suspects.count(), got.len()), (1, 3), "one, and the others");
    for _ in 0..3 {
        assert_eq!(t.ready(10).await.len(), 1);
    }
    assert!(t.ready(10).await.is_empty(), "each was claimed once");
}

pub(super) async fn suspects_are_claimed_one_at_a_time(t: &Bundle) {
    let jobs = fragile(3);
    t.add_all(&jobs).await;
    let held = t.ready(3).await;
    t.crash(&held[0]).await;
    t.advance(secs(6)).await;
    let innocents = plain(2);
    t.add_all(&innocents).await;
    let unwanted = serving(&[(NAME, VERSION)], false);
    let got = t
        .ready_by(&[want(QUEUE, 1)], &t.grant(), &unwanted)
        .await
        .jobs;
    assert_eq!(
        claimed_ids(&got),
        [innocents[0].id],
        "not wanted: passed over"
    );
    let got = claimed_ids(&t.ready(10).await);
    assert_eq!(got.len(), 2, "one suspect and the innocent: {got:?}");
    assert!(got.contains(&innocents[1].id));
    assert_eq!(
        t.ready(10).await.len(),
        1,
        "the next call gets the next one"
    );
}

pub(super) async fn a_suspect_that_is_too_late_hides_no_other(t: &Bundle) {
    let late = t.suspect(|spec| spec.deadline = Some(secs(80))).await;
    let next = t.suspect(|_| {}).await;
    t.advance(secs(10)).await;
    assert_eq!(claimed_ids(&t.ready(10).await), [next], "not {late}");
}

pub(super) async fn one_suspect_a_call_over_all_its_queues(t: &Bundle) {
    let first = t.running(|spec| spec.max_crashes = 2).await;
    t.running(|spec| {
        spec.max_crashes = 2;
        spec.queue = OTHER_QUEUE.into();
    })
    .await;
    t.crash(&first).await;
    t.advance(secs(6)).await;
    let wants = [want(QUEUE, 5), want(OTHER_QUEUE, 5)];
    for _ in 0..2 {
        let got = t.ready_by(&wants, &t.grant(), &serves()).await.jobs;
        assert_eq!(got.len(), 1, "a killer takes no other suspect down with it");
    }
}
