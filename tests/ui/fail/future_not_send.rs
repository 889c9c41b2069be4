use bgjob::prelude::*;

use std::rc::Rc;

#[job]
async fn greet(_: String) {
    let shared = Rc::new(1);
    later().await;
    drop(shared);
}

async fn later() {}

fn main() {}
