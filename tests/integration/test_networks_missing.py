"""Networks that went: made again by the running daemon from what it knew, with their containers
back in them."""

from __future__ import annotations

import json

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents, stories
from tests.integration.test_networks import known
from tests.lab import Daemon, PrivateEngine, eventually

REMAKE = """
version: 1
rules:
  - name: remake
    when: network.missing
    match: {kind: network, name: "lane*"}
    then: create_network
    limits: {backoff: 100ms to 500ms}
"""
MEND = """
version: 1
rules:
  - name: mend
    when: container.network_lost
    match: {name: shop}
    then: {reconnect_network: {create: true}}
    limits: {backoff: 100ms to 500ms}
"""
ADDRESS = "10.91.0.50"


def shop(docker: PrivateEngine, *options: str) -> None:
    """A network with settings of its own, a container in it and in a second one, and a peer to ask
    from."""
    docker.docker(
        "network",
        "create",
        "--subnet",
        "10.91.0.0/24",
        "--label",
        "tier=web",
        "--attachable",
        "lane",
    )
    docker.run("shop", "--network", "lane", "--ip", ADDRESS, "--network-alias", "till", *options)
    docker.docker("network", "connect", "bridge", "shop")
    docker.run("peer", "--network", "lane")


def definition(docker: PrivateEngine, name: str = "lane") -> dict[str, object]:
    found = json.loads(docker.docker("network", "inspect", name))[0]
    return {
        key: value for key, value in found.items() if key not in ("Id", "Created", "Containers")
    }


def remove(docker: PrivateEngine, *stopped: str) -> None:
    """The network goes, as far as a person can make it go: who runs in it is taken out, who is
    `stopped` stays."""
    for name in ("shop", "peer"):
        if name not in stopped:
            docker.docker("network", "disconnect", "lane", name)
    docker.docker("network", "rm", "lane")


def pinged(docker: PrivateEngine) -> bool:
    return f"from {ADDRESS}" in docker.docker(
        "exec", "peer", "ping", "-c", "1", "-W", "2", "till", check=False
    )


def learnt(one: Daemon) -> None:
    eventually(
        lambda: known(one) == {"lane", "bridge"}, what="the daemon knows the container's networks"
    )


def test_a_network_that_went_is_back_with_who_was_in_it(docker: PrivateEngine) -> None:
    shop(docker)
    before = definition(docker)
    with daemon(docker, REMAKE) as one:
        learnt(one)
        docker.docker("stop", "--time", "1", "shop")
        remove(docker, "shop")
        with_error = docker.docker("start", "shop", check=False)
        assert not with_error

        (incident,) = closed(one, outcome="done", rule="remake", timeout=60)

        assert (incident.kind, incident.object_name, incident.attempts) == ("network", "lane", 1)
        assert definition(docker) == before
        assert docker.state("shop") == "running"
        assert pinged(docker)
        all_told(one)


def test_a_network_that_went_while_dockmend_was_down(docker: PrivateEngine) -> None:
    shop(docker)
    before = definition(docker)
    with daemon(docker, REMAKE) as one:
        learnt(one)
        one.stop()
        remove(docker)
        one.start()
        closed(one, outcome="done", rule="remake", timeout=60)
        assert definition(docker) == before
        assert pinged(docker)

        one.stop()
        one.start()
        learnt(one)
        assert len(incidents(one)) == 1
        all_told(one)


def test_killed_in_the_middle_the_next_one_finishes_it(docker: PrivateEngine) -> None:
    shop(docker)
    before = definition(docker)
    with daemon(docker, REMAKE) as one:
        learnt(one)
        remove(docker)
        eventually(
            lambda: any(record.undo for _, records in stories(one) for record in records),
            60,
            every=0.001,
        )
        one.kill()
        one.start()
        closed(one, outcome="done", rule="remake", timeout=60)
        assert definition(docker) == before
        assert pinged(docker)
        assert len(docker.docker("network", "ls", "--quiet", "--filter", "name=lane").split()) == 1
        all_told(one)


def test_what_is_made_again_by_somebody_else_is_no_trouble(docker: PrivateEngine) -> None:
    shop(docker)
    with daemon(docker, REMAKE + MEND.partition("rules:\n")[2]) as one:
        learnt(one)
        docker.docker("stop", "--time", "1", "shop")
        remove(docker, "shop")
        docker.docker("network", "create", "--subnet", "10.91.0.0/24", "lane")
        closed(one, outcome="healed", rule="mend", timeout=60)
        docker.docker("network", "connect", "lane", "peer")
        docker.docker("start", "shop")
        assert pinged(docker)
        assert not incidents(one, rule="remake")


def test_a_container_whose_restart_runs_into_it_is_mended(docker: PrivateEngine) -> None:
    """It ends by itself, its networks go, and the rule's own start fails for them: all of them are
    made again."""
    rules = """
  - name: again
    when: container.crashed
    match: {name: shop}
    then: start
    verify: {within: 5s}
    limits: {backoff: 200ms to 1s}
"""
    docker.docker("network", "create", "--subnet", "10.92.0.0/24", "back")
    docker.docker("network", "create", "--subnet", "10.91.0.0/24", "--label", "tier=web", "lane")
    loop = "while ! [ -e /crash ]; do sleep 0.1; done; rm /crash; exit 7"
    docker.run(
        "shop",
        "--network",
        "lane",
        "--ip",
        ADDRESS,
        "--network-alias",
        "till",
        command=["sh", "-c", loop],
    )
    docker.docker("network", "connect", "back", "shop")
    docker.run("peer", "--network", "bridge")
    with daemon(docker, MEND + rules) as one:
        eventually(lambda: known(one) == {"lane", "back"})
        one.stop()
        docker.docker("exec", "shop", "touch", "/crash")
        docker.await_state("shop", "exited")
        docker.docker("network", "rm", "lane", "back")
        one.start()

        closed(one, outcome="healed", rule="mend", timeout=60)

        docker.await_state("shop", "running", 30)
        docker.docker("network", "connect", "lane", "peer")
        assert pinged(docker)
        assert set(docker.inspect("shop")["NetworkSettings"]["Networks"]) == {"lane", "back"}
        eventually(
            lambda: not incidents(one, state="waiting") and not incidents(one, state="acting"), 60
        )


def test_what_a_rule_disconnects_is_not_lost(docker: PrivateEngine) -> None:
    rules = (
        MEND
        + """
  - name: quarantine
    when: container.unhealthy
    match: {name: shop}
    then: [{disconnect_network: {network: lane}}]
"""
    )
    shop(docker, "--health-cmd", "! test -e /ill", "--health-interval=200ms", "--health-retries=1")
    docker.await_health("shop", "healthy")
    with daemon(docker, rules) as one:
        learnt(one)
        docker.docker("exec", "shop", "touch", "/ill")
        closed(one, outcome="done", rule="quarantine")
        one.kill()  # at once: what was done is on disk with its outcome
        one.start()
        eventually(lambda: known(one) == {"bridge"}, what="the daemon sees it disconnected")
        docker.docker("exec", "shop", "rm", "/ill")
        docker.docker("restart", "--time", "1", "shop")
        docker.await_health("shop", "healthy", 60)
        assert known(one) == {"bridge"}
        docker.docker("network", "connect", "--ip", ADDRESS, "--alias", "till", "lane", "shop")
        learnt(one)
        docker.docker("network", "disconnect", "lane", "shop")  # and this one is
        (incident,) = closed(one, outcome="healed", rule="mend")
        assert incident.network == "lane"
        assert len(incidents(one, rule="mend")) == 1
        assert pinged(docker)


def test_killed_in_the_middle_of_a_disconnect_by_rule(docker: PrivateEngine) -> None:
    rules = (
        MEND
        + """
  - name: quarantine
    when: container.unhealthy
    match: {name: shop}
    then: [{disconnect_network: {network: lane}}]
"""
    )
    shop(docker, "--health-cmd", "! test -e /ill", "--health-interval=200ms", "--health-retries=1")
    docker.await_health("shop", "healthy")
    with daemon(docker, rules) as one:
        learnt(one)
        docker.docker("exec", "shop", "touch", "/ill")
        eventually(
            lambda: any(record.undo for _, records in stories(one) for record in records),
            60,
            every=0.001,
        )
        one.kill()
        one.start()
        closed(one, outcome="done", rule="quarantine")
        eventually(lambda: known(one) == {"bridge"}, what="the daemon sees it disconnected")
        assert not incidents(one, rule="mend")


MOVED = """
version: 1
rules:
  - name: moved
    when: container.address_changed
    match: {name: db}
    then: %s
"""


def move(docker: PrivateEngine) -> tuple[str, str]:
    """The database comes back with another address; before and after."""

    def address() -> str:
        return str(docker.inspect("db")["NetworkSettings"]["IPAddress"])

    before = address()
    docker.docker("stop", "--time", "1", "db")
    docker.run("filler")  # takes the address
    docker.docker("start", "db")
    return before, address()


def hosts(docker: PrivateEngine) -> str:
    return docker.docker("exec", "app", "cat", "/etc/hosts")


def environment(docker: PrivateEngine) -> str:
    """What the program itself was started with."""
    return docker.docker("exec", "app", "cat", "/proc/1/environ", check=False)


def test_a_linked_container_that_comes_back_elsewhere_is_seen(docker: PrivateEngine) -> None:
    docker.run("db", "--expose", "80")
    docker.run("app", "--link", "db:data")
    with daemon(docker, MOVED % "{wait: {time: 1ms}}") as one:
        eventually(lambda: "db" in one.page("/api/containers"))
        before, after = move(docker)
        assert before != after
        (incident,) = closed(one, rule="moved")
        assert incident.network == "bridge"
        # The engine itself writes the new address into the linked container's hosts; its
        # environment stays.
        assert f"{after}\tdata" in hosts(docker)
        assert f"DATA_PORT_80_TCP_ADDR={before}" in environment(docker)


def test_who_links_to_one_that_moved_is_started_with_its_new_address(docker: PrivateEngine) -> None:
    docker.run("db", "--expose", "80")
    docker.run("app", "--link", "db:data")
    docker.run("fixed", "--label", "dockmend.depends-on=db")
    docker.run("other")
    with daemon(docker, MOVED % "restart_dependents") as one:
        eventually(lambda: "db" in one.page("/api/containers"))
        began = {
            name: docker.inspect(name)["State"]["StartedAt"] for name in ("app", "fixed", "other")
        }
        _, after = move(docker)
        closed(one, rule="moved", timeout=60)
        eventually(
            lambda: f"DATA_PORT_80_TCP_ADDR={after}" in environment(docker),
            what="app has the new address",
        )
        assert f"{after}\tdata" in hosts(docker)
        assert docker.inspect("fixed")["State"]["StartedAt"] != began["fixed"]
        assert docker.inspect("other")["State"]["StartedAt"] == began["other"]
        assert len(incidents(one)) == 1
