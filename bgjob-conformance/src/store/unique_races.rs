//! Unique keys, with several callers at once.

use std::sync::Arc;

use bgjob::store::{Created, Holder};

use super::bundle::{Bundle, NAME, new};
use crate::together::at_once;

pub(super) async fn of_many_creates_of_one_key_one_wins(t: &Bundle) {
    for round in 0..20 {
        let key = format!("round {round}");
        let jobs = (0..8).map(|_| new(|spec| spec.unique_key = Some(key.clone())));
        let answers = at_once(jobs.map(|job| {
            let store = Arc::clone(&t.store);
            async move {
                let answer = store.create(std::slice::from_ref(&job)).await;
                (job.id, answer.expect("create answers").remove(0))
            }
        }))
        .await;
        let won = |answer: &&(_, Created)| answer.1 == Created::Created;
        let winners: Vec<_> = answers.iter().filter(won).map(|(id, _)| *id).collect();
        assert_eq!(winners.len(), 1, "exactly one gets the key: {answers:?}");
        for (id, answer) in answers.iter().filter(|(id, _)| *id != winners[0]) {
            assert_eq!(
                *answer,
                Created::KeyTaken(Holder {
                    id: winners[0],
                    name: Some(NAME.into()),
                }),
                "{id} hears who has it"
            );
        }
    }
}
