"""The tests of a session's handle: the very functions of the engine's, with the session behind a server.

What is not taken needs the process that drives the session: function tools and hooks that are given to a handle, budget
guards, cancel tokens, and stores that are looked at from below.
"""

from __future__ import annotations

from godwit.client import RemoteSession
from godwit.contracts import SessionHandle
from godwit.engine.session import Session
from tests.engine.rewind_words import (  # noqa: F401 - a fixture
    a_folder,
)
from tests.engine.test_approvals import (  # noqa: F401 - collected here again
    test_a_skipping_steer_skips_what_is_pending,
    test_a_tool_without_a_body_is_answered_from_outside,
    test_an_edit_that_does_not_fit_denies_the_call,
    test_an_external_tool_may_need_an_approval_first,
    test_ask_parks_the_run_and_approval_goes_on,
    test_concurrent_answers_count_once,
    test_denied_tools_are_hidden_and_refused,
    test_deny_tells_the_model_why,
    test_edited_arguments_are_run_and_told,
    test_interrupt_closes_what_is_pending,
    test_several_actions_are_answered_one_by_one,
    test_unknown_actions_are_not_found,
)
from tests.engine.test_budget_limits import (  # noqa: F401 - collected here again
    test_a_budget_that_is_set_counts_from_the_next_prompt,
    test_scopes_are_set_apart_and_no_limits_limit_nothing,
    test_what_is_no_budget_is_refused_and_changes_nothing,
)
from tests.engine.test_budget_questions import (  # noqa: F401 - collected here again
    test_a_limit_may_ask_for_more_and_wait,
)
from tests.engine.test_builtin_commands import (  # noqa: F401 - collected here again
    test_a_run_is_steered_and_interrupted_by_commands,
    test_model_thinking_and_name_are_shown_and_set,
    test_pause_and_resume,
    test_what_waits_is_listed_and_answered,
)
from tests.engine.test_commands_in_sessions import (  # noqa: F401 - collected here again
    test_send_never_calls_the_model_for_a_command,
    test_stream_gives_one_delta_and_the_event,
    test_texts_that_are_no_commands_are_prompts,
)
from tests.engine.test_compaction import (  # noqa: F401 - collected here again
    test_a_short_conversation_is_left_alone,
    test_a_summary_is_paid_for,
    test_a_summary_stands_for_what_was_said,
    test_compact_is_a_command,
    test_of_two_at_once_one_counts,
    test_places_to_go_back_to_are_those_before_a_summary_too,
    test_what_is_said_meanwhile_is_kept,
)
from tests.engine.test_control import (  # noqa: F401 - collected here again
    test_a_failed_run_says_why_and_events_tell_it,
    test_a_full_inbox_is_a_conflict_and_blocks_no_other_session,
    test_an_interrupt_that_is_sent_again_ends_no_other_run,
    test_an_old_run_id_interrupts_nothing,
    test_archive_is_final_and_leaves_the_log_readable,
    test_configured_steer_mode_is_the_default,
    test_delete_removes_everything,
    test_follow_up_on_an_idle_session_starts_at_once,
    test_follow_ups_come_one_by_one_when_nothing_else_is_left,
    test_interrupt_in_mid_stream_keeps_what_was_said,
    test_interrupt_stops_running_tools,
    test_many_followers_see_the_log_and_nothing_else,
    test_model_and_thinking_change_with_the_next_prompt,
    test_resume_run_goes_on_from_the_checkpoint_as_a_new_run,
    test_resume_run_rewinds_when_the_session_has_moved_on,
    test_settings_and_ids_that_cannot_work_are_refused,
    test_steer_after_the_batch_lets_it_finish,
    test_steer_during_the_answer_comes_after_it,
    test_steer_skips_what_has_not_started,
    test_steer_without_a_run_is_refused_and_never_leaks,
    test_undelivered_steers_end_with_their_run,
)
from tests.engine.test_direct import (  # noqa: F401 - collected here again
    test_a_call_that_is_sent_again_under_its_key_is_run_once,
    test_a_direct_call_beside_an_open_run_enters_neither_turn_nor_transcript,
    test_a_failure_is_a_result_of_tool_and_an_error_of_the_helpers,
    test_an_archived_session_runs_nothing,
    test_the_file_tools_work_on_the_sessions_folder,
)
from tests.engine.test_external_tools import (  # noqa: F401 - collected here again
    test_a_clients_tools_stand_beside_the_agents_own_and_are_answered,
    test_a_name_that_the_session_has_is_refused,
    test_an_answer_counts_although_the_tool_was_taken_away_meanwhile,
    test_the_same_set_again_changes_nothing,
    test_what_is_no_set_of_tools_is_refused_and_changes_nothing,
)
from tests.engine.test_fork import (  # noqa: F401 - collected here again
    test_a_fork_at_an_earlier_place_and_by_label,
    test_any_place_of_any_branch_is_gone_to,
    test_each_goes_its_own_way_from_one_past,
    test_the_branch_that_is_left_is_summed_up,
    test_what_is_open_stays_where_it_is,
)
from tests.engine.test_input_metadata import (  # noqa: F401 - collected here again
    test_a_command_that_turns_into_a_prompt_hands_it_on,
    test_every_way_of_saying_something_keeps_what_came_with_it,
    test_it_is_part_of_what_a_key_stands_for,
    test_the_metadata_of_an_answer_is_that_of_the_result,
    test_what_cannot_be_kept_is_refused_and_leaves_nothing,
)
from tests.engine.test_kept_files import (  # noqa: F401 - collected here again
    test_checkpoints_by_hand_and_what_changed_since,
)
from tests.engine.test_permissions_in_sessions import (  # noqa: F401 - collected here again
    test_a_denial_for_always_denies_elsewhere,
)
from tests.engine.test_questions import (  # noqa: F401 - collected here again
    fresh,
    test_a_new_message_goes_before_an_open_question,
    test_a_question_is_a_pending_action_and_its_answer_lets_the_call_go_on,
    test_declined,
    test_several_questions_of_all_kinds_one_after_the_other,
    test_what_does_not_fit_the_form_is_refused_and_changes_nothing,
)
from tests.engine.test_records import (  # noqa: F401 - collected here again
    test_a_terminal_state_stays,
    test_artifacts_of_a_session,
    test_pages_with_a_cursor,
    test_without_limits_all_is_there,
)
from tests.engine.test_rewind import (  # noqa: F401 - collected here again
    test_back_and_forth_with_everything_a_shell_can_do,
    test_places_that_cannot_be_gone_back_to,
    test_several_rewinds_are_taken_back_one_by_one,
    test_the_conversation_alone,
    test_what_only_a_person_changed_stays,
)
from tests.engine.test_run import (  # noqa: F401 - collected here again
    test_a_given_history_leaves_the_own_one_untouched,
    test_a_run_with_tools_ends_with_the_answer,
    test_a_second_prompt_while_a_run_is_open_is_busy,
    test_bad_arguments_a_third_time_fail_the_run_and_leave_the_session_usable,
    test_bad_arguments_go_back_to_the_model_twice,
    test_conversation_goes_on_over_runs_and_restarts,
    test_no_retry_once_something_was_seen,
    test_results_are_logged_when_ready_and_shown_in_call_order,
    test_retries_end_and_the_run_fails,
    test_stream_gives_events_and_deltas_in_order,
    test_the_next_model_takes_over,
    test_the_same_key_joins_the_run_it_started,
    test_turn_limit_ends_the_run_as_limited,
    test_unknown_tool_and_failing_tool_are_error_results,
    test_usage_adds_up,
    test_wall_time_ends_the_run_as_limited_in_mid_tool,
    test_what_a_provider_asks_to_wait_is_honoured_up_to_a_limit,
)
from tests.engine.test_seed_prompts import (  # noqa: F401 - collected here again
    test_an_event_receiver_can_be_waited_for_beside_other_things,
    test_answers_may_be_sent_as_events,
    test_commands_go_through_one_sender_or_another,
    test_config_tells_what_the_next_run_uses,
    test_prompt_and_wait_leaves_its_events_to_be_read,
    test_prompt_returns_while_the_agent_works,
)
from tests.engine.test_seed_runtime import (  # noqa: F401 - collected here again
    test_archiving_stops_the_run_and_keeps_the_log,
    test_from_seq_gives_greater_seqs_then_what_comes,
    test_interrupt_stops_and_leaves_an_idle_session,
    test_watching_without_from_seq_shows_only_what_is_new,
)
from tests.engine.test_seed_session import (  # noqa: F401 - collected here again
    test_a_closed_handle_refuses_at_once_and_starts_no_run,
    test_a_stream_with_a_given_history_uses_that_one,
    test_all_pending_confirmations_can_be_cancelled,
    test_all_work_happens_in_the_sessions_folder,
    test_attachments_are_blocks_of_the_user_message,
    test_cancel_run_is_for_the_run_that_is_open,
    test_cancel_says_whether_something_was_cancelled,
    test_confirm_tool_use_tells_whether_it_was_pending,
    test_history_grows_after_send_and_after_a_finished_stream,
    test_resume_run_takes_up_the_last_checkpoint_and_what_was_used,
    test_runs_are_told_from_the_log,
    test_send_waits_for_the_whole_answer,
    test_the_open_run_and_its_tools_can_be_looked_at,
    test_tool_definitions_and_names_are_what_the_model_is_told,
)
from tests.engine.test_senders import (  # noqa: F401 - collected here again
    test_nobody_outside_sends_under_a_name_of_godwits_own,
)
from tests.engine.test_session_tasks import (  # noqa: F401 - collected here again
    test_a_message_that_tells_what_is_known_already_is_withdrawn,
    test_a_question_from_two_levels_down_is_answered_at_the_top,
    test_a_task_of_the_hosts_is_told_from_its_beginning_to_its_end,
    test_a_task_that_works_is_waited_for_as_long_as_is_said_and_cancelled_once,
    test_all_of_a_long_answer_can_be_read,
    test_children_that_are_run_elsewhere_are_recorded,
    test_sessions_of_subagents_are_listed_by_their_parent,
    test_what_is_no_task_and_no_subagent_is_told,
)
from tests.engine.test_shared_state import (  # noqa: F401 - collected here again
    test_a_change_during_a_run_is_told_with_the_next_step,
    test_a_change_that_is_sent_again_under_its_key_is_made_once,
    test_a_client_sets_and_patches_it,
    test_a_model_is_told_what_others_have_changed_and_nothing_twice,
    test_a_summary_does_not_take_it_from_the_model,
    test_a_surface_may_have_it_told_or_not,
    test_what_does_not_fit_is_refused_and_changes_nothing,
)
from tests.engine.test_verification_reports import (  # noqa: F401 - collected here again
    test_each_command_is_a_check_and_its_exit_code_decides,
    test_nothing_is_run_or_recorded_of_what_cannot_be_used,
    test_one_unusable_report_refuses_all,
    test_reports_from_elsewhere_are_evidence_beside_ours,
)
from tests.engine.test_verified_runs import (  # noqa: F401 - collected here again
    test_a_run_is_done_once_its_checks_pass,
)


def _is_a_handle(session: RemoteSession) -> SessionHandle:
    """The type checker sees that all is there."""
    return session


def _is_one_too(session: Session) -> SessionHandle:
    return session
