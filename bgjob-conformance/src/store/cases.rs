//! The list of all cases, in one place. The tests and the table are made from it.

/// Passes `area [needs] { case, … }` for all areas to the named macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_cases {
    ($then:ident $args:tt) => {
        $crate::$then! { $args
            create [] {
                a_job_is_stored_as_it_was_given,
                every_priority_comes_back,
                a_delay_counts_from_when_it_is_stored,
                a_given_time_is_kept_to_the_millisecond,
                a_time_that_has_passed_is_due_at_once,
                expires_and_deadline_count_from_due,
                a_repeat_answers_exists,
                a_repeat_is_known_by_its_id_and_name,
                a_repeat_while_it_runs_answers_exists,
                a_repeat_after_the_end_starts_nothing,
                a_repeat_under_a_new_name_answers_exists,
                an_id_with_another_name_is_taken,
                a_repeat_after_an_edit_answers_exists,
                answers_come_in_the_order_of_the_input,
                one_bad_element_hurts_no_neighbour,
                the_same_job_twice_in_a_batch_is_stored_once,
                two_jobs_of_one_id_in_a_batch_are_one_job,
                an_empty_batch_is_no_error,
                a_thousand_jobs_fit_one_batch,
                ids_of_ones_own_are_ids_like_others,
                a_far_future_job_waits,
            }
            unique [Unique] {
                a_waiting_job_has_its_key_to_itself,
                a_refused_job_is_not_stored,
                a_key_spans_names_and_queues,
                keys_are_compared_byte_by_byte,
                the_holders_repeat_answers_exists,
                of_two_in_one_batch_the_first_gets_it,
                a_running_or_retrying_job_keeps_its_key,
                success_frees_the_key,
                death_frees_the_key,
                cancelling_frees_the_key,
                vanishing_frees_the_key,
                the_sweepers_ends_free_the_key,
                a_requeue_is_refused_while_another_has_the_key,
                a_requeue_takes_its_key_again,
                an_old_holder_that_is_purged_leaves_the_new_one_its_key,
                the_key_comes_back_with_the_job,
            }
            large [] {
                claims_by_id_bring_no_more_than_a_batch,
                a_large_job_comes_alone,
            }
            large_ready [ReadyScan] {
                a_claim_brings_no_more_than_a_batch,
                headers_and_tags_count_too,
                what_a_claim_has_no_room_for_is_left_as_it_is,
                a_repeat_brings_no_more_than_a_batch,
            }
            claim [] {
                a_claim_hands_the_job_out,
                a_claimed_job_is_running,
                a_running_job_is_busy,
                an_expired_lease_is_busy_until_it_is_revoked,
                a_job_is_never_early,
                an_unknown_job_is_missing,
                what_is_over_is_terminal,
                an_unknown_name_is_not_served,
                a_newer_version_is_not_served,
                an_older_version_is_served,
                an_alias_is_a_name_like_others,
                names_are_compared_whole,
                nothing_is_served_by_who_serves_nothing,
                each_grant_has_a_greater_fence,
                what_is_past_expires_is_not_claimed,
                what_is_past_its_deadline_is_not_claimed,
                a_retry_is_claimed_after_expires,
                a_suspect_is_claimed_only_where_it_is_wanted,
                one_of_three_crashes_makes_no_suspect,
                a_call_claims_one_suspect_at_most,
                answers_come_in_the_order_of_the_input,
                an_empty_batch_is_no_error,
                a_thousand_jobs_fit_one_batch,
            }
            grants [] {
                a_repeated_claim_is_answered_again,
                repeat_set_makes_no_difference_by_id,
                an_id_twice_in_one_call_is_claimed_once,
                a_repeat_for_a_job_that_has_ended_is_refused,
                a_repeat_for_a_job_somebody_else_has_is_refused,
                jobs_of_one_grant_end_each_by_itself,
                an_old_grant_reaches_nothing_after_an_error,
                an_old_grant_reaches_nothing_after_a_release,
                an_old_grant_reaches_nothing_after_a_snooze,
                an_old_grant_reaches_nothing_after_a_revoke,
                an_old_grant_reaches_nothing_after_a_requeue,
                an_old_grant_reaches_nothing_after_its_batch_went_on,
            }
            ready_suspects [ReadyScan] {
                what_has_chances_left_is_claimed_like_any_other,
                suspects_hide_nobody_behind_them,
                suspects_are_claimed_one_at_a_time,
                a_suspect_that_is_too_late_hides_no_other,
                one_suspect_a_call_over_all_its_queues,
            }
            ready [ReadyScan] {
                what_is_ready_is_claimed,
                the_most_urgent_goes_first,
                then_the_one_that_is_due_longest,
                priority_counts_more_than_age,
                the_order_holds_across_names_and_versions,
                a_delayed_job_takes_its_place_when_it_is_due,
                a_retry_comes_back_at_its_time,
                a_released_job_keeps_its_place,
                at_most_max_of_each_queue,
                only_of_the_wanted_queues,
                none_are_claimed_where_none_are_wanted,
                who_runs_or_is_over_is_not_claimed,
                the_unserved_are_passed_over,
                an_edited_version_finds_its_worker,
                the_too_late_are_passed_over,
                a_rescheduled_job_moves,
                a_cancelled_job_is_gone_from_the_row,
                a_claim_by_id_takes_it_out_of_the_row,
                a_requeued_job_comes_back,
                page_by_page_each_job_comes_once,
                a_repeat_answers_first_what_is_held,
                a_repeat_leaves_out_what_has_left,
                a_repeat_that_never_arrived_is_a_claim,
                without_repeat_a_token_takes_more,
                finish_and_claim_does_both,
                finish_and_claim_without_ends_claims,
                finish_and_claim_may_take_what_it_gave_back,
                queues_with_like_names_are_apart,
            }
            next_due [ReadyScan, NextDue] {
                none_where_nothing_waits,
                the_time_to_the_next_job,
                it_comes_with_the_jobs_that_are_ready,
                none_while_more_are_ready,
                a_retry_counts,
                the_unserved_do_not_count,
                suspects_count_where_one_is_wanted,
                what_has_chances_left_counts_in_any_case,
                other_queues_do_not_count,
                the_soonest_of_all_wanted_queues,
                years_are_told_too,
            }
            finish [] {
                success_keeps_the_result,
                a_repeated_finish_changes_nothing,
                a_second_end_does_not_replace_the_first,
                a_wrong_token_is_lost,
                what_is_not_running_is_lost,
                an_error_waits_for_the_next_attempt,
                an_error_is_kept_in_the_history,
                the_last_error_of_the_budget_is_death,
                never_again_is_death_for_its_reason,
                a_retry_past_the_deadline_is_death,
                the_first_error_ends_expires_but_not_the_deadline,
                what_has_started_does_not_expire,
                success_ends_expires_too,
                a_release_costs_nothing,
                a_snooze_costs_nothing,
                counters_stay_over_releases_and_snoozes,
                what_is_cancelled_does_not_run_again,
                success_counts_although_cancelled,
                a_late_finish_counts_if_nobody_revoked,
                a_finish_after_a_revoke_is_lost,
                a_finish_after_death_by_crashes_is_lost,
                a_batch_answers_in_order_and_one_bad_end_hurts_nobody,
                a_job_twice_in_a_batch_ends_once,
                an_empty_batch_is_no_error,
                the_history_keeps_the_last_attempts,
            }
            damage [] {
                a_claim_passes_it_over,
                a_repeated_claim_returns_the_others,
                a_sweep_goes_on_with_the_others,
                a_purge_goes_on_with_the_others,
            }
            vanish [] {
                success_deletes_at_once,
                a_repeated_create_starts_nothing,
                the_id_is_free_when_it_is_forgotten,
                remembered_ids_are_no_jobs,
                a_repeated_finish_is_lost_or_the_same,
                a_late_claim_gets_nothing,
                an_operator_finds_nothing,
                a_cancelled_job_vanishes_too,
                a_dead_job_stays,
                its_id_is_its_own_even_with_other_content,
            }
            renew [] {
                a_renewal_moves_the_lease_on,
                a_renewed_job_is_not_revoked,
                only_the_renewed_of_a_batch_stay,
                a_renewal_never_shortens_a_lease,
                progress_is_stored,
                progress_stays_with_what_came_of_it,
                the_wish_to_end_comes_with_the_answer,
                an_expired_lease_can_be_renewed,
                a_revoked_job_is_lost,
                a_wrong_token_is_lost,
                what_is_not_running_is_lost,
                a_batch_answers_in_order,
                an_empty_batch_is_no_error,
            }
            sweep [] {
                a_lease_that_ran_out_is_revoked,
                a_job_is_revoked_once,
                a_lease_that_runs_is_left_alone,
                the_margin_is_waited_for,
                each_crash_waits_longer_and_the_last_is_death,
                errors_and_crashes_have_budgets_of_their_own,
                the_policys_waits_are_used,
                a_policy_without_waits_waits_not_at_all,
                a_cancelled_job_that_crashes_is_cancelled,
                a_crash_ends_expires_but_not_the_deadline,
                what_is_past_expires_is_dead,
                what_is_past_its_deadline_is_dead,
                a_retry_that_waits_past_its_deadline_is_dead,
                a_running_job_is_not_expired,
                a_delayed_job_expires_after_it_was_due,
                the_limit_bounds_all_of_it,
                an_empty_store_has_nothing_to_sweep,
            }
            touch [] {
                a_job_that_waits_is_hinted_at,
                without_a_queue_there_are_no_hints,
                a_store_that_gets_a_queue_finds_what_waits,
                hints_come_ever_more_seldom,
                a_delayed_job_is_hinted_at_when_it_is_due,
                a_retry_is_hinted_at_when_it_is_due,
                who_runs_or_is_over_is_not_hinted_at,
                a_crashed_job_is_hinted_at_after_its_backoff,
                a_rescheduled_job_is_hinted_at_at_its_new_time,
                a_requeued_job_is_hinted_at,
                the_limit_bounds_hints_too,
            }
            operate [] {
                an_unknown_job_is_missing,
                cancel_ends_a_waiting_job,
                cancel_flags_a_running_job,
                cancel_twice_is_cancel_once,
                cancel_does_not_undo_an_end,
                requeue_starts_a_new_epoch,
                a_requeued_job_runs_to_a_new_end,
                requeue_forgets_progress_and_crashes,
                requeue_for_later_waits,
                requeue_is_for_what_is_over,
                reschedule_moves_a_waiting_job,
                reschedule_of_a_retry_leaves_its_deadline,
                reschedule_does_not_let_a_started_job_expire,
                reschedule_is_for_what_waits,
                edit_replaces_the_metadata,
                an_edit_of_an_old_version_is_stale,
                edit_is_for_what_waits,
                the_ver_is_the_operators_alone,
                delete_forgets_what_is_over,
                delete_is_for_what_is_over,
                a_deleted_id_is_free,
                an_old_token_does_not_reach_a_requeued_job,
            }
            many [] {
                each_operation_has_its_answer,
                operations_on_one_job_come_one_after_the_other,
                what_one_ends_another_requeues,
                a_thousand_operations_fit_one_batch,
                no_operations_are_no_error,
            }
            many_unique [Unique] {
                of_two_of_one_key_the_first_is_requeued,
                a_key_is_looked_for_by_each_requeue,
                a_key_that_is_freed_before_is_free,
                keys_of_many_come_back,
            }
            list [] {
                get_answers_in_the_order_of_the_input,
                an_empty_store_lists_nothing,
                jobs_are_listed_by_their_ids,
                a_listed_job_is_the_whole_job,
                pages_follow_each_other,
                a_cursor_need_not_be_a_job,
                a_cursor_stands_while_jobs_come_and_go,
                filters_are_exact,
                a_filter_by_queue,
                a_filter_by_name,
                a_filter_by_state,
                filters_hold_together_and_over_pages,
                counts_follow_every_change,
            }
            filters [] {
                a_list_goes_both_ways,
                a_cursor_stands_both_ways,
                the_ends_of_all_ids_are_listed,
                several_names,
                by_the_reason_of_death,
                by_time,
                by_the_text_of_the_last_error,
                every_filter_finds_what_fits,
            }
            counts [] {
                an_empty_store_counts_nothing,
                queues_and_names_are_apart,
                what_is_due_is_told_from_what_is_delayed,
                what_backs_off_is_told_from_what_is_delayed,
                what_crashed_backs_off,
                the_age_of_the_oldest_due_job_is_told,
                ends_are_counted_whatever_they_came_from,
                what_leaves_its_end_is_not_counted_there,
            }
            purge [] {
                a_job_is_kept_until_its_time,
                a_moment_too_early_is_too_early,
                each_is_kept_as_long_as_it_asks_for,
                the_dead_are_kept_for_thirty_days,
                live_jobs_are_never_purged,
                a_purge_is_bounded_and_says_how_many,
                a_requeued_job_is_not_purged_at_its_old_time,
                a_purged_id_is_free,
                what_the_sweeper_ended_is_purged_like_the_rest,
            }
            edges [] {
                metadata_at_the_limit_is_taken,
                metadata_over_the_limit_is_rejected_alone,
                a_result_at_the_limit_is_kept,
                headers_and_tags_at_the_limit_are_kept,
                the_longest_names_are_kept,
                the_largest_failure_is_kept,
                every_kind_of_failure_comes_back,
                the_longest_note_is_kept,
                a_note_that_is_too_long_is_cut,
                a_failure_that_is_too_large_is_cut,
                the_largest_budgets_and_spans_are_kept,
                the_longest_waits_are_kept,
                spans_shorter_than_a_millisecond_are_not_lost,
            }
            odd [] {
                metadata_comes_back_as_it_was_spelled,
                texts_within_metadata_come_back,
                deep_metadata_comes_back,
                results_come_back_as_they_were_spelled,
                edited_metadata_comes_back,
                headers_come_back,
                tags_come_back_in_their_order,
                errors_come_back,
                notes_come_back,
                names_of_every_allowed_character,
                odd_jobs_live_like_others,
            }
            workers [] {
                what_a_worker_is_called_is_kept_or_not_known,
            }
            waking [Wakes] {
                a_new_job_wakes,
                an_earlier_due_time_wakes,
                a_retry_wakes,
                a_release_wakes,
                a_revoke_wakes,
                an_operator_wakes,
                every_waiter_is_woken,
                a_wait_that_is_dropped_takes_no_wake_up_along,
                every_end_wakes,
                the_sweepers_ends_wake,
                vanishing_wakes,
                a_cancel_wakes_those_who_hold_jobs,
                a_wait_is_woken_not_polled,
            }
            races [] {
                of_many_creates_of_one_id_one_wins,
                of_many_claims_of_one_job_one_wins,
                of_many_ends_of_one_attempt_one_counts,
                success_and_error_cannot_both_count,
                what_comes_after_the_end_of_a_vanishing_job_is_lost,
                of_finish_and_revoke_one_wins,
                of_many_sweepers_one_revokes,
                of_many_edits_of_one_version_one_wins,
                of_many_requeues_one_wins,
                a_cancel_that_races_a_claim_is_not_forgotten,
            }
            ready_races [ReadyScan] {
                eight_claimers_share_a_thousand_jobs,
                claims_by_id_and_of_what_is_ready_share_too,
                creators_and_workers_together_lose_nothing,
            }
            unique_races [Unique] {
                of_many_creates_of_one_key_one_wins,
            }
        }
    };
}

/// Turns `area [needs] { case, … }` into the table of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_table {
    (() $($area:ident $needs:tt { $($case:ident,)* })*) => {
        /// Every case of the store suite.
        ///
        /// ```
        /// assert!(bgjob_conformance::STORE_CASES.len() > 150);
        /// ```
        pub static STORE_CASES: &[StoreCase] = &[$($(
            StoreCase {
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
