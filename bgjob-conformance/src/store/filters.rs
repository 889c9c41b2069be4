//! Lists in both orders, and every part of a filter.

use bgjob::{
    Filter, Job, JobId,
    job::{DeadReason, Due, End, Failure, FailureKind, Retry, State, transition::Operation},
    store::{Order, Slice},
};

use super::bundle::{
    Bundle, NAME, OTHER_NAME, OTHER_QUEUE, QUEUE, To, error_after, failure, new, secs,
};

/// All jobs that fit, read page by page.
async fn paged(t: &Bundle, filter: &Filter, order: Order, limit: usize) -> Vec<Job> {
    let (mut jobs, mut after) = (Vec::new(), None);
    for _ in 0..200 {
        let slice = Slice {
            order,
            after,
            limit,
        };
        let page = t.slice(filter, &slice).await;
        assert!(page.jobs.len() <= limit, "at most the limit");
        jobs.extend(page.jobs);
        match page.next {
            Some(next) => after = Some(next),
            None => return jobs,
        }
    }
    panic!("a cursor moves on, so pages come to an end");
}

async fn found(t: &Bundle, filter: Filter) -> Vec<JobId> {
    let jobs = paged(t, &filter, Order::Oldest, 100).await;
    jobs.iter().map(|job| job.id).collect()
}

fn failed(message: &str) -> End {
    let failure = Failure {
        kind: FailureKind::Error,
        messages: vec!["no mail".to_owned(), message.to_owned()],
    };
    End::Error {
        failure,
        retry: Retry::Never(DeadReason::Aborted),
    }
}

pub(super) async fn a_list_goes_both_ways(t: &Bundle) {
    let mut jobs = super::bundle::plain(30);
    for job in &mut jobs[20..] {
        job.id = JobId::from_key(job.id.to_string());
    }
    t.add_all(&jobs).await;
    let up = paged(t, &Filter::default(), Order::Oldest, 7).await;
    for limit in [1, 7, 30, 31] {
        let mut down = paged(t, &Filter::default(), Order::Newest, limit).await;
        down.reverse();
        assert_eq!(down, up, "pages of {limit}");
    }
}

pub(super) async fn a_cursor_stands_both_ways(t: &Bundle) {
    let jobs = super::bundle::plain(10);
    t.add_all(&jobs[..9]).await;
    let first = t.slice(&Filter::default(), &Slice::last(4)).await;
    assert_eq!(first.jobs[3].id, jobs[5].id);
    t.end(jobs[5].id, To::Success).await;
    t.operate(jobs[5].id, Operation::Delete).await;
    t.add_all(&jobs[9..]).await;
    let next = first.next.expect("there are more");
    let rest = t
        .slice(&Filter::default(), &Slice::last(9).after(next))
        .await;
    let rest: Vec<_> = rest.jobs.iter().map(|job| job.id).collect();
    let expected: Vec<_> = jobs[..5].iter().rev().map(|job| job.id).collect();
    assert_eq!(rest, expected, "nothing twice, nothing left out");
}

pub(super) async fn the_ends_of_all_ids_are_listed(t: &Bundle) {
    let mut jobs = super::bundle::plain(2);
    jobs[0].id = JobId::from_bytes([0; 16]);
    jobs[1].id = JobId::from_bytes([0xff; 16]);
    t.add_all(&jobs).await;
    for order in [Order::Oldest, Order::Newest] {
        for limit in [1, 2, 3] {
            let jobs = paged(t, &Filter::default(), order, limit).await;
            assert_eq!(jobs.len(), 2, "{order:?} {limit}");
        }
    }
}

pub(super) async fn several_names(t: &Bundle) {
    let one = t.add(|_| {}).await;
    let other = t.add(|spec| spec.name = OTHER_NAME.into()).await;
    t.add(|spec| spec.name = "melt".into()).await;
    let filter = Filter::default().name(NAME).name(OTHER_NAME);
    assert_eq!(found(t, filter).await, [one, other]);
    let filter = Filter::default().name("nobody").name(OTHER_NAME);
    assert_eq!(found(t, filter).await, [other]);
}

pub(super) async fn by_the_reason_of_death(t: &Bundle) {
    let aborted = t.ended(To::Death, |_| {}).await;
    let failed = t.running(|spec| spec.max_attempts = 1).await;
    t.finish(&failed, error_after(secs(1))).await;
    let expired = t.add(|spec| spec.expires = Some(secs(1))).await;
    let killer = t.running(|spec| spec.max_crashes = 1).await;
    t.crash(&killer).await;
    t.ended(To::Cancelled, |_| {}).await;
    for (reason, id) in [
        (DeadReason::Aborted, aborted),
        (DeadReason::Errors, failed.id),
        (DeadReason::Expired, expired),
        (DeadReason::Crashes, killer.id),
    ] {
        assert_eq!(found(t, Filter::default().reason(reason)).await, [id]);
        let dead = Filter::default().reason(reason).state(State::Dead);
        assert_eq!(found(t, dead).await, [id]);
        let ready = Filter::default().reason(reason).state(State::Ready);
        assert!(found(t, ready).await.is_empty());
    }
}

pub(super) async fn by_time(t: &Bundle) {
    let early = t.ended(To::Success, |_| {}).await;
    t.advance(secs(60)).await;
    let noon = t.now().await;
    let late = t.ended(To::Death, |_| {}).await;
    let waits = t.add_due(Due::After(secs(600)), |_| {}).await;
    t.advance(secs(60)).await;
    let all = Filter::default;
    assert_eq!(found(t, all().created(..noon)).await, [early]);
    assert_eq!(found(t, all().created(noon..)).await, [late, waits]);
    assert_eq!(found(t, all().ended(noon..)).await, [late]);
    assert_eq!(
        found(t, all().ended(..)).await,
        [early, late, waits],
        "of all"
    );
    assert_eq!(found(t, all().ended(..noon)).await, [early]);
    assert_eq!(found(t, all().due(noon + secs(100)..)).await, [waits]);
    let now = t.now().await;
    assert_eq!(found(t, all().due(..=now)).await, [early, late]);
    let exact = t.job(late).await.due_at;
    assert_eq!(found(t, all().due(exact..=exact)).await, [late]);
    assert!(found(t, all().due(exact..exact)).await.is_empty());
}

pub(super) async fn by_the_text_of_the_last_error(t: &Bundle) {
    let refused = t.running(|_| {}).await;
    t.finish(&refused, failed("connection \"refused\"")).await;
    let reset = t.running(|_| {}).await;
    t.finish(&reset, failed("connection reset")).await;
    let again = t.running(|_| {}).await;
    t.finish(&again, error_after(secs(0))).await;
    let held = t.claim(again.id).await;
    t.finish(&held, failed("connection reset")).await;
    t.ended(To::Success, |_| {}).await;
    let text = |text: &str| Filter::default().error(text);
    assert_eq!(found(t, text("refused")).await, [refused.id]);
    assert_eq!(found(t, text("\"refused\"")).await, [refused.id]);
    assert_eq!(found(t, text("reset")).await, [reset.id, again.id]);
    assert_eq!(found(t, text("no mail: conn")).await.len(), 3);
    let old = failure().to_string();
    assert!(found(t, text(&old)).await.is_empty(), "the last one counts");
    assert!(found(t, text("%")).await.is_empty(), "no pattern");
}

/// A store of odd jobs. Its answers to many filters are compared with the filter itself.
pub(super) async fn every_filter_finds_what_fits(t: &Bundle) {
    let mut all = Vec::new();
    for n in 0..48_u64 {
        let job = new(|spec| {
            spec.queue = if n % 2 == 0 { QUEUE } else { OTHER_QUEUE }.into();
            spec.name = if n % 3 == 0 { NAME } else { OTHER_NAME }.into();
            spec.tags = vec![format!("tag {}", n % 4)];
        });
        t.add_all(std::slice::from_ref(&job)).await;
        match n % 8 {
            0 => t.end(job.id, To::Success).await,
            1 | 2 => t.end(job.id, To::Death).await,
            3 => t.end(job.id, To::Cancelled).await,
            4 => _ = t.claim(job.id).await,
            5 => {
                let held = t.claim(job.id).await;
                t.finish(&held, error_after(secs(60))).await;
            }
            _ => {}
        }
        all.push(t.job(job.id).await);
    }
    let queues = [None, Some(QUEUE), Some("nosuch")];
    let names = [&[][..], &[NAME], &[NAME, OTHER_NAME]];
    let states = State::ALL.into_iter().map(Some).chain([None]);
    for state in states {
        for queue in queues {
            for names in names {
                let mut filter = Filter::default();
                filter.state = state;
                filter.queue = queue.map(Into::into);
                filter.names = names.iter().map(|name| (*name).into()).collect();
                check(t, &all, &filter).await;
                check(t, &all, &filter.clone().tag("tag 2")).await;
                check(t, &all, &filter.clone().reason(DeadReason::Aborted)).await;
                check(t, &all, &filter.error("disk")).await;
            }
        }
    }
}

async fn check(t: &Bundle, all: &[Job], filter: &Filter) {
    let fits = all.iter().filter(|job| filter.fits(job));
    let mut expected: Vec<_> = fits.map(|job| job.id).collect();
    for order in [Order::Oldest, Order::Newest] {
        let got = paged(t, filter, order, 5).await;
        let got: Vec<_> = got.iter().map(|job| job.id).collect();
        assert_eq!(got, expected, "{filter:?} {order:?}");
        expected.reverse();
    }
}
