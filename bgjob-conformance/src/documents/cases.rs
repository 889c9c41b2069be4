//! The list of all cases, in one place. The tests and the table are made from it.

/// Passes `area [] { case, … }` for all areas to the named macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __document_cases {
    ($then:ident $args:tt) => {
        $crate::$then! { $args
            insert [] {
                what_is_inserted_is_there,
                what_is_filed_nowhere_is_there_too,
                an_id_that_is_there_is_refused_and_stays_as_it_is,
                the_version_that_is_given_is_of_no_interest,
                of_two_of_one_id_in_a_batch_the_first_is_stored,
                what_is_taken_hurts_no_neighbour,
                an_id_is_free_when_it_was_deleted,
            }
            replace [] {
                body_and_keys_are_replaced,
                an_old_version_is_refused_and_nothing_changes,
                what_is_missing_is_a_conflict_and_is_not_made,
                a_conflict_hurts_no_neighbour,
            }
            delete [] {
                what_is_deleted_is_gone,
                an_old_version_deletes_nothing,
                what_is_missing_is_a_conflict,
                a_conflict_hurts_no_neighbour,
            }
            versions [] {
                every_write_gives_a_new_one,
                none_comes_twice,
                one_from_before_a_delete_is_old,
                reading_changes_none,
            }
            batches [] {
                an_empty_batch_is_no_error,
                get_answers_in_the_order_of_the_ids,
                two_thousand_documents_fit_one_batch,
                another_runtime_may_call,
            }
            scan [] {
                a_document_is_found_under_each_of_its_keys,
                a_replaced_document_is_found_under_its_new_keys_alone,
                the_range_begins_with_its_first_key_and_ends_before_its_last,
                keys_come_in_the_order_of_their_bytes,
                documents_of_one_key_come_in_the_order_of_their_ids,
                pages_follow_each_other,
                a_cursor_that_is_gone_is_a_place_still,
            }
            list [] {
                documents_come_in_the_order_of_their_ids,
                it_shows_what_get_shows,
                pages_follow_each_other,
                a_cursor_that_is_gone_is_a_place_still,
            }
            bodies [] {
                every_byte_is_kept,
                a_large_one_is_kept,
                the_largest_one_is_kept,
                the_longest_keys_are_kept,
            }
            races [] {
                of_many_inserts_of_one_id_one_wins,
                of_many_replaces_of_one_version_one_wins,
                of_a_delete_and_a_replace_one_wins,
                no_change_is_lost,
                batches_that_cross_both_end,
                a_reader_never_goes_back,
                keys_never_lag_behind,
            }
            drops [] {
                a_dropped_insert_leaves_it_whole,
                a_dropped_replace_leaves_it_whole,
                a_dropped_delete_leaves_it_whole,
            }
        }
    };
}

/// Turns `area [] { case, … }` into the table of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __document_table {
    (() $($area:ident [] { $($case:ident,)* })*) => {
        /// Every case of the suite of document stores.
        ///
        /// ```
        /// assert!(bgjob_conformance::DOCUMENT_CASES.len() > 40);
        /// ```
        pub static DOCUMENT_CASES: &[DocumentCase] = &[$($(
            DocumentCase {
                area: stringify!($area),
                name: stringify!($case),
                run: |bundle| Box::pin($area::$case(bundle)),
            },
        )*)*];
    };
}
