use bgjob::prelude::*;

use std::rc::Rc;

#[job(blocking)]
fn greet(_: String) -> Outcome<Rc<str>> {
    Outcome::Success("".into())
}

fn main() {}
