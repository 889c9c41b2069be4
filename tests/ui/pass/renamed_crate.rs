extern crate bgjob as rt;

mod facade {
    pub mod inner {
        pub use rt::*;
    }
}

#[rt::job(crate = rt)]
async fn renamed(_: ()) {}

#[facade::inner::job(crate = crate::facade::inner, name = "reexported")]
async fn through_a_facade(_: String, _: facade::inner::JobContext) -> rt::Outcome {
    rt::Outcome::Success(())
}

fn main() {
    let jobs = rt::Registry::linked().unwrap();
    assert!(jobs.expect_jobs(["renamed", "reexported"]).is_ok());
}
