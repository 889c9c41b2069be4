//! The list of all cases, in one place. The tests and the table are made from it.

/// Passes `area [needs] { case, … }` for all areas to the named macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __queue_cases {
    ($then:ident $args:tt) => {
        $crate::$then! { $args
            deliver [] {
                what_is_pushed_is_received,
                the_same_hint_may_be_pushed_again,
                a_thousand_hints_fit_one_push,
                an_empty_push_is_no_error,
                at_most_max_are_received,
                only_of_the_wanted_queues,
                a_full_queue_starves_no_other,
                an_empty_queue_is_waited_for_and_no_longer,
                no_wait_is_no_wait,
                a_push_ends_the_wait,
                a_receive_that_is_dropped_loses_nothing,
                two_receivers_share,
                ensure_may_be_repeated,
                every_allowed_name_is_a_queue,
                every_id_is_carried,
                depth_tells_about_how_many_wait,
            }
            settle [] {
                what_is_acknowledged_is_done_with,
                what_is_not_acknowledged_comes_again,
                only_what_is_acknowledged_is_done_with,
                unknown_receipts_are_ignored,
                an_ack_may_be_repeated,
                what_is_given_back_comes_again_at_once,
                what_is_given_back_for_later_waits,
                a_late_hint_ends_the_wait,
            }
            urgent [Priorities] {
                the_most_urgent_comes_first,
                a_late_urgent_hint_overtakes,
                a_hint_that_comes_again_keeps_its_priority,
            }
        }
    };
}

/// Turns `area [needs] { case, … }` into the table of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __queue_table {
    (() $($area:ident $needs:tt { $($case:ident,)* })*) => {
        /// Every case of the queue suite.
        ///
        /// ```
        /// assert!(bgjob_conformance::QUEUE_CASES.len() > 20);
        /// ```
        pub static QUEUE_CASES: &[QueueCase] = &[$($(
            QueueCase {
                area: stringify!($area),
                name: stringify!($case),
                needs: {
                    #[allow(unused_imports, reason = "some areas need nothing")]
                    use QueueCapability::*;
                    &$needs
                },
                run: |bundle| Box::pin($area::$case(bundle)),
            },
        )*)*];
    };
}
