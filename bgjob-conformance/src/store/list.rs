//! `get`, `list` with its cursor, and `counts`.

use bgjob::{
    JobId,
    job::{Due, State, transition::Operation},
    store::Filter,
};

use super::bundle::{
    Bundle, NAME, OTHER_NAME, OTHER_QUEUE, QUEUE, To, error_after, ids, new, plain, secs,
};

async fn listed(t: &Bundle, filter: &Filter) -> Vec<JobId> {
    t.list(filter, None, 1000)
        .await
        .iter()
        .map(|job| job.id)
        .collect()
}

/// All jobs that fit, read page by page.
async fn paged(t: &Bundle, filter: &Filter, n: usize) -> Vec<JobId> {
    let (mut all, mut after) = (Vec::new(), None);
    for _ in 0..100 {
        let page = t.list(filter, after, n).await;
        assert!(page.len() <= n, "at most the limit");
        all.extend(page.iter().map(|job| job.id));
        match page.last() {
            Some(last) => after = Some(last.id),
            None => return all,
        }
    }
    panic!("a cursor moves on, so pages come to an end: {all:?}");
}

pub(super) async fn get_answers_in_the_order_of_the_input(t: &Bundle) {
    let jobs = plain(3);
    t.add_all(&jobs).await;
    let asked = [jobs[2].id, JobId::new(), jobs[0].id, jobs[2].id];
    let got = t.store.get(&asked).await.expect("get answers");
    let got: Vec<_> = got
        .iter()
        .map(|job| job.as_ref().map(|job| job.id))
        .collect();
    assert_eq!(got, [Some(asked[0]), None, Some(asked[2]), Some(asked[3])]);
    assert!(t.store.get(&[]).await.expect("get answers").is_empty());
}

pub(super) async fn an_empty_store_lists_nothing(t: &Bundle) {
    assert!(listed(t, &Filter::default()).await.is_empty());
    assert!(
        t.list(&Filter::default(), Some(JobId::new()), 5)
            .await
            .is_empty()
    );
    assert!(t.counts(QUEUE).await.is_empty());
}

pub(super) async fn jobs_are_listed_by_their_ids(t: &Bundle) {
    let mut jobs = plain(20);
    for job in &mut jobs[10..] {
        job.id = JobId::from_key(job.id.to_string());
    }
    jobs.reverse();
    t.add_all(&jobs).await;
    let mut expected = ids(&jobs);
    expected.sort();
    assert_eq!(listed(t, &Filter::default()).await, expected);
}

pub(super) async fn a_listed_job_is_the_whole_job(t: &Bundle) {
    let held = t.running(|spec| spec.tags = vec!["a".into()]).await;
    t.finish(&held, error_after(secs(60))).await;
    assert_eq!(
        t.list(&Filter::default(), None, 5).await,
        [t.job(held.id).await]
    );
}

pub(super) async fn pages_follow_each_other(t: &Bundle) {
    let jobs = plain(25);
    t.add_all(&jobs).await;
    for n in [1, 7, 25, 26] {
        assert_eq!(
            paged(t, &Filter::default(), n).await,
            ids(&jobs),
            "pages of {n}"
        );
    }
    assert!(t.list(&Filter::default(), None, 0).await.is_empty());
}

pub(super) async fn a_cursor_need_not_be_a_job(t: &Bundle) {
    let jobs = plain(4);
    t.add_all(&[jobs[0].clone(), jobs[1].clone(), jobs[3].clone()])
        .await;
    let after = t.list(&Filter::default(), Some(jobs[2].id), 5).await;
    assert_eq!(
        after.iter().map(|job| job.id).collect::<Vec<_>>(),
        [jobs[3].id]
    );
}

pub(super) async fn a_cursor_stands_while_jobs_come_and_go(t: &Bundle) {
    let jobs = plain(10);
    t.add_all(&jobs).await;
    let first = t.list(&Filter::default(), None, 4).await;
    t.end(jobs[3].id, To::Success).await;
    t.operate(jobs[3].id, Operation::Delete).await;
    t.end(jobs[5].id, To::Success).await;
    t.operate(jobs[5].id, Operation::Delete).await;
    let new = plain(2);
    t.add_all(&new).await;
    let rest = t.list(&Filter::default(), Some(first[3].id), 100).await;
    let rest: Vec<_> = rest.iter().map(|job| job.id).collect();
    let expected = [vec![jobs[4].id], ids(&jobs[6..]), ids(&new)].concat();
    assert_eq!(rest, expected, "nothing twice, nothing left out");
}

pub(super) async fn filters_are_exact(t: &Bundle) {
    let tags = ["a", "A", "a%", "a_", "ab", "", "ä", "'", "🦀", "a\0"];
    let mut expected = Vec::new();
    for tag in tags {
        expected.push(t.add(|spec| spec.tags = vec!["x".into(), tag.into()]).await);
    }
    for (tag, id) in tags.iter().zip(expected) {
        let filter = Filter::default().tag(*tag);
        assert_eq!(listed(t, &filter).await, [id], "tag {tag:?}");
    }
    let all = Filter::default().tag("x");
    assert_eq!(listed(t, &all).await.len(), tags.len());
}

pub(super) async fn a_filter_by_queue(t: &Bundle) {
    t.add(|_| {}).await;
    let other = t.add(|spec| spec.queue = OTHER_QUEUE.into()).await;
    let filter = Filter::default().queue(OTHER_QUEUE);
    assert_eq!(listed(t, &filter).await, [other]);
}

pub(super) async fn a_filter_by_name(t: &Bundle) {
    t.add(|_| {}).await;
    let other = t.add(|spec| spec.name = OTHER_NAME.into()).await;
    let filter = Filter::default().name(OTHER_NAME);
    assert_eq!(listed(t, &filter).await, [other]);
}

pub(super) async fn a_filter_by_state(t: &Bundle) {
    let each = [
        (State::Ready, t.add_due(Due::After(secs(60)), |_| {}).await),
        (State::Running, t.running(|_| {}).await.id),
        (State::Succeeded, t.ended(To::Success, |_| {}).await),
        (State::Dead, t.ended(To::Death, |_| {}).await),
        (State::Cancelled, t.ended(To::Cancelled, |_| {}).await),
    ];
    for (state, id) in each {
        let filter = Filter::default().state(state);
        assert_eq!(listed(t, &filter).await, [id], "{state}");
    }
}

pub(super) async fn filters_hold_together_and_over_pages(t: &Bundle) {
    let mut jobs = Vec::new();
    for n in 0..40 {
        jobs.push(new(|spec| {
            spec.queue = if n % 2 == 0 { QUEUE } else { OTHER_QUEUE }.into();
            spec.name = if n % 3 == 0 { NAME } else { OTHER_NAME }.into();
            spec.tags = vec![format!("tag {}", n % 4)];
        }));
    }
    t.add_all(&jobs).await;
    t.end(jobs[12].id, To::Success).await;
    let filter = Filter::default()
        .queue(QUEUE)
        .name(NAME)
        .state(State::Ready)
        .tag("tag 0");
    let expected: Vec<_> = [0, 24, 36].iter().map(|n: &usize| jobs[*n].id).collect();
    assert_eq!(listed(t, &filter).await, expected);
    assert_eq!(paged(t, &filter, 2).await, expected);
}

pub(super) async fn counts_follow_every_change(t: &Bundle) {
    use State::{Cancelled, Dead, Ready, Running, Succeeded};
    let jobs = plain(6);
    t.add_all(&jobs).await;
    t.add_due(Due::After(secs(600)), |spec| {
        spec.queue = OTHER_QUEUE.into();
    })
    .await;
    assert_eq!(t.counts(QUEUE).await, [(Ready, 6)]);
    assert_eq!(
        t.counts(OTHER_QUEUE).await,
        [(Ready, 1)],
        "delayed jobs are Ready"
    );
    let held = t.claim(jobs[0].id).await;
    let crashing = t.claim(jobs[1].id).await;
    assert_eq!(t.counts(QUEUE).await, [(Ready, 4), (Running, 2)]);
    t.finish(&held, error_after(secs(1))).await;
    for (id, to) in [(jobs[2].id, To::Success), (jobs[3].id, To::Death)] {
        t.end(id, to).await;
    }
    t.end(jobs[4].id, To::Cancelled).await;
    let all = [
        (Ready, 2),
        (Running, 1),
        (Succeeded, 1),
        (Dead, 1),
        (Cancelled, 1),
    ];
    assert_eq!(t.counts(QUEUE).await, all);
    t.crash(&crashing).await;
    t.operate(jobs[3].id, Operation::Requeue(Due::Now)).await;
    t.operate(jobs[4].id, Operation::Delete).await;
    assert_eq!(t.counts(QUEUE).await, [(Ready, 4), (Succeeded, 1)]);
    t.advance(2 * super::bundle::DAY).await;
    t.purge(10).await;
    assert_eq!(t.counts(QUEUE).await, [(Ready, 4)], "no ghosts");
}
