"""Which object is which: owners that are renamed, or replaced twice, also while dockmend is down;
what is linked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from dockmend.journal.reader import read_only
from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents, stories
from tests.integration.test_killed import Killed
from tests.integration.test_recorded_ends import flood
from tests.integration.vpn import RULE
from tests.lab import Daemon, HoldingProxy, PrivateEngine, eventually
from tests.lab.waiting import LIMIT

pytestmark = [pytest.mark.timeout(400)]
QUIET = "heal: off\n"
REJOIN = ("--label", "dockmend.rejoin=true", "--stop-timeout", "2")
ANEW = """
version: 1
rules:
  - name: anew
    when: container.unhealthy
    match: {name: NAME}
    then: recreate
    limits: {backoff: 100ms to 1s}
"""


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def owner(docker: PrivateEngine) -> str:
    return docker.run("vpn", "--stop-timeout", "2")


def replaced(docker: PrivateEngine) -> str:
    docker.docker("rm", "--force", "vpn")
    return owner(docker)


def has_network_of(docker: PrivateEngine, name: str, vpn: str) -> bool:
    """Whether it runs, and inside the network of the owner as it is now."""
    found = docker.inspect(name)
    address = f"inet {docker.inspect(vpn)['NetworkSettings']['IPAddress']}/"
    inside = docker.docker("exec", name, "ip", "-o", "addr", check=False)
    return found["HostConfig"]["NetworkMode"] == f"container:{vpn}" and address in inside


def rejoined(docker: PrivateEngine, vpn: str, *names: str) -> None:
    for name in names:
        eventually(
            partial(has_network_of, docker, name, vpn),
            120,
            what=f"{name} has the network of its owner",
        )


def names(docker: PrivateEngine) -> dict[str, str]:
    rows = docker.api("GET", "/containers/json?all=1")[1]
    return {row["Names"][0].removeprefix("/"): row["State"] for row in rows}


MOMENTS = {
    "the new one is started": r"POST .*/containers/(?!ID)[0-9a-f]{64}/start",
    "the old one is removed": "DELETE .*/containers/ID",
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_owner_that_is_replaced_again_while_dockmend_is_dead(
    docker: PrivateEngine, proxy: HoldingProxy, moment: str, when: Any
) -> None:
    owner(docker)
    old = docker.run("guest", "--network", "container:vpn", *REJOIN)
    with Killed(docker, proxy, RULE) as killed:
        hold = proxy.hold(MOMENTS[moment].replace("ID", old), when)
        replaced(docker)
        hold.wait()
        killed.daemon.kill()
        proxy.release()
        third = replaced(docker)
        killed.daemon.engine_url = docker.url
        killed.daemon.start()
        rejoined(docker, third, "guest")
        closed(killed.daemon, outcome="healed", timeout=120)
        assert names(docker) == {"vpn": "running", "guest": "running"}
        told = [
            f"{each.reason} {[action.detail for action in done]}"
            for each, done in stories(killed.daemon)
        ]
        assert not any("stopped by a person" in each for each in told), told
        assert not any("nothing needed it" in each for each in told), told
        all_told(killed.daemon)


def test_an_owner_that_is_replaced_twice_after_all_was_healed(docker: PrivateEngine) -> None:
    owner(docker)
    docker.run("guest", "--network", "container:vpn", *REJOIN)
    with daemon(docker, RULE, config=QUIET) as one:
        second = replaced(docker)
        rejoined(docker, second, "guest")
        closed(one, outcome="healed", timeout=60)
        one.kill()
        third = replaced(docker)
        one.start()
        rejoined(docker, third, "guest")
        closed(one, count=2, outcome="healed", timeout=60)


def test_an_owner_that_was_renamed_is_still_the_owner(docker: PrivateEngine) -> None:
    vpn = owner(docker)
    docker.run("guest", "--network", "container:vpn", *REJOIN)
    with daemon(docker, RULE, config=QUIET) as one:
        docker.docker("rename", "vpn", "vpn-eu")
        docker.docker("restart", "vpn-eu")
        rejoined(docker, vpn, "guest")
        (incident,) = closed(one, outcome="healed", timeout=60)
        assert incident.target == "dependents:container:vpn-eu"


BY_HAND = {
    "rename": ("rename", "vpn", "vpn-old"),
    "stop": ("stop", "vpn"),
    "stop it as vpn-old": ("stop", "vpn-old"),
    "remove": ("rm", "vpn-old"),
    "remove by force": ("rm", "--force", "vpn-old"),
}


@pytest.mark.parametrize(
    "order",
    [
        "rename, stop it as vpn-old, run, remove",
        "stop, rename, run, remove",
        "stop, rename, remove, run",
        "rename, run, remove by force",
        "stop, rename, stood down, run, remove",
        "stop, stood down, rename, run, stood down again, remove",
    ],
)
def test_an_owner_that_was_set_aside_under_another_name_and_removed(
    docker: PrivateEngine, order: str
) -> None:
    """The order in which people update by hand. In between dockmend may have left the guest alone,
    as a person had stopped its owner."""
    owner(docker)
    docker.run("guest", "--network", "container:vpn", *REJOIN)
    second = ""
    with daemon(docker, RULE, config=QUIET) as one:
        for step in order.split(", "):
            if step == "run":
                second = owner(docker)
            elif step.startswith("stood down"):
                closed(one, count=1 + step.endswith("again"), reason_code="owner_stopped")
            else:
                docker.docker(*BY_HAND[step])
        rejoined(docker, second, "guest")
        closed(one, outcome="healed", timeout=60)


def test_guests_of_one_that_was_renamed_after_they_were_cut_off(docker: PrivateEngine) -> None:
    vpn = owner(docker)
    docker.run("guest", "--network", "container:vpn", *REJOIN)
    with daemon(docker, RULE, config=QUIET):
        docker.docker("restart", "vpn")
        docker.docker("rename", "vpn", "vpn-eu")
        rejoined(docker, vpn, "guest")


NO_RULES = "version: 1\nrules: []\n"


def labelled_owner(docker: PrivateEngine) -> str:
    return docker.run("vpn", *REJOIN)


def waits_for_the_owner(one: Daemon) -> None:
    eventually(
        lambda: [each for each in one.incidents() if each.get("waiting_for") == "owner"],
        what="the guest waits for its owner",
    )


def test_the_label_of_an_owner_holds_while_that_is_gone(docker: PrivateEngine) -> None:
    labelled_owner(docker)
    docker.run("guest", "--network", "container:vpn", "--stop-timeout", "2")
    with daemon(docker, NO_RULES) as one:
        docker.docker("rm", "--force", "vpn")
        waits_for_the_owner(one)
        rejoined(docker, labelled_owner(docker), "guest")
        closed(one, outcome="healed", timeout=60)


def test_an_owner_that_goes_again_while_its_guest_is_made_anew(docker: PrivateEngine) -> None:
    """The guest cannot be put back: what its definition names is gone. It waits, as before."""
    labelled_owner(docker)
    before = docker.run("guest", "--network", "container:vpn", "--stop-timeout", "2")
    with daemon(docker, NO_RULES) as one:
        docker.docker("rm", "--force", "vpn")
        labelled_owner(docker)
        eventually(
            lambda: docker.inspect("guest")["Id"] != before and docker.state("guest") == "running",
            what="its successor is on trial",
        )
        docker.docker("rm", "--force", "vpn")
        waits_for_the_owner(one)
        rejoined(docker, labelled_owner(docker), "guest")


@pytest.mark.parametrize("how", ["restarted", "replaced"])
def test_guests_of_a_guest_come_back_with_it(docker: PrivateEngine, how: str) -> None:
    """The label of the first owner asks for those in its network, and they are what cuts off the
    others."""
    labelled_owner(docker)
    docker.run("guest", "--network", "container:vpn", "--stop-timeout", "2")
    docker.run("inner", "--network", "container:guest", "--stop-timeout", "2")
    with daemon(docker, NO_RULES):
        if how == "restarted":
            docker.docker("restart", "vpn")
            guest = docker.inspect("guest")["Id"]
        else:
            docker.docker("rm", "--force", "vpn")
            rejoined(docker, labelled_owner(docker), "guest")
            guest = docker.inspect("guest")["Id"]
        address = f"inet {docker.inspect('vpn')['NetworkSettings']['IPAddress']}/"
        eventually(
            lambda: (
                docker.inspect("inner")["HostConfig"]["NetworkMode"] == f"container:{guest}"
                and address in docker.docker("exec", "inner", "ip", "-o", "addr", check=False)
            ),
            what="the guest's own guest has the network of the owner",
        )


def test_a_stranger_with_the_name_of_a_set_aside_owner_is_never_taken_for_it(
    docker: PrivateEngine,
) -> None:
    """dockmend sets one aside under such a name, but the journal does not tell of this one."""
    owner(docker)
    docker.run("vpn.dockmend-old-i000000000000000", "--stop-timeout", "2")
    docker.run("guest", "--network", "container:vpn", *REJOIN)
    with daemon(docker, RULE) as one:
        docker.docker("rm", "--force", "vpn")
        waits = partial(incidents, one, waiting_for="owner", attempts=0)
        eventually(
            lambda: any("is waited for" in each.reason for each in waits()),
            60,
            what="the owner is waited for",
        )
        rejoined(docker, owner(docker), "guest")
        closed(one, outcome="healed", timeout=90)


def test_an_owner_that_nobody_knows_is_told_at_once_and_nothing_is_waited_for(
    docker: PrivateEngine,
) -> None:
    owner(docker)
    guest = docker.run("guest", "--network", "container:vpn", *REJOIN)
    replaced(docker)
    flood(docker)  # else the second dockmend may hear from the engine who the old owner was
    with daemon(docker, RULE, config=QUIET) as one:
        (incident,) = closed(one, outcome="failed", timeout=60)
        assert incident.reason_code == "unknown_owner"
        assert "guest" in incident.reason
        assert "docker run --network container:NAME" in incident.reason
        assert incident.target.startswith("dependents:unknown:")
        one.kill()
        one.start()
        docker.docker("rm", "--force", "guest")
        docker.run("guest", "--network", "container:vpn", *REJOIN)
        docker.docker("restart", "vpn")
        (again,) = closed(one, outcome="healed", timeout=60)
        assert again.target == "dependents:container:vpn"
        assert docker.inspect("guest")["Id"] != guest
        assert len(incidents(one)) == 2


TIES = {
    "link": ("--link", "base:alias"),
    "network": ("--network", "container:base"),
    "pid": ("--pid", "container:base"),
    "ipc": ("--ipc", "container:base"),
    "volumes": ("--volumes-from", "base"),
}


@pytest.mark.parametrize("tie", TIES)
def test_one_is_recreated_and_then_the_one_that_names_it(docker: PrivateEngine, tie: str) -> None:
    rules = ANEW.replace("NAME", "base") + ANEW.partition("rules:\n")[2].replace(
        "anew", "other"
    ).replace("NAME", "web")
    docker.patient("base", "--ipc", "shareable", "--volume", "/files", "--stop-timeout", "2")
    web = docker.run(
        "web", *TIES[tie], "--health-cmd", "test ! -e /ill", "--health-interval=300ms",
        "--health-retries=1", "--stop-timeout", "2", init=tie != "pid",
        command=("sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"),
    )  # fmt: skip
    docker.await_health("web", "healthy", 30)
    with daemon(docker, rules, config=QUIET) as one:
        docker.sicken("base", wait=False)
        closed(one, rule="anew", outcome="healed", timeout=90)
        base = docker.inspect("base")["Id"]
        if tie not in ("network", "pid", "ipc"):  # those in its namespaces come back with it
            # A link that is dead lets no command in, so its check fails by itself.
            if docker.inspect("web")["Id"] == web and docker.state("web") == "running":
                docker.docker("exec", "web", "touch", "/ill", check=False)
            closed(one, rule="other", outcome="healed", timeout=90)
        found = docker.inspect("web")
        assert found["Id"] != web
        assert found["State"]["Running"]
        host = found["HostConfig"]
        assert {
            "link": lambda: host["Links"] == ["/base:/web/alias"],
            "network": lambda: host["NetworkMode"] == f"container:{base}",
            "pid": lambda: host["PidMode"] == f"container:{base}",
            "ipc": lambda: host["IpcMode"] == f"container:{base}",
            "volumes": lambda: host["VolumesFrom"] == ["base"],
        }[tie]()
        assert names(docker) == {"base": "running", "web": "running"}


def test_a_link_to_a_stranger_with_a_name_like_a_set_aside_one_stays_that(
    docker: PrivateEngine,
) -> None:
    stranger = "base.dockmend-old-i00000000000test"
    docker.run("base")
    docker.run(stranger)
    web = docker.patient("web", "--link", f"{stranger}:alias", "--stop-timeout", "2")
    with daemon(docker, ANEW.replace("NAME", "web"), config=QUIET) as one:
        docker.sicken("web", wait=False)
        closed(one, rule="anew", outcome="healed", timeout=90)
        assert docker.inspect("web")["Id"] != web
        assert docker.inspect("web")["HostConfig"]["Links"] == [f"/{stranger}:/web/alias"]


FOLLOW = """
version: 1
rules:
  - name: anew
    when: container.unhealthy
    match: {name: base}
    then: [recreate, restart_dependents]
"""


@pytest.mark.parametrize("tie", TIES)
def test_those_that_are_tied_to_one_that_was_recreated_follow(
    docker: PrivateEngine, tie: str
) -> None:
    docker.patient("base", "--ipc", "shareable", "--volume", "/files", "--stop-timeout", "2")
    web = docker.run("web", *TIES[tie], "--stop-timeout", "2", init=tie != "pid")
    with daemon(docker, FOLLOW, config=QUIET) as one:
        docker.sicken("base", wait=False)
        closed(one, outcome="healed", timeout=90)
        found = docker.inspect("web")
        assert found["State"]["Running"]
        assert (found["Id"] == web) == (tie == "volumes")
        docker.docker("exec", "web", "true")
        assert names(docker) == {"base": "running", "web": "running"}
        all_told(one)


LANE = """
version: 1
rules:
  - name: anew
    when: container.unhealthy
    match: {name: web}
    then: recreate
  - name: back
    when: container.network_lost
    match: {name: web}
    then: reconnect_network
    limits: {backoff: 5s to 5s, attempts: 10 per 15m}
"""


def test_a_network_that_was_lost_before_a_recreation_for_another_reason_comes_back(
    docker: PrivateEngine,
) -> None:
    docker.docker("network", "create", "--subnet", "10.89.7.0/24", "lane")
    docker.patient("web", "--stop-timeout", "2")
    docker.docker("network", "connect", "--ip", "10.89.7.7", "--alias", "shop", "lane", "web")
    with daemon(docker, LANE, config=QUIET) as one:
        one.kill()
        docker.docker("network", "disconnect", "lane", "web")
        docker.run("thief", "--network", "lane", "--ip", "10.89.7.7")
        # its address is another's: the reconnection fails, and waits for its next attempt
        one.start()
        eventually(
            lambda: incidents(one, rule="back", waiting_for="backoff"),
            60,
            what="the reconnection failed",
        )
        docker.sicken("web", wait=False)
        closed(one, rule="anew", outcome="healed", timeout=90)
        (waiting,) = incidents(one, rule="back")
        new = str(docker.inspect("web")["Id"])
        assert (waiting.state, waiting.object_id) == ("waiting", new)
        one.kill()
        one.start()
        docker.docker("rm", "--force", "thief")
        (healed,) = closed(one, rule="back", outcome="healed", timeout=90)
        assert (healed.id, healed.object_id) == (waiting.id, new)
        place = docker.inspect("web")["NetworkSettings"]["Networks"]["lane"]
        assert place["IPAddress"] == "10.89.7.7"
        assert "shop" in place["Aliases"]
        assert len(incidents(one)) == 2


class Gate:
    """Keeps an answer of the engine back until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def __call__(self, answer: bytes) -> bytes:
        assert self._open.wait(LIMIT), "the gate is opened"
        return answer


def test_the_place_in_a_network_that_was_lost_outlives_the_bare_one_that_its_heir_is_made_with(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """Its main network, which each creation connects without address and alias: dockmend looks
    before it is left."""
    docker.docker("network", "create", "--subnet", "10.89.8.0/24", "lane")
    docker.patient(
        "web",
        "--stop-timeout",
        "2",
        "--network",
        "lane",
        "--ip",
        "10.89.8.7",
        "--network-alias",
        "shop",
    )
    gate = Gate()
    proxy.spoil(r"POST \S*/containers/create\?name=web\.dockmend-new", gate, times=1)
    with daemon(docker, LANE, config=QUIET) as one:
        one.stop()
        docker.docker("network", "disconnect", "lane", "web")
        docker.run("thief", "--network", "lane", "--ip", "10.89.8.7")
        one.engine_url = proxy.url
        # its address is another's: the reconnection fails, and waits for its next attempt
        one.start()
        eventually(
            lambda: incidents(one, rule="back", waiting_for="backoff"),
            what="the reconnection failed",
        )
        docker.sicken("web", wait=False)
        eventually(
            lambda: '"web.dockmend-new' in one.page("/api/containers"),
            what="dockmend knows the new one",
        )
        gate.open()
        closed(one, rule="anew", outcome="healed", timeout=90)
        docker.docker("rm", "--force", "thief")
        closed(one, rule="back", outcome="healed", timeout=90)
        place = docker.inspect("web")["NetworkSettings"]["Networks"]["lane"]
        assert (place["IPAMConfig"], place["IPAddress"]) == (
            {"IPv4Address": "10.89.8.7"},
            "10.89.8.7",
        )
        assert "shop" in place["Aliases"]


def test_a_network_that_a_person_took_it_out_of_is_not_its_heirs_although_that_was_made_with_it(
    docker: PrivateEngine, proxy: HoldingProxy
) -> None:
    """The same bare place, of a network that nobody misses: it is not connected to it again,
    without its address."""
    docker.docker("network", "create", "--subnet", "10.89.9.0/24", "lane")
    docker.patient(
        "web",
        "--stop-timeout",
        "2",
        "--network",
        "lane",
        "--ip",
        "10.89.9.7",
        "--network-alias",
        "shop",
    )
    docker.docker("network", "disconnect", "lane", "web")
    gate = Gate()
    proxy.spoil(r"POST \S*/containers/create\?name=web\.dockmend-new", gate, times=1)
    with daemon(docker, LANE, config=QUIET) as one:  # how it was connected, dockmend never saw
        one.stop()
        one.engine_url = proxy.url
        one.start()
        docker.sicken("web", wait=False)
        eventually(
            lambda: '"web.dockmend-new' in one.page("/api/containers"),
            what="dockmend knows the new one",
        )
        gate.open()
        closed(one, rule="anew", outcome="healed", timeout=90)
        one.stop()
        one.start()  # by now it has looked at the new one without taking anything for its own doing
        assert incidents(one, rule="back") == []
        assert "lane" not in docker.inspect("web")["NetworkSettings"]["Networks"]


BY_IMAGE = """
version: 1
rules:
  - name: anew
    when: container.unhealthy
    match: {image: "shop:1"}
    then: recreate
    limits: {backoff: 100ms to 1s}
"""


def test_rules_by_image_go_on_with_one_whose_reference_names_another_image_by_now(
    docker: PrivateEngine,
) -> None:
    docker.toolbox_image("shop:1")
    docker.patient("web", "--stop-timeout", "2", image="shop:1")
    docker.toolbox_image("shop:2", labels={"version": "2"})
    docker.docker("tag", "shop:2", "shop:1")
    with daemon(docker, BY_IMAGE, config=QUIET) as one:
        image = docker.inspect("web")["Image"]
        for count in (1, 2):
            docker.sicken("web", wait=False)
            closed(one, count=count, outcome="healed", timeout=90)
            found = docker.inspect("web")
            assert found["Image"] == image
            assert found["Config"]["Labels"] == {"dockmend.image": "shop:1"}


AGAIN = """
version: 1
rules:
  - name: again
    when: container.missing
    match: {name: "*"}
    then: run
    limits: {backoff: 1s to 2s, attempts: 10 per 15m}
"""


def test_an_owner_and_its_guest_that_were_both_removed_are_made_again(
    docker: PrivateEngine,
) -> None:
    owner(docker)
    docker.run("guest", "--network", "container:vpn", "--stop-timeout", "2")
    with daemon(docker, AGAIN, config=f"{QUIET}policy: {{allow: [run]}}\n") as one:
        eventually(lambda: len(kept(one)) == 2, what="both definitions are kept")
        docker.docker("rm", "--force", "guest", "vpn")
        eventually(
            lambda: names(docker) == {"vpn": "running", "guest": "running"},
            120,
            what="both are there again",
        )
        vpn = str(docker.inspect("vpn")["Id"])
        rejoined(docker, vpn, "guest")
        told = closed(one, count=2, outcome="healed", timeout=60)
        assert {each.object_id for each in told} == {vpn, str(docker.inspect("guest")["Id"])}


def kept(one: Daemon) -> list[str]:
    with read_only(one.state / "journal.sqlite3") as reader:
        return reader.known_keys("definition/")


PROJECT = """
version: 1
rules:
  - name: group
    when: container.unhealthy
    match: {name: app}
    then: compose_restart
"""


def test_a_member_of_a_project_whose_owner_was_replaced_is_made_anew_onto_the_new_one(
    docker: PrivateEngine,
) -> None:
    def service(name: str) -> tuple[str, ...]:
        return (
            "--label",
            "com.docker.compose.project=p",
            "--label",
            f"com.docker.compose.service={name}",
        )

    docker.run("vpn", "--stop-timeout", "2", *service("vpn"))
    old = docker.patient(
        "app", "--network", "container:vpn", "--stop-timeout", "2", *service("app")
    )
    with daemon(docker, PROJECT, config=QUIET) as one:
        docker.docker("rm", "--force", "vpn")
        vpn = docker.run("vpn", "--stop-timeout", "2", *service("vpn"))
        docker.sicken("app", wait=False)
        closed(one, outcome="healed", timeout=90)
        assert has_network_of(docker, "app", vpn)
        assert docker.inspect("app")["Id"] != old
        assert names(docker) == {"vpn": "running", "app": "running"}
        all_told(one)
