//! Names of jobs and queues. The rules are those of the runtime, which checks names from elsewhere.

use super::Mistake;

/// Checks a job's name: 1–128 bytes of `[A-Za-z0-9._:-]`.
pub(crate) fn job_name(text: &str) -> Result<(), Mistake> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".:_-".contains(c);
    name(text, "job names", "`A-Z a-z 0-9 . _ : -`", 128, fits)
}

/// Checks a queue's name: 1–64 bytes of `[a-z0-9._-]`, a letter or digit first.
pub(crate) fn queue_name(text: &str) -> Result<(), Mistake> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    name(text, "queue names", "`a-z 0-9 . _ -`", 64, fits)?;
    match &text[..1] {
        "." | "_" | "-" => Err(Mistake::new(
            text,
            &text[..1],
            "queue names start with a letter or digit",
        )),
        _ => Ok(()),
    }
}

fn name(
    text: &str,
    what: &str,
    letters: &str,
    max: usize,
    fits: fn(char) -> bool,
) -> Result<(), Mistake> {
    let rule = format!("{what} are 1 to {max} bytes of {letters}");
    if let Some(bad) = text.matches(|c| !fits(c)).next() {
        return Err(Mistake::new(text, bad, rule));
    }
    match text.len() {
        0 => Err(Mistake::new(
            text,
            text,
            format!("{rule}; this one is empty"),
        )),
        len if len > max => Err(Mistake::new(
            text,
            text,
            format!("{rule}; this one has {len}"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(job_name("app:send-mail.v2_X").is_ok());
        assert!(job_name(&"a".repeat(128)).is_ok());
        assert!(job_name(&"a".repeat(129)).is_err());
        assert!(job_name("a/b").is_err() && job_name("é").is_err() && job_name("").is_err());
        assert!(queue_name("0mail.out-2").is_ok() && queue_name(&"q".repeat(64)).is_ok());
        assert!(queue_name(&"q".repeat(65)).is_err() && queue_name("").is_err());
        assert!(queue_name("-a").is_err() && queue_name("A").is_err());
    }
}
