//! The results of [statements](crate::transaction::Statement).

use std::sync::Arc;

use serde::Deserialize;

use super::{Created, Finished, Holder};
use crate::{
    Error, ErrorKind, Result,
    job::{JobId, State},
};

/// One element of a statement's result.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Created,
    Exists,
    IdTakenBy(Arc<str>),
    KeyTakenBy(Holder),
    /// Returned by the SQL functions of earlier versions.
    IdTaken,
    KeyTaken(JobId),
    Succeeded,
    Lost,
}

fn answers(text: &str) -> Result<Vec<Answer>> {
    serde_json::from_str(text).map_err(|_| unreadable())
}

fn unreadable() -> Error {
    let text = "the answer of a statement is none: was another one run in its place?";
    Error::new(ErrorKind::Internal, text)
}

/// The answers of a statement that stores this many jobs.
#[doc(hidden)]
pub fn created(text: &str, jobs: usize) -> Result<Vec<Created>> {
    let answers = answers(text)?.into_iter().map(|answer| match answer {
        Answer::Created => Ok(Created::Created),
        Answer::Exists => Ok(Created::Exists),
        Answer::IdTakenBy(name) => Ok(Created::IdTaken(name)),
        Answer::KeyTakenBy(holder) => Ok(Created::KeyTaken(holder)),
        Answer::IdTaken => Ok(Created::IdTaken("?".into())),
        Answer::KeyTaken(id) => Ok(Created::KeyTaken(Holder { id, name: None })),
        Answer::Succeeded | Answer::Lost => Err(unreadable()),
    });
    let answers = answers.collect::<Result<Vec<_>>>()?;
    if answers.len() == jobs {
        Ok(answers)
    } else {
        Err(unreadable())
    }
}

/// The answer of a statement that ends an attempt.
#[doc(hidden)]
pub fn finished(text: &str) -> Result<Finished> {
    match answers(text)?.as_slice() {
        [Answer::Succeeded] => Ok(Finished::Applied(State::Succeeded)),
        [Answer::Lost] => Ok(Finished::Lost),
        _ => Err(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let holder = JobId::new();
        let text = format!(
            r#"["created","exists",{{"id_taken_by":"pay"}},
                {{"key_taken_by":{{"id":"{holder}","name":"mail"}}}}]"#
        );
        let expected = [
            Created::Created,
            Created::Exists,
            Created::IdTaken("pay".into()),
            Created::KeyTaken(Holder {
                id: holder,
                name: Some("mail".into()),
            }),
        ];
        assert_eq!(created(&text, 4).expect("they are answers"), expected);
        let applied = Finished::Applied(State::Succeeded);
        assert_eq!(finished(r#"["succeeded"]"#).expect("it is one"), applied);
        assert_eq!(finished(r#"["lost"]"#).expect("it is one"), Finished::Lost);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in ["", "1", "[]", r#"["lost"]"#, r#"["created","created"]"#] {
            let error = created(text, 1).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
        for text in ["", "[]", r#"["created"]"#, r#"["lost","lost"]"#] {
            finished(text).expect_err(text);
        }
    }
}
