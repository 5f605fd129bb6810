"""Guests: what lives in the namespaces of a container that dockmend restarts or makes anew comes
back with it."""

from __future__ import annotations

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents, stories
from tests.lab import PrivateEngine, eventually

pytestmark = pytest.mark.timeout(240)

CHECK = (
    "--health-cmd", "test ! -e /sick", "--health-interval", "200ms", "--health-retries", "1",
    "--health-timeout", "5s",
)  # fmt: skip
DROP_IN = ("--label", "autoheal=true", *CHECK)
NO_RULES = "version: 1\nrules: []\n"
RECREATE = """
version: 1
rules:
  - name: anew
    when: container.unhealthy
    match: {name: vpn}
    then: recreate
    limits: {backoff: 100ms to 1s}
"""
REJOIN = """
version: 1
rules:
  - name: rejoin
    when: container.orphaned
    match: all
    then: restart_dependents
"""


def owner(engine: PrivateEngine, *options: str) -> None:
    """A gateway that is well until it has a file /sick, which a restart does not take away: a start
    does."""
    engine.run("vpn", *options, command=("sh", "-c", "rm -f /sick; exec sleep 86400"))
    engine.await_health("vpn", "healthy", 30)


def sicken(engine: PrivateEngine) -> None:
    engine.docker("exec", "vpn", "touch", "/sick")


def guest(engine: PrivateEngine, name: str, *options: str) -> None:
    engine.run(name, "--network", "container:vpn", *options)


def has_network(engine: PrivateEngine, name: str) -> bool:
    """Whether a guest has the owner's present address."""
    (network,) = engine.inspect("vpn")["NetworkSettings"]["Networks"].values()
    inside = engine.docker("exec", name, "ip", "-o", "addr", check=False)
    return bool(network["IPAddress"]) and f"inet {network['IPAddress']}/" in inside


@pytest.fixture
def host(docker: PrivateEngine) -> PrivateEngine:
    return docker


def test_unlabelled_guests_of_what_the_drop_in_rule_restarts_have_their_network_again(
    host: PrivateEngine,
) -> None:
    owner(host, *DROP_IN)
    for name in ("app", "web", "idle"):
        guest(host, name)
    host.docker("stop", "--time", "1", "idle")
    with daemon(host, NO_RULES) as one:
        sicken(host)
        (healed,) = closed(one, outcome="healed", timeout=60)
        assert has_network(host, "app")
        assert has_network(host, "web")
        assert host.state("idle") == "exited"  # a person stopped it
        ((incident, actions),) = stories(one)
        assert incident.id == healed.id
        assert sorted((each.action, each.object_name) for each in actions
            if each.part == "member") == [
            ("restart", "app"), ("restart", "web"),
        ]  # fmt: skip
        assert "app, web" in incident.reason
        all_told(one)


def test_what_shares_processes_or_memory_comes_back_as_well(host: PrivateEngine) -> None:
    owner(host, *DROP_IN, "--ipc", "shareable")
    host.run("watcher", "--pid", "container:vpn", init=False)
    host.run("cache", "--ipc", "container:vpn")
    began = {name: host.inspect(name)["State"]["StartedAt"] for name in ("watcher", "cache")}
    with daemon(host, NO_RULES) as one:
        sicken(host)
        closed(one, outcome="healed", timeout=60)
        for name, at in began.items():
            state = host.inspect(name)["State"]
            assert (state["Running"], state["StartedAt"] > at) == (True, True), name
        assert len(incidents(one)) == 1
        all_told(one)


def test_guests_of_one_that_is_made_anew_are_made_anew(host: PrivateEngine) -> None:
    owner(host, *CHECK)
    guest(host, "app")
    with daemon(host, {"a.yaml": RECREATE, "b.yaml": REJOIN}) as one:
        sicken(host)
        closed(one, outcome="healed", timeout=90)
        assert has_network(host, "app")
        assert (
            host.inspect("app")["HostConfig"]["NetworkMode"]
            == f"container:{host.inspect('vpn')['Id']}"
        )
        # the rejoin rule has nothing left to do
        assert [each.rule for each in incidents(one)] == ["anew"]
        all_told(one)


def test_a_dockmend_that_is_killed_as_it_brings_guests_back_goes_on(host: PrivateEngine) -> None:
    owner(host, *DROP_IN)
    # the restart takes as long as its stop timeout
    slow = ("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    host.run("app", "--network", "container:vpn", "--stop-timeout", "8", command=slow, init=False)
    with daemon(host, NO_RULES) as one:
        sicken(host)
        eventually(
            lambda: [
                each for _, actions in stories(one) for each in actions if each.part == "member"
            ],
            60,
        )
        one.kill()
        one.start()
        closed(one, outcome="healed", timeout=90)
        assert has_network(host, "app")
        assert len(incidents(one)) == 1
        all_told(one)


def test_what_would_cut_off_an_ignored_guest_is_not_done_unless_the_rule_says_so(
    host: PrivateEngine,
) -> None:
    owner(host, *CHECK)
    guest(host, "app", "--label", "dockmend.ignore=true")
    rule = RECREATE.replace("recreate", "restart")
    began = host.inspect("vpn")["State"]["StartedAt"]
    with daemon(host, rule) as one:
        sicken(host)
        (left,) = closed(one, timeout=60)
        assert (left.outcome, left.reason_code) == ("suppressed", "cut_off")
        assert "app" in left.reason
        assert "cut_off: true" in left.reason
        assert host.inspect("vpn")["State"]["StartedAt"] == began
        assert has_network(host, "app")
    with daemon(host, rule + "    cut_off: true\n") as one:
        closed(one, outcome="healed", timeout=60)
        assert not has_network(host, "app")
