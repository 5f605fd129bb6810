"""Which of the tests against real parts `make test` runs: each promise of the README once, in some
minutes.

All of tests/unit and tests/contract is quick. Of the rest, a file that is not named here runs in
`make test-all` alone. A name stands for every test whose name begins with it; an empty list for the
whole file. tests/unit/test_quick.py sees to it that every name here is the name of a test.
"""

from __future__ import annotations

QUICK: dict[str, list[str]] = {
    # the parts that the tests stand on
    "tests/integration/test_lab.py": [],
    "tests/campaign/test_parts.py": [],
    "tests/campaign/test_results.py": [],
    "tests/campaign/fuzz/test_mutated.py": [],
    "tests/integration/test_unit_file.py": [],
    # unhealthy and crashed containers are healed; what a person stops is left alone
    "tests/integration/test_heal.py": [
        "test_an_unhealthy_container_is_restarted_and_proven_healthy",
        "test_a_crashed_container_is_started",
        "test_what_a_person_stops_kills_or_restarts_is_left_alone",
        "test_an_images_labels_steer_nothing",
        "test_labels_decide_without_any_rules",
        "test_a_container_that_cannot_be_healed_is_given_up_with_its_breaker_open",
        "test_shadow_mode_touches_nothing",
    ],
    # no label of an image is consent, identity or ownership; what is dockmend's own is proven by
    # its journal
    "tests/integration/test_whose_labels.py": [
        "test_a_service_that_compose_built_is_still_that_service",
        "test_a_one_off_is_not_its_service",
        "test_an_image_cannot_take_the_place_of_a_service_that_is_missing",
    ],
    "tests/integration/test_owned.py": [],
    # each end has one cause, also one that nobody saw
    "tests/integration/test_recorded_ends.py": [
        "test_what_ended_while_dockmend_was_down_has_its_cause"
    ],
    "tests/integration/test_owed_stops.py": [
        "test_a_stop_that_a_restart_swallowed_before_dockmend_looked"
    ],
    "tests/integration/test_ends.py": [
        "test_an_end_has_one_cause[stopped-",
        "test_an_end_has_one_cause[killed: ",
        "test_an_end_has_one_cause[crash: exit 1-",
        "test_an_end_has_one_cause[--rm, crashes-",
        "test_an_end_has_one_cause[out of memory-",
        "test_an_end_has_one_cause[an image that forges ",
        "test_an_end_has_one_cause[restarted by a person-",
        "test_compose_up_replaces_one",
    ],
    "tests/integration/test_deciding.py": [],
    "tests/integration/test_durable_time.py": [],
    # a recreated container is what it was, whatever instant dockmend is killed at
    "tests/integration/test_options.py": [
        "test_every_option_of_the_command_is_tried_or_named",
        "test_a_recreated_container_is_what_it_was[add-host]",
    ],
    "tests/integration/test_recreate.py": [
        "test_a_container_that_cannot_be_made_touches_nothing",
        "test_a_new_one_that_does_not_start_is_put_away_and_the_old_one_runs_again",
        "test_an_unhealthy_container_is_recreated_and_its_incident_follows_the_new_one",
        "test_one_that_was_started_with_rm_is_refused",
    ],
    "tests/integration/test_recreate_killed.py": ["test_a_death_while_the_new_one_proves_itself"],
    # whatever befalls the owner of a network, its dependents have it again
    "tests/integration/test_vpn.py": [
        "test_every_dependent_has_the_network_again[removed_and_run]",
        "test_what_befell_the_owner_while_dockmend_was_down[restarted]",
        "test_an_owner_that_is_gone_is_waited_for_and_one_that_a_person_stopped_behind_it_stays_stopped",
    ],
    "tests/integration/test_heirs.py": [
        "test_an_owner_that_is_replaced_again_while_dockmend_is_dead[the new one is started-after]",
        "test_an_owner_that_was_renamed_is_still_the_owner",
        "test_one_is_recreated_and_then_the_one_that_names_it[link]",
    ],
    "tests/integration/test_groups_killed.py": ["test_an_owner_that_was_restarted[one-before]"],
    "tests/integration/test_graph.py": [],
    # networks come back with addresses and aliases
    "tests/integration/test_networks.py": [
        "test_a_disconnected_container_is_back_as_it_was",
        "test_disconnected_again_soon_after_is_a_persons_will[after it]",
        "test_a_network_made_again_under_a_stopped_container",
    ],
    "tests/integration/test_networks_missing.py": [
        "test_a_network_that_went_is_back_with_who_was_in_it"
    ],
    "tests/integration/test_actions_networks.py": [],
    # snapshots
    "tests/integration/test_snapshots.py": [],
    "tests/integration/test_snapshots_in_place.py": [
        "test_an_odd_tree_comes_back_in_place_and_nothing_else_stays",
        "test_refused_while_a_container_uses_it",
        "test_a_failure_puts_back_what_was_there_and_says_so",
        "test_killed_anywhere_another_command_undoes_it[half sent]",
    ],
    "tests/integration/test_actions_volumes.py": [
        "test_pause_holds",
        "test_all_volumes",
        "test_of_several_volumes",
    ],
    # dockmend killed in the middle leaves nothing behind
    "tests/integration/test_killed.py": [
        "test_a_restart",
        "test_a_commit_that_freezes",
        "test_a_rule_of_two_steps_goes_on_where_it_was",
        "test_a_snapshot[paused]",
    ],
    "tests/integration/test_actions_death.py": [
        "test_restart_is_done_once[0.05]",
        "test_reconnection_is_finished[True-",
    ],
    # the engine goes away and comes back
    "tests/integration/test_engine_away.py": [
        "test_a_trouble_that_stood_before_the_engine_ended_is_healed_after_it_once",
        "test_an_engine_without_live_restore[kill]",
    ],
    "tests/integration/test_engine_sick.py": [
        "test_a_kill_whose_event_was_garbage",
        "test_a_stream_that_brings_nothing",
    ],
    "tests/integration/test_exec_storm.py": ["test_an_exec_storm_hides_nothing"],
    # brokers, logs, metrics
    "tests/integration/test_mqtt.py": [],
    "tests/integration/test_metrics.py": [],
    "tests/integration/test_told.py": ["test_a_broker_is_told_of_status_states_and_incidents"],
    # HTTP: secrets and slow readers
    "tests/integration/test_secrets.py": [],
    "tests/integration/test_slow_readers.py": [
        "test_those_who_never_read_cost_little_and_keep_nobody_out[/api/containers]"
    ],
    # the first thing that the README shows
    "tests/integration/test_image.py": ["test_the_clone_of_a_user_is_a_whole_installation"],
    # commands and settings
    "tests/integration/test_cli.py": [
        "test_the_demo_heals_tells_and_leaves_nothing",
        "test_the_demo_broken_off_leaves_nothing",
        "test_doctor_on_a_healthy_host",
        "test_coverage_of_a_host",
        "test_explain_of_a_live_container_touches_nothing",
        "test_a_second_daemon_on_the_same_state_names_the_first",
        "test_in_place_asks_a_person_at_a_terminal",
    ],
    "tests/integration/test_commands_find_the_daemon.py": [],
    "tests/integration/test_rules_d.py": [
        "test_wrong_settings_are_refused",
        "test_a_cold_start_with_wrong_rules_and_no_good_ones_only_observes",
        "test_rules_are_read_again_all_or_nothing[dockmend reload]",
    ],
    "tests/integration/test_run_script.py": [],
    "tests/integration/test_shutdown.py": [
        "test_an_idle_one_ends_in_order",
        "test_an_action_that_can_end_does",
    ],
    # other actions
    "tests/integration/test_actions_commands.py": [],
    "tests/integration/test_actions_containers.py": [],
    "tests/integration/test_actions_images.py": ["test_commit_", "test_keep_removes_the_oldest"],
    "tests/integration/test_compose.py": ["test_a_project_is_restarted_in_order"],
    "tests/integration/test_missing.py": ["test_what_was_removed_is_made_again_as_it_was"],
    "tests/integration/test_copying.py": [],
}


def is_quick(node: str) -> bool:
    """Whether `make test` runs the test of this node id."""
    path, _, name = node.partition("::")
    if path.startswith(("tests/unit/", "tests/contract/")):
        return True
    names = QUICK.get(path)
    return names is not None and (not names or any(name.startswith(each) for each in names))
