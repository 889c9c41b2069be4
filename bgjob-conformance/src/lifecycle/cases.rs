//! The list of all cases, in one place. The tests and the table are made from it.

/// Passes `area [needs] { case, … }` for all areas to the named macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __lifecycle_cases {
    ($then:ident $args:tt) => {
        $crate::$then! { $args
            run [] {
                each_job_ends_once_with_its_result,
                a_delayed_job_starts_at_its_time,
                a_delay_of_another_process_ends_within_its_promise,
                a_short_delay_of_another_process_is_heard_of_soon,
                an_error_is_tried_again,
                too_many_errors_end_it,
            }
            unique [Unique] {
                of_one_key_one_job_lives,
                a_key_belongs_to_its_function,
            }
            runtimes [] {
                one_that_ends_fails_nobody_else_s_enqueue,
            }
            cancel [] {
                a_waiting_job_never_starts,
                a_running_job_hears_of_it,
            }
            heard [Wakes] {
                a_cancel_is_heard_long_before_the_next_renewal,
            }
            share [] {
                two_dispatchers_work_at_the_same_time,
                an_urgent_job_of_a_new_kind_waits_for_no_backlog,
            }
            leases [] {
                a_job_longer_than_its_lease_is_left_alone,
            }
            shutdown [] {
                what_is_not_done_is_given_back_at_no_cost,
            }
            lost [] {
                its_jobs_are_taken_over,
                one_that_comes_back_changes_nothing,
            }
        }
    };
}

/// Turns `area [needs] { case, … }` into the table of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __lifecycle_table {
    (() $($area:ident $needs:tt { $($case:ident,)* })*) => {
        /// Every case of the lifecycle suite.
        ///
        /// ```
        /// assert!(bgjob_conformance::LIFECYCLE_CASES.len() > 10);
        /// ```
        pub static LIFECYCLE_CASES: &[LifecycleCase] = &[$($(
            LifecycleCase {
                area: stringify!($area),
                name: stringify!($case),
                needs: {
                    #[allow(unused_imports, reason = "some areas need nothing")]
                    use StoreCapability::*;
                    &$needs
                },
                run: |bundle| Box::pin($area::$case(bundle)),
            },
        )*)*];
    };
}
