#![deny(warnings)]

use bgjob::{Registry, prelude::*};

/// Not used any more, but old jobs still run.
#[job]
#[deprecated(note = "use `greet_all`")]
pub async fn greet(_: ()) {}

#[job]
#[cfg_attr(all(), deprecated)]
pub async fn shout(_: ()) {}

fn main() {
    assert_eq!(Registry::linked().unwrap().len(), 2);
    #[allow(deprecated)]
    let (greet, shout) = (greet::NAME, shout::NAME);
    assert_eq!([greet, shout], ["greet", "shout"]);
}
