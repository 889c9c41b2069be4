//! The message of each mistake, and the text it is about.

use expect_test::{Expect, expect};

use crate::{args::Args, errors::Errors, input::JobFn, model::Job, options::Options};

/// Checks each mistake and the text it is about.
fn check(args: &str, item: &str, expected: &Expect) {
    let mut errors = Errors::default();
    let args = Args::parse(args.parse().expect("tokens"), &mut errors);
    let options = Options::new(args, &mut errors);
    if let Some(function) = JobFn::parse(&item.parse().expect("tokens"), &mut errors) {
        Job::new(options, function, &mut errors);
    }
    expected.assert_eq(&wrapped(&errors.listed()));
}

/// Breaks lines that are too long for this file.
fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let mut length = 0;
        for word in line.split_inclusive(' ') {
            length += word.len();
            if length > 80 {
                wrapped.push_str("\n    ");
                length = 4 + word.len();
            }
            wrapped.push_str(word);
        }
        wrapped.push('\n');
    }
    wrapped.replace(" \n", "\n")
}

fn check_args(args: &str, expected: &Expect) {
    check(args, "async fn f(_: ()) {}", expected);
}

fn check_fn(item: &str, expected: &Expect) {
    check("", item, expected);
}

#[test]
fn what_is_right() {
    let none = &expect![""];
    check_args("", none);
    check_args("name = \"a\",", none);
    check_args(
        "crate = ::a::b, upgrade = up::<u8, u16>, version = 1, retain = \"0s\"",
        none,
    );
    check_args(
        "backoff = crate::waits, aliases = [], queue = \"a\", priority = \"low\"",
        none,
    );
    check_args(
        "max_attempts = 1_000, max_crashes = 0x2, timeout = r\"1s\"",
        none,
    );
    check(
        "blocking",
        "pub(crate) fn f(_: ()) -> Result<u8, String> { half typed }",
        none,
    );
    check_fn(
        "pub async fn f(Pair { a, b }: Pair, mut c: Vec<[u8; 4]>) {}",
        none,
    );
    check_fn(
        "async fn f(_: Cow<'static, str>, _: Box<dyn Fn(u8) -> u8 + Send>) {}",
        none,
    );
}

#[test]
fn arguments_that_cannot_be_read() {
    check_args(
        "5",
        &expect![[r#"
        `5`: expected an argument such as `queue = "mail"`
    "#]],
    );
    check_args(
        "\"a\"",
        &expect![[r#"
        `"a"`: an argument has a key: for the job's name write `name = "…"`
    "#]],
    );
    check_args(
        "name",
        &expect![[r#"
        `name`: `name` has no value: write `name = "send_mail"`
    "#]],
    );
    check_args(
        "name =",
        &expect![[r#"
        `name`: `name` has no value: write `name = "send_mail"`
    "#]],
    );
    check_args(
        "name = ,queue",
        &expect![[r#"
        `name`: `name` has no value: write `name = "send_mail"`
        `queue`: `queue` has no value: write `queue = "mail"`
    "#]],
    );
    check_args(
        "name: \"a\"",
        &expect![[r#"
        `:`: expected `=` or `,` here, as in `name = "send_mail"`
    "#]],
    );
    check_args(
        "name(\"a\")",
        &expect![[r#"
        `(`: expected `=` or `,` here, as in `name = "send_mail"`
    "#]],
    );
}

#[test]
fn arguments_behind_a_mistake_are_read() {
    check_args(
        "name = \"a\" \"b\", quue = \"c\"",
        &expect![[r#"
        `"b"`: expected `,` before the next argument
        `quue`: `#[job]` has no argument `quue`; did you mean `queue`?
    "#]],
    );
    check_args(
        "name = \"a\"; queue = \"B\"",
        &expect![[r#"
        `;`: expected `,` before the next argument
    "#]],
    );
    check_args(
        "nam = \"a\", retry = 5",
        &expect![[r#"
            `nam`: `#[job]` has no argument `nam`; did you mean `name`?
            `retry`: `#[job]` has no argument `retry`: write `max_attempts = 6`, which
                counts the first run and 5 retries
        "#]],
    );
    check_args(
        "timeout = \"1s\", timeout = \"2s\", timeout = \"3s\"",
        &expect![[r#"
        `timeout`: `timeout` is given twice: remove one
        `timeout`: `timeout` is given twice: remove one
    "#]],
    );
    check_args(
        ",",
        &expect![[r#"
        `,`: expected an argument such as `queue = "mail"`
    "#]],
    );
}

#[test]
fn values_of_the_wrong_type() {
    check_args(
        "name = 5, queue = mail, priority = 1",
        &expect![[r#"
        `5`: `name` takes a string: `name = "send_mail"`
        `mail`: `queue` takes a string: `queue = "mail"`
        `1`: `priority` takes "low", "normal", "high" or "critical": `priority = "high"`
    "#]],
    );
    check_args(
        "max_attempts = 5u8, max_crashes = 1.0",
        &expect![[r#"
        `5u8`: `max_attempts` takes a whole number from 1 to 1000: `max_attempts = 5`
        `1.0`: `max_crashes` takes a whole number from 1 to 1000: `max_crashes = 3`
    "#]],
    );
    check_args(
        "timeout = 30, expires = None, deadline = -1, retain = b\"1d\"",
        &expect![[r#"
        `30`: `timeout` takes a time as a string: `timeout = "30s"`
        `None`: `expires` takes a time as a string: `expires = "1h"`
        `-1`: `deadline` takes a time as a string: `deadline = "1d"`
        `b"1d"`: `retain` takes a time as a string: `retain = "7d"`
    "#]],
    );
    check_args(
        "aliases = [a, \"b\", \"b\", \"c d\"]",
        &expect![[r#"
        `a`: an alias is a string: `aliases = ["old_name"]`
        `"b"`: the alias `b` is given twice: remove one
        `"c d"`: job names are 1 to 128 bytes of `A-Z a-z 0-9 . _ : -`
          c d
           ^
    "#]],
    );
    check_args(
        "backoff = 5, upgrade = |v| v, version = \"1\", crate = \"a\"",
        &expect![[r#"
            `5`: `backoff` takes a string or the path of a `fn(u32) -> Duration`: `backoff
                = "exponential(5s, max 1h)"`
            `"a"`: `crate` takes a path: `crate = path::to::bgjob`
            `"1"`: `version` takes a whole number from 0 to 4294967295: `version = 1`
            `|v| v`: `upgrade` takes a path: `upgrade = path::of_a_function`
        "#]],
    );
    check_args(
        "upgrade = <A as B>::c, version = 1",
        &expect![[r#"
        `<A as B>::c`: `upgrade` takes a path: `upgrade = path::of_a_function`
    "#]],
    );
}

#[test]
fn values_out_of_range() {
    check_args(
        "max_attempts = 0, max_crashes = 1001, version = 4294967296",
        &expect![[r#"
        `0`: `max_attempts` takes a whole number from 1 to 1000: `max_attempts = 5`
        `1001`: `max_crashes` takes a whole number from 1 to 1000: `max_crashes = 3`
        `4294967296`: `version` takes a whole number from 0 to 4294967295: `version = 1`
    "#]],
    );
    check_args(
        "timeout = \"0s\", expires = \"0ms\", deadline = \"0d\"",
        &expect![[r#"
        `"0s"`: `timeout` can't be zero: leave it out for the default
        `"0ms"`: `expires` can't be zero: leave it out for the default
        `"0d"`: `deadline` can't be zero: leave it out for the default
    "#]],
    );
    check_args(
        "priority = \"High\"",
        &expect![[r#"
            `"High"`: `priority` takes "low", "normal", "high" or "critical"; did you mean
                `high`?
        "#]],
    );
}

#[test]
fn arguments_that_do_not_go_together() {
    check_args(
        "name = \"a\", aliases = [\"a\"]",
        &expect![[r#"
        `"a"`: the alias `a` is the job's own name: remove it
    "#]],
    );
    check_args(
        "aliases = [\"f\"]",
        &expect![[r#"
        `"f"`: the alias `f` is the job's own name: remove it
    "#]],
    );
    check_args(
        "upgrade = up",
        &expect![[r#"
            `upgrade`: `upgrade` turns older metadata into the current version: say which,
                `version = 1` or higher
        "#]],
    );
    check_args(
        "upgrade = up, version = -1",
        &expect![[r#"
        `-1`: `version` takes a whole number from 0 to 4294967295: `version = 1`
    "#]],
    );
    check_args(
        "blocking",
        &expect![[r#"
            `blocking`: `blocking` is for a plain `fn`: remove it, or the `async` before
                `fn`
        "#]],
    );
    check(
        "blocking = true",
        "fn f(_: ()) {}",
        &expect![[r#"
        `true`: `blocking` takes no value: write `blocking` alone
    "#]],
    );
}

#[test]
fn functions_that_are_no_jobs() {
    check_fn(
        "fn f(_: ()) {}",
        &expect![[r#"
            `fn`: a job must be an `async fn`; for code that blocks its thread say
                `#[job(blocking)]`
        "#]],
    );
    check_fn(
        "async fn f() {}",
        &expect![[r#"
        `f`: a job takes its metadata as first argument: write `_: ()` for none
    "#]],
    );
    check_fn(
        "async fn f(self: Box<Self>) {}",
        &expect![[r#"
            `self: Box<Self>`: a job is a free function, not a method: take what it needs
                as `State<T>`
        "#]],
    );
    check_fn(
        "async fn f<'a, T: X, const N: u8>(_: ()) where T: Y {}",
        &expect![[r#"
            `<'a, T: X, const N: u8>`: a job can't be generic: it is registered as one
                concrete function; call a generic one from it
        "#]],
    );
    check_fn(
        "async unsafe extern \"C\" fn f(_: ()) {}",
        &expect![[r#"
        `unsafe`: a job must be a plain `async fn`: remove this
        `extern "C"`: a job must be a plain `async fn`: remove this
    "#]],
    );
    check_fn(
        "/// Docs.\npub enum E {}",
        &expect![[r#"
        `pub`: `#[job]` goes on an `async fn`
    "#]],
    );
    check_fn(
        "",
        &expect![[r#"
        ``: `#[job]` goes on an `async fn`
    "#]],
    );
    check_fn(
        "async fn schön(_: ()) {}",
        &expect![[r#"
            `schön`: this can't be a job's name, which is 1 to 128 bytes of `A-Z a-z 0-9 .
                _ : -`: give one with `name = "…"`
        "#]],
    );
}

#[test]
fn types_that_are_not_concrete_or_borrow() {
    check_fn(
        "async fn f(_: &str, _: &mut A, _: (u8, &'static str)) {}",
        &expect![[r#"
            `&str`: metadata is decoded anew for each run, so take it by value
            `&mut A`: an extractor is made anew for each run, so take it by value
            `(u8, &'static str)`: an extractor is made anew for each run, so take it by
                value
        "#]],
    );
    check_fn(
        "async fn f(_: A<'_>, _: impl X) -> Vec<impl Y> {}",
        &expect![[r#"
        `A<'_>`: metadata is decoded anew for each run, so take it by value
        `impl X`: name a concrete extractor type instead of `impl Trait`
        `Vec<impl Y>`: name a concrete result type instead of `impl Trait`
    "#]],
    );
    check_fn(
        "async fn f(_: (), #[cfg(a)] _: A, #[cfg_attr(a, b)] _: B) {}",
        &expect![[r#"
        `#[cfg(a)]`: the arguments of a job can't depend on `cfg`
        `#[cfg_attr(a, b)]`: the arguments of a job can't depend on `cfg`
    "#]],
    );
}

#[test]
fn every_mistake_in_one_go() {
    check(
        "name = \"\", qeue = \"m\", timeout = \"30\", blocking",
        "async unsafe fn f<T>(&self, _: &T) {}",
        &expect![[r#"
            `qeue`: `#[job]` has no argument `qeue`; did you mean `queue`?
            `""`: job names are 1 to 128 bytes of `A-Z a-z 0-9 . _ : -`; this one is empty
            `"30"`: `30` has no unit: write `30s`, or use ms, m, h or d
            `blocking`: `blocking` is for a plain `fn`: remove it, or the `async` before
                `fn`
            `unsafe`: a job must be a plain `async fn`: remove this
            `<T>`: a job can't be generic: it is registered as one concrete function; call
                a generic one from it
            `&self`: a job is a free function, not a method: take what it needs as
                `State<T>`
            `&T`: metadata is decoded anew for each run, so take it by value
        "#]],
    );
}
