use bgjob::{JobItem, Json, Outcome, Registry, registry::JobDescriptor};

#[bgjob::job]
async fn written_short(_: ()) {}

// The same by hand.
struct WrittenOut;

static WRITTEN_OUT: JobDescriptor = JobDescriptor::new("written_out", |_| {
    Box::pin(async { Outcome::Success(Json::null()) })
})
.with_queue("slow");

impl JobItem for WrittenOut {
    const NAME: &'static str = "written_out";

    fn descriptor() -> &'static JobDescriptor {
        &WRITTEN_OUT
    }
}

fn main() {
    let jobs = Registry::new().with::<written_short>().with::<WrittenOut>();
    assert_eq!(jobs.len(), 2);
    assert_eq!(jobs.get("written_out").unwrap().queue(), "slow");
}
