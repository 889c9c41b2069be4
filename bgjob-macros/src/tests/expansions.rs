//! Generated code, formatted as a person would write it.

use expect_test::{ExpectFile, expect_file};

use crate::expand_job;

/// Checks the expansion, formatted as a person would write it.
fn expand(args: &str, item: &str, expected: &ExpectFile) {
    let tokens = expand_job(args.parse().expect("tokens"), item.parse().expect("tokens"));
    let file = syn::parse2(tokens).expect("what is generated is Rust");
    expected.assert_eq(&prettyplease::unparse(&file));
}

#[test]
fn the_shortest_job() {
    expand(
        "",
        "async fn ping(_: ()) {}",
        &expect_file!["snapshots/shortest.txt"],
    );
}

#[test]
fn a_job_with_everything() {
    let args = r#"
        name = "mail", aliases = ["old"], queue = "q", priority = "high", max_attempts = 2,
        max_crashes = 1, backoff = "steps(1s, no jitter)", timeout = "1m", expires = "2m",
        deadline = "3m", retain = "0s", version = 1, upgrade = up, blocking, crate = rt
    "#;
    let item = r"
        /// Sends a mail.
        ///
        /// And more.
        #[deprecated]
        #[cfg(unix)]
        #[cfg_attr(test, cfg(feature), inline)]
        pub(crate) fn send(mail: Mail, _: State<Mailer>) -> Result<Receipt, Oops> {}
    ";
    expand(args, item, &expect_file!["snapshots/everything.txt"]);
}

#[test]
fn a_signature_has_no_function() {
    expand(
        "extern, queue = \"images\"",
        "pub async fn resize(_: Image) -> Result<Thumb, Oops>;",
        &expect_file!["snapshots/signature.txt"],
    );
}

#[test]
fn a_job_with_a_mistake_keeps_its_function_and_its_handle() {
    expand(
        "timeout = 5",
        "async fn ping(_: ()) {}",
        &expect_file!["snapshots/mistaken.txt"],
    );
}

#[test]
fn a_function_that_cannot_be_a_job_stays() {
    expand(
        "",
        "async fn ping<T>(_: T) {}",
        &expect_file!["snapshots/refused.txt"],
    );
}
