//! Each verdict behind each wrapper that people use, alone and two deep.

use std::{error::Error, io, sync::Arc};

use anyhow::Context;
use eyre::WrapErr;
use thiserror::Error;

use super::*;

#[derive(Debug, Error)]
enum Mine {
    #[error(transparent)]
    Transparent(BoxError),
    #[error("a text and a source")]
    Source(#[source] BoxError),
    #[error("a text and a `from`: {0}")]
    From(#[from] JobError),
    #[error(transparent)]
    Anyhow(#[from] anyhow::Error),
}

/// A wrapper that hides the error it wraps and shows its causes, as transparent ones do, written by
/// hand.
#[derive(Debug)]
struct Hides(BoxError);

impl fmt::Display for Hides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Hides {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

fn anyhow_of(error: BoxError) -> anyhow::Error {
    anyhow::Error::from_boxed(error)
}

/// What code may make of an error on its way out of a handler.
type Wrap = (&'static str, fn(BoxError) -> BoxError);

const WRAPS: &[Wrap] = &[
    ("nothing", |e| e),
    ("an arc", |e| Arc::<dyn Error + Send + Sync>::from(e).into()),
    ("io::Error::other", |e| io::Error::other(e).into()),
    ("anyhow", |e| anyhow_of(e).into()),
    ("anyhow with a context", |e| {
        Err::<(), _>(anyhow_of(e))
            .context("context")
            .expect_err("it is an error")
            .into()
    }),
    ("eyre", |e| eyre::Report::from(Hides(e)).into()),
    ("eyre with a context", |e| {
        let wrapped = Err::<(), _>(Hides(e)).wrap_err("context");
        wrapped.expect_err("it is an error").into()
    }),
    ("thiserror, transparent", |e| Mine::Transparent(e).into()),
    ("thiserror with a source", |e| Mine::Source(e).into()),
    ("thiserror with a `from`", |e| {
        Mine::from(JobError::from(e)).into()
    }),
    ("thiserror over anyhow", |e| Mine::from(anyhow_of(e)).into()),
    ("by hand", |e| Hides(e).into()),
    ("bgjob's own", |e| {
        crate::Error::invalid("wrong").because(e).into()
    }),
    ("a JobError that `?` made of a box", |e| {
        JobError::from(e).into()
    }),
    ("a JobError that `?` made of an io::Error", |e| {
        JobError::from(io::Error::other(e)).into()
    }),
];

fn said(error: BoxError) -> Outcome<u32> {
    Err::<u32, _>(error).into_outcome()
}

#[test]
fn a_verdict_is_found_behind_every_wrapper() {
    let wait = Duration::from_secs(600);
    for (inner, wrap) in WRAPS {
        for (outer, wrap_again) in WRAPS {
            let out = |error: JobError| said(wrap_again(wrap(error.into())));
            let what = format!("{inner}, in {outer}");
            let Outcome::Abort { failure, reason } = out(JobError::abort("stolen")) else {
                panic!("abort: {what}");
            };
            assert_eq!(reason, DeadReason::Aborted, "{what}");
            let text = failure.to_string();
            assert!(
                text.contains("stolen") && !text.contains("the job is"),
                "{what}: {text}"
            );
            assert_eq!(out(JobError::snooze(wait)), Outcome::Snooze(wait), "{what}");
            let retry = out(JobError::retry_in(wait, "busy"));
            let after = match retry {
                Outcome::Retry { after, .. } => after,
                other => panic!("{other:?}: {what}"),
            };
            assert_eq!(after, Some(wait), "{what}");
            let plain = out(JobError::retry("busy"));
            assert!(
                matches!(plain, Outcome::Retry { after: None, .. }),
                "{what}"
            );
        }
    }
}

#[test]
fn the_outermost_verdict_counts() {
    for (name, wrap) in WRAPS {
        let wait = Duration::from_secs(9);
        let outer = JobError::retry_in(wait, wrap(JobError::abort("stolen").into()));
        let outcome = said(wrap(outer.into()));
        let after = matches!(outcome, Outcome::Retry { after, .. } if after == Some(wait));
        assert!(after, "{name}: {outcome:?}");
    }
}

#[test]
fn a_verdict_is_found_far_down_and_an_error_that_is_its_own_cause_ends() {
    let start: BoxError = JobError::abort("stolen").into();
    let deep: BoxError = (0..100).fold(start, |e, _| Hides(e).into());
    assert!(matches!(said(deep), Outcome::Abort { .. }));
    let context = |error: anyhow::Error, n| error.context(n);
    let deep = (0..100).fold(anyhow_of(JobError::abort("stolen").into()), context);
    assert!(matches!(said(deep.into()), Outcome::Abort { .. }));

    #[derive(Debug)]
    struct Again(&'static Again);

    impl fmt::Display for Again {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("again")
        }
    }

    impl Error for Again {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self.0)
        }
    }

    static AGAIN: Again = Again(&AGAIN);
    let outcome = said(Box::new(Again(&AGAIN)));
    assert!(matches!(outcome, Outcome::Retry { after: None, .. }));
}

#[test]
fn question_marks_turn_errors_of_many_kinds_into_a_job_error() {
    fn parse(text: &str) -> Result<u32, JobError> {
        text.chars().next().ok_or("nothing to read")?;
        let bytes: Vec<u8> = serde_json::from_str(text)?;
        let text = String::from_utf8(bytes)?;
        Ok(u32::try_from(text.parse::<i64>()?)?)
    }
    assert_eq!(parse("[55]").expect("it is a number"), 7);
    for text in ["", "[", "[255]", "[65]", "[45, 49]"] {
        let outcome = Err::<u32, _>(parse(text).expect_err(text)).into_outcome();
        assert!(
            matches!(outcome, Outcome::Retry { after: None, .. }),
            "{text}"
        );
    }
}
