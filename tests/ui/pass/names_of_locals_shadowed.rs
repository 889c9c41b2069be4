#![allow(non_upper_case_globals)]

use bgjob::prelude::*;

const ctx: u8 = 1;
const value: u8 = 2;
static outcome: u8 = 3;

#[job]
async fn greet(name: String, context: JobContext) -> Outcome<String> {
    assert_eq!(ctx + value + outcome, 6);
    Outcome::Success(format!("{name} {}", context.id()))
}

fn main() {}
