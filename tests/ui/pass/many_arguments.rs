use bgjob::{
    JobId,
    extract::{Attempts, CancellationToken, Fence, Headers, Tags},
    prelude::*,
};

#[job]
async fn everything(
    _: (),
    _: JobContext,
    _: JobId,
    _: Priority,
    _: Attempts,
    _: Fence,
    _: Headers,
    _: Tags,
    _: CancellationToken,
    _: State<u8>,
    _: State<String>,
    _: Option<State<u16>>,
    _: (Fence, Tags, (JobId, Option<Headers>)),
) {
}

fn main() {}
