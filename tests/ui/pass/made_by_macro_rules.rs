use bgjob::{JobItem, Registry, prelude::*};

macro_rules! noop {
    ($($name:ident in $queue:literal for $span:literal, $($tries:expr)?;)*) => {$(
        #[job(queue = $queue, timeout = $span $(, max_attempts = $tries)?)]
        async fn $name(_: ()) {}
    )*};
}

noop! {
    first in "a" for "1s",;
    second in "b" for "2s", 3;
}

fn main() {
    let jobs = Registry::new().with::<first>().with::<second>();
    assert_eq!(jobs.check().map(|()| jobs.len()).unwrap(), 2);
    assert_eq!(second::descriptor().max_attempts(), 3);
    assert_eq!(first::descriptor().queue(), "a");
}
