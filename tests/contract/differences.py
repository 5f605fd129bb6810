"""Where Podman differs: which contract tests fail on it, at what, and why.

Such a test runs on Podman all the same, and has to fail as said here: where it passes, or fails at
something else, it is red (conftest.py). docs/engines.md tells a person of each reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    reason: str  # its heading in docs/engines.md
    shows: str  # a regular expression that the text of the test's failure matches
    raced: bool = False  # Podman's own processes race: now and then it is as on Docker

    def check(self, failure: BaseException) -> None:
        """AssertionError where the test failed at something else than this."""
        said = f"{type(failure).__name__}: {failure}"
        assert re.search(self.shows, said), (
            f"differs on Podman, but not as said ({self.shows}): {said}"
        )


STOPS = "A stop has no `kill` event, and often no `stop` event"
HEALTH = "Health events do not say what the health is"
COMMIT = "A commit has no `pause` and `unpause` events"
MEMORY = "The memory of events is a file, and is read only in part"
IMAGES = "Image names are written out in full"
NETWORK = "The network `bridge` is called `podman` in a container"
OLD_API = "The API is 1.41"
MAKING = "A container's body is read otherwise"
CODES = "Commands end with other codes"
WORDS = "Refusals have other words, and the status 500"
NETWORKS = "Networks have fewer settings"
IN_USE = "A network is in use by stopped containers, too"
ADDRESSES = "A configured address is not told from a given one"
STUCK = "An address that is taken breaks the list of containers"
VOLUMES = "An archive is not written into a volume, and names its files otherwise"

DIFFERS = {
    "test_a_commit_carries_its_labels_and_leaves_the_container_running": Difference(
        COMMIT, "did not come.*what came: .*container commit"
    ),
    "test_a_volume_is_read_and_written_through_a_helper_that_never_starts": Difference(
        VOLUMES, r"assert \{\} == "
    ),
    "test_a_command_says_what_it_has_to_say_and_how_it_ended": Difference(
        CODES, r"\(False, 0\) == \(False, None\)"
    ),
    "test_a_command_that_is_not_there_has_an_exit_code_of_its_own_and_says_so": Difference(
        CODES, "assert 127 == 126"
    ),
    "test_what_does_not_run_takes_no_command": Difference(
        WORDS, "only create exec sessions on running containers"
    ),
    "test_limits_are_changed_while_it_runs": Difference(
        WORDS, "runc update .*failed: exit status 1"
    ),
    "test_the_events_of_a_restart": Difference(STOPS, r"== \['die', 'kill', 'stop'\]"),
    "test_the_events_of_a_stop": Difference(STOPS, "did not come|assert .* == 'kill'"),
    "test_the_events_of_a_kill": Difference(STOPS, "KeyError: 'signal'"),
    "test_no_exec_event_passes_while_health_and_all_others_do": Difference(
        HEALTH, "did not come.*container health_status(,|$)"
    ),
    "test_since_is_inclusive_and_the_marker_is_found_until_the_ring_forgets_it": Difference(
        MEMORY, "assert", raced=True
    ),
    "test_the_end_of_the_engine_ends_the_stream_and_is_an_absence": Difference(
        MEMORY, "assert not True", raced=True
    ),
    "test_what_the_ring_holds_from_a_time_on": Difference(MEMORY, "assert", raced=True),
    "test_an_inspect_of_a_running_container": Difference(
        IMAGES, "docker.io/library/toolbox:latest"
    ),
    "test_a_configured_mac_address_is_told_from_one_the_engine_made": Difference(
        OLD_API, "requires API version 1.44"
    ),
    "test_an_exit_code_is_there_once_it_has_ended": Difference(NETWORK, "KeyError: 'bridge'"),
    "test_a_name_goes_from_one_image_to_another": Difference(IMAGES, "docker.io/library/shop:1"),
    "test_labels_of_the_image_are_told_from_the_owners": Difference(IMAGES, r"'dockmend.heal'\)"),
    "test_a_name_is_changed_and_no_name_is_taken_twice": Difference(
        WORDS, "UNIQUE constraint failed"
    ),
    "test_a_container_is_made_in_several_networks_at_once": Difference(
        MAKING, r"\(\('b',\), \{\}\) == "
    ),
    "test_networks_that_are_named_replace_the_one_of_the_network_mode": Difference(
        MAKING, "'alpha', 'beta'"
    ),
    "test_a_taken_name_is_refused": Difference(WORDS, "that name is already in use"),
    "test_a_network_is_made_as_it_is_told_of": Difference(NETWORKS, "host-local"),
    "test_a_network_by_the_configuration_of_another": Difference(
        NETWORKS, 'failed to find driver or plugin "null"'
    ),
    "test_networks_that_are_not_made": Difference(WORDS, "network already exists"),
    "test_an_address_that_cannot_be_had_leaves_an_endpoint_without_a_network": Difference(
        STUCK, "requested ip address 10.91.0.50 is already allocated"
    ),
    "test_what_is_refused_for_good_is_permanent": Difference(WORDS, "network is already connected"),
    "test_a_start_without_its_network_is_permanent_but_the_container_is_there": Difference(
        IN_USE, "shop.* has associated containers"
    ),
    "test_an_endpoint_comes_back_as_it_was": Difference(ADDRESSES, "None != '10.91.0.77'"),
}

IN_MAKE_TEST = frozenset({
    "test_it_says_who_it_is_and_answers_pings",
    "test_a_listing_holds_everything_inspected",
    "test_an_inspect_of_a_running_container",
    "test_the_events_of_a_crash",
    "test_networks_and_volumes_have_events",
    "test_what_is_so_already_is_no_error",
    "test_a_name_is_changed_and_no_name_is_taken_twice",
})  # fmt: skip
"""What `make test` runs on Podman: nothing that waits for an event that never comes. All of it:
`make podman`."""
