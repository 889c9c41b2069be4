//! Jobs that several areas use.

use bgjob::{JobContext, Outcome, Progress, Registry, State, job};

use super::{Probe, millis, pass};

/// Says what it is given.
#[job(name = "echo")]
pub(crate) async fn echo(n: u32) -> Outcome<u32> {
    Outcome::Success(n)
}

/// Takes so many milliseconds.
#[job(name = "takes", timeout = "1d")]
pub(crate) async fn takes(ms: u64, probe: State<Probe>) {
    let _inside = probe.enter();
    pass(millis(ms)).await;
}

/// Ends when the gate is opened for it.
#[job(name = "gated", timeout = "1d")]
pub(crate) async fn gated(word: String, probe: State<Probe>) -> Outcome<String> {
    let _inside = probe.enter();
    probe.gate().await;
    probe.say(word.as_str());
    Outcome::Success(word)
}

/// Ends when it is asked to, says why, and calls that an error.
#[job(name = "polite", timeout = "1d", backoff = "constant(5s)")]
pub(crate) async fn polite(_: (), probe: State<Probe>, ctx: JobContext) -> Result<(), String> {
    let _inside = probe.enter();
    ctx.report(Progress::of(1, 2));
    ctx.cancelled().await;
    probe.say(format!(
        "{:?}",
        ctx.cancel_reason().expect("there is a reason")
    ));
    Err("stopped half way".to_owned())
}

/// Never ends by itself and does not listen.
#[job(name = "stubborn", timeout = "1d", backoff = "constant(5s)")]
pub(crate) async fn stubborn(_: (), probe: State<Probe>) {
    let _inside = probe.enter();
    std::future::pending::<()>().await;
}

pub(crate) fn registry() -> Registry {
    Registry::new()
        .with::<echo>()
        .with::<takes>()
        .with::<gated>()
        .with::<polite>()
        .with::<stubborn>()
}
