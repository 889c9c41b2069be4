use bgjob::prelude::*;

mod jobs {
    #[bgjob::job]
    pub async fn report(report: String) -> bgjob::Outcome<usize> {
        bgjob::Outcome::Success(report.len())
    }
}

use jobs::report;

struct Reports {
    report: String,
}

fn enqueue(manager: &JobManager, reports: Reports) {
    let report = reports.report;
    let _ = report::enqueue(manager, report);
    let _ = jobs::report::enqueue_all(manager, ["a".to_owned(), "b".to_owned()]);
}

fn call<F: Future>(function: fn(String) -> F) -> F {
    function(String::new())
}

fn main() {
    let _ = enqueue;
    drop(call(report));
    drop(["a".to_owned()].map(report));
    assert_eq!(std::mem::size_of::<report>(), 0);
}
