//! What [statements](crate::transaction::Statement) answer.

use serde::Deserialize;

use super::{Created, Finished};
use crate::{
    Error, ErrorKind, Result,
    job::{JobId, State},
};

/// An answer as the statement gives it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Created,
    Exists,
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

/// What a statement that stores so many jobs has answered.
pub(crate) fn created(text: &str, jobs: usize) -> Result<Vec<Created>> {
    let answers = answers(text)?.into_iter().map(|answer| match answer {
        Answer::Created => Ok(Created::Created),
        Answer::Exists => Ok(Created::Exists),
        Answer::IdTaken => Ok(Created::IdTaken),
        Answer::KeyTaken(holder) => Ok(Created::KeyTaken(holder)),
        Answer::Succeeded | Answer::Lost => Err(unreadable()),
    });
    let answers = answers.collect::<Result<Vec<_>>>()?;
    if answers.len() == jobs {
        Ok(answers)
    } else {
        Err(unreadable())
    }
}

/// What a statement that ends an attempt has answered.
pub(crate) fn finished(text: &str) -> Result<Finished> {
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
        let text = format!(r#"["created","exists","id_taken",{{"key_taken":"{holder}"}}]"#);
        let expected = [
            Created::Created,
            Created::Exists,
            Created::IdTaken,
            Created::KeyTaken(holder),
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
