use bgjob::prelude::*;

use std::rc::Rc;

#[job(blocking)]
fn greet(_: String) -> Result<Rc<str>, JobError> {
    Ok("".into())
}

fn main() {}
