use bgjob::{extract::Attempts, prelude::*};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Pair {
    a: u32,
    b: u32,
}

#[job]
async fn add(
    Pair { a, b }: Pair,
    Attempts { this, .. }: Attempts,
    (mut ctx, _): (JobContext, Option<State<u8>>),
) -> Outcome<u32> {
    ctx = ctx.clone();
    drop(ctx);
    Outcome::Success(a + b + this)
}

#[job]
async fn with_attributes(#[allow(unused_variables)] metadata: (), mut _ctx: JobContext) {}

fn main() {}
