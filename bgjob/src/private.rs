//! The code that `#[job]` generates calls these items. They are not part of the API.
//!
//! Everything here is generic and small: the code of one job is a few calls, so that hundreds of
//! jobs compile fast.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde_json::Value;
use tokio::{runtime::Handle, sync::oneshot};

#[allow(
    unused_imports,
    unreachable_pub,
    reason = "empty where jobs are not collected by the linker"
)]
pub use crate::registry::linked::section::*;
pub use crate::{
    __perform as perform, __read_back as read_back, __register as register,
    __register_signature as register_signature,
};
use crate::{
    BoxError, IntoOutcome, JobContext, Json, Metadata, Outcome,
    events::Origin,
    extract::{self, current},
    job::FailureKind,
    registry::{JobDescriptor, ReadBack},
    task,
};

/// `send_welcome::perform`, if bgjob is built for tests.
#[cfg(feature = "testing")]
#[doc(hidden)]
#[macro_export]
macro_rules! __perform {
    ($perform:ident, $metadata:ty, $returns:ty, $descriptor:expr) => {
        /// Runs one attempt without store and dispatcher, when the returned value is awaited.
        #[allow(unreachable_pub, reason = "as visible as the job it belongs to")]
        pub fn $perform(metadata: $metadata) -> $crate::testing::Perform<$metadata, $returns> {
            $crate::testing::Perform::new($descriptor, metadata)
        }
    };
}

#[cfg(not(feature = "testing"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __perform {
    ($($not:tt)*) => {};
}

/// Checks that metadata of this type can be read back. Does nothing for a type that can't be
/// metadata; another check reports that.
#[doc(hidden)]
#[macro_export]
macro_rules! __read_back {
    ($metadata:ty) => {{
        #[allow(unused_imports)]
        use $crate::__private::NotReadBack as _;
        $crate::__private::ReadBackOf::<$metadata>::CHECK
    }};
}

#[doc(hidden)]
#[allow(missing_debug_implementations)]
pub struct ReadBackOf<M>(std::marker::PhantomData<M>);

#[doc(hidden)]
#[allow(missing_docs)]
pub trait NotReadBack {
    const CHECK: Option<ReadBack> = None;
}

impl<M> NotReadBack for ReadBackOf<M> {}

#[doc(hidden)]
#[allow(missing_docs)]
impl<M: Metadata> ReadBackOf<M> {
    pub const CHECK: Option<ReadBack> = Some(|json| json.decode::<M>().map(drop));
}

/// The first argument of the function.
#[doc(hidden)]
pub fn metadata<M: Metadata>(ctx: &JobContext, job: &JobDescriptor) -> Result<M, Outcome<Json>> {
    extract::decode(ctx, job.version(), job.upgrade())
}

/// Checks that the first argument of the signature can be a job's.
#[doc(hidden)]
pub const fn is_metadata<M: Metadata>() {}

/// Checks that the signature returns a type that a job may return.
#[doc(hidden)]
pub const fn is_result<R: IntoOutcome>() {}

/// A further argument failed. A `JobError` says what happens next, as it does when a handler
/// returns it.
#[doc(hidden)]
pub fn not_extracted(error: impl Into<BoxError>) -> Outcome<Json> {
    let mut outcome = Outcome::from_error(error.into().as_ref());
    if let Outcome::Retry { failure, .. } | Outcome::Abort { failure, .. } = &mut outcome {
        failure.kind = FailureKind::Extract;
    }
    outcome
}

/// Calls `upgrade = …` and boxes its error.
#[doc(hidden)]
pub fn upgrade<E: Into<BoxError>>(
    upgrade: fn(Value, u32) -> Result<Value, E>,
    value: Value,
    version: u32,
) -> Result<Value, BoxError> {
    upgrade(value, version).map_err(Into::into)
}

/// Converts the function's return value to the dispatcher's type.
#[doc(hidden)]
pub fn outcome<R: IntoOutcome>(returned: R) -> Outcome<Json> {
    returned.into_outcome().encode()
}

/// Runs a function off the async threads, within the same runtime, span and job. A panic of the
/// function continues here. Neither the runtime nor the process waits for the thread when it ends.
#[doc(hidden)]
pub async fn blocking<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
    let (answer, answered) = oneshot::channel();
    let (runtime, place, mut job) = (Handle::try_current(), Origin::here(), current::job());
    let work = move || {
        let _inside = runtime.as_ref().map(Handle::enter);
        let run = || current::within(&mut job, run);
        let returned = catch_unwind(AssertUnwindSafe(|| place.run(run)));
        // The receiver may be gone.
        let _ = answer.send(returned);
    };
    let _time = task::hold_time();
    let start = move || {
        if let Err(error) = task::on_thread(work) {
            panic!("there is no thread for blocking code: {error}");
        }
    };
    if task::is_simulated() {
        // Starts once its slot rests, so that a run has the same waits however fast the thread is.
        drop(task::spawn(async move { start() }));
    } else {
        start();
    }
    match answered.await {
        Ok(Ok(returned)) => returned,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => unreachable!("whatever becomes of the function is sent"),
    }
}

#[cfg(all(test, feature = "macros"))]
mod tests {
    use std::{any::TypeId, collections::BTreeMap, future::poll_fn, sync::Arc, task::Poll};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{
        JobId, JobItem, Timestamp,
        extract::{Attempts, Fence, Headers, HeldJob, Services, State, Tags},
        job::{ClaimedJob, DeadReason, Token},
        prelude::*,
    };

    /// Runs a handler as a slot does, with this metadata of this version.
    async fn run<T: JobItem>(metadata: &str, version: u32, services: Services) -> Outcome<Json> {
        let mut spec = T::descriptor().spec(Json::parse(metadata).expect("JSON"));
        spec.version = version;
        spec.headers = BTreeMap::from([("tenant".to_owned(), "7".to_owned())]);
        spec.tags = vec!["blue".to_owned()];
        let (id, spec) = (JobId::from_key("one"), Arc::new(spec));
        let mut job = ClaimedJob::new(id, spec, Token::random(), Timestamp::MIN);
        job.fence = 9;
        job.errors = 1;
        let claimed = tokio::time::Instant::now();
        let ctx = JobContext::new(Arc::new(HeldJob::new(job, Arc::new(services), claimed)));
        (T::descriptor().handler())(ctx).await
    }

    async fn check<T: JobItem>(metadata: &str, result: &str) {
        match run::<T>(metadata, T::descriptor().version(), Services::default()).await {
            Outcome::Success(json) => assert_eq!(json.as_str(), result),
            other => panic!("{other:?}"),
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Pair {
        a: u32,
        b: u32,
    }

    #[job]
    async fn add(Pair { a, b }: Pair) -> Outcome<u32> {
        Outcome::Success(a + b)
    }

    #[tokio::test]
    async fn metadata_goes_in_and_a_result_comes_out() {
        check::<add>(r#"{"a":2,"b":3}"#, "5").await;
        // The function itself can still be called.
        assert_eq!(add(Pair { a: 1, b: 1 }).await, Outcome::Success(2));
    }

    #[tokio::test]
    async fn metadata_that_cannot_be_read_is_dead_and_not_quoted() {
        match run::<add>(r#"{"a":"secret"}"#, 0, Services::default()).await {
            Outcome::Abort { failure, reason } => {
                assert_eq!(failure.kind, FailureKind::Decode);
                assert_eq!(reason, DeadReason::Decode);
                assert!(!format!("{failure:?}").contains("secret"), "{failure:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[job(version = 2, upgrade = from_words)]
    async fn upgraded(number: u32) -> Outcome<u32> {
        Outcome::Success(number)
    }

    #[allow(clippy::needless_pass_by_value, reason = "an upgrade takes its value")]
    fn from_words(value: Value, version: u32) -> Result<Value, crate::Error> {
        match (version, value.as_str()) {
            (0, Some("one")) => Ok(1.into()),
            (1, Some(_)) => Ok("still words".into()),
            _ => Err(crate::Error::invalid("unknown word")),
        }
    }

    #[tokio::test]
    async fn older_metadata_is_upgraded_and_current_is_not() {
        check::<upgraded>("7", "7").await;
        let mut outcomes = Vec::new();
        for (metadata, version) in [("\"one\"", 0), ("\"one\"", 1), ("\"two\"", 0)] {
            outcomes.push(run::<upgraded>(metadata, version, Services::default()).await);
        }
        let says = |outcome: &Outcome<Json>| match outcome {
            Outcome::Success(json) => json.as_str().to_owned(),
            Outcome::Abort { failure, .. } => failure.message().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            outcomes.iter().map(says).collect::<Vec<_>>(),
            [
                "1",
                "the upgraded metadata does not fit the type: expected u32, found a string \
                 (version: 1)",
                "unknown word"
            ]
        );
    }

    #[job]
    async fn parts(
        _: (),
        ctx: JobContext,
        id: JobId,
        (attempts, fence): (Attempts, Fence),
        (headers, tags): (Headers, Tags),
        (priority, none): (Priority, Option<State<u8>>),
        stop: crate::extract::CancellationToken,
    ) {
        assert_eq!((ctx.id(), ctx.fence()), (id, fence.0));
        assert_eq!((attempts.this, attempts.is_last()), (2, false));
        assert_eq!((&*headers["tenant"], &*tags[0]), ("7", "blue"));
        assert_eq!(priority, Priority::Normal);
        assert!(none.is_none() && !stop.is_cancelled());
    }

    #[tokio::test]
    async fn each_part_of_the_context_is_an_argument() {
        check::<parts>("null", "null").await;
    }

    #[job]
    async fn count(_: (), service: State<u64>) -> Outcome<u64> {
        Outcome::Success(*service)
    }

    #[tokio::test]
    async fn a_service_is_found_by_its_type_or_missed_by_name() {
        let services = Services::from([(TypeId::of::<u64>(), Arc::new(5_u64) as _)]);
        assert!(matches!(
            run::<count>("null", 0, services).await,
            Outcome::Success(_)
        ));
        match run::<count>("null", 0, Services::default()).await {
            Outcome::Retry {
                failure,
                after: None,
            } => {
                assert_eq!(failure.kind, FailureKind::Extract);
                assert!(
                    failure.message().contains("add `.state(u64)`"),
                    "{failure:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    struct Busy;

    impl FromContext for Busy {
        type Error = JobError;

        /// Waits, and then returns an error that says what to do.
        async fn from_context(ctx: &JobContext) -> Result<Self, JobError> {
            let mut first = true;
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if std::mem::take(&mut first) {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            Err(JobError::snooze(std::time::Duration::from_secs(
                ctx.fence(),
            )))
        }
    }

    #[job]
    async fn busy(_: (), _: Busy) {}

    #[tokio::test]
    async fn an_extractor_may_wait_and_snooze() {
        let outcome = run::<busy>("null", 0, Services::default()).await;
        assert_eq!(outcome, Outcome::Snooze(std::time::Duration::from_secs(9)));
    }

    #[job(blocking)]
    fn thread_name(panics: bool, _: JobContext) -> Outcome<bool> {
        assert!(!panics, "as told");
        Outcome::Success(tokio::runtime::Handle::try_current().is_ok())
    }

    #[tokio::test]
    async fn blocking_code_runs_elsewhere_and_its_panic_arrives() {
        check::<thread_name>("false", "true").await;
        let running = tokio::spawn(run::<thread_name>("true", 0, Services::default()));
        let panic = running.await.expect_err("as told").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"as told"));
        assert!(thread_name::descriptor().is_blocking());
    }

    #[job(name = "all", aliases = ["old"], queue = "q", priority = "high", max_attempts = 7,
        max_crashes = 2, backoff = "linear(2s, max 3s, no jitter)", timeout = "1m",
        expires = "1h", deadline = "1d", retain = "0s", version = 3)]
    async fn all_options(_: ()) {}

    #[test]
    fn the_attribute_s_arguments_reach_the_descriptor() {
        let job = all_options::descriptor();
        let spec = job.spec(Json::null());
        assert_eq!((all_options::NAME, job.aliases()), ("all", &["old"][..]));
        assert_eq!((&*spec.name, &*spec.queue), ("all", "q"));
        assert_eq!((spec.priority, spec.version), (Priority::High, 3));
        assert_eq!((spec.max_attempts, spec.max_crashes), (7, 2));
        assert_eq!(format!("{:?}", job.backoff()), "linear(2s, max 3s)");
        assert_eq!(job.backoff().jittered(1, 0.0).as_secs(), 2);
        let seconds = [
            Some(job.timeout()),
            spec.expires,
            spec.deadline,
            Some(spec.retain),
        ];
        assert_eq!(
            seconds.map(|d| d.map_or(0, |d| d.as_secs())),
            [60, 3600, 86400, 0]
        );
    }

    #[test]
    fn a_descriptor_knows_where_its_attribute_is() {
        let line = line!() + 1;
        #[job]
        async fn here(_: ()) {}
        let here = here::descriptor();
        assert_eq!((here.file(), here.line()), (file!(), line));
    }
}
