"""Every transition beside the ends: fired once for each change, however it was learnt, and never by
an echo."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dockmend.mirror import Mirror
from dockmend.mirror.exit_cause import ContainerRun
from dockmend.model import Container, Event, HealthCheck, Network, Volume, aside_name, target_of
from dockmend.owned import OwnedObject
from tests.unit.mirror.host import ID, Host, endpoint, event

LAN, WAN = Network("n1", "lan"), Network("n2", "wan")
OWNER = "0" * 63 + "1"


def started(*networks: Network, **fields: object) -> Host:
    host = Host()
    host.relist(host.container(**fields), networks=networks or (LAN,), first=True)
    host.seen.clear()
    return host


def present(host: Host, container_id: str = ID) -> Container:
    found = host.mirror.container(container_id)
    assert found is not None
    return found


# --- health ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "learnt", ["event", "look", "event, look", "look, event", "event twice", "list"]
)
def test_unhealthy_is_told_once_however_it_is_learnt(learnt: str):
    host = started(check=HealthCheck(), health="healthy")
    sick = replace(present(host), health="unhealthy")
    host.now += 1
    if learnt == "list":
        host.relist(sick, networks=(LAN,))
    for how in learnt.split(", "):
        if how.startswith("event"):
            host.emit("health_status: unhealthy")
        if how == "event twice":
            host.emit("health_status: unhealthy")
        if how == "look":
            host.look(sick)
    assert host.triggers() == ["container.unhealthy"]
    assert host.mirror.stands(ID, host.seen[0].trouble)


def test_each_time_it_turns_unhealthy_is_a_trouble_of_its_own():
    host = started(check=HealthCheck(), health="healthy")
    for health in ("unhealthy", "healthy", "unhealthy"):
        host.now += 1
        host.emit(f"health_status: {health}")
    assert host.triggers() == ["container.unhealthy", "container.healthy", "container.unhealthy"]
    assert len({change.trouble for change in host.seen}) == 3


def test_unhealthy_at_the_first_start_is_treated_and_what_is_well_is_no_news():
    host = Host()
    host.relist(
        host.container(health="unhealthy", check=HealthCheck()), networks=(LAN,), first=True
    )
    assert host.triggers() == ["container.unhealthy"]
    host.seen.clear()
    host.relist(host.container(health="unhealthy", check=HealthCheck()), networks=(LAN,))
    assert host.triggers() == []
    assert [change.triggers for change in host.mirror.standing()] == [("container.unhealthy",)]


def test_a_health_that_starts_over_with_the_engine_is_the_same_trouble():
    host = started(check=HealthCheck(), health="healthy")
    host.now += 1
    host.emit("health_status: unhealthy")
    host.now += 1
    host.relist(replace(present(host), health="starting"), networks=(LAN,), blind=True)
    host.now += 1
    host.emit("health_status: unhealthy")
    assert host.triggers() == ["container.unhealthy"]


def test_a_check_without_a_verdict_is_looked_at_until_there_is_one():
    """No event tells of a check that fails on after a pause."""
    check = HealthCheck(interval=5.0, timeout=1.0, retries=2)
    host = started(check=check, health="healthy")
    host.now += 100
    host.emit("unpause")
    host.look(replace(present(host), health="starting"))
    host.wait(4.9)
    assert ID not in host.mirror.wanted
    host.wait(0.2)
    assert ID in host.mirror.wanted
    host.look(replace(present(host), health="starting"))
    host.wait(5.1)
    assert ID in host.mirror.wanted
    host.look(replace(present(host), health="unhealthy"))
    assert host.triggers() == ["container.unhealthy"]
    host.wait(600.0)
    assert ID not in host.mirror.wanted


def test_a_check_that_has_just_begun_is_not_looked_at_before_its_verdict_is_due():
    host = started(check=HealthCheck(interval=5.0, timeout=1.0, retries=2), health="healthy")
    host.look(replace(present(host), started_at=host.now, health="starting"))
    host.wait(17.0)
    assert ID not in host.mirror.wanted
    host.emit("health_status: healthy")
    host.wait(600.0)
    assert ID not in host.mirror.wanted


def test_a_replay_of_older_health_changes_nothing():
    host = started(check=HealthCheck(), health="healthy")
    for health in ("unhealthy", "healthy"):
        host.now += 1
        host.emit(f"health_status: {health}")
    known = host.mirror.known(ID)
    assert known is not None
    later = Host(Mirror(), now=host.now)
    later.mirror.restore(known)
    later.now -= 1
    later.emit("health_status: unhealthy")
    assert later.triggers() == []
    assert present(later).health == "healthy"


# --- networks -------------------------------------------------------------------------------------


def connected(**fields: object) -> Host:
    networks = {
        "lan": endpoint("n1", address="10.0.0.2"),
        "wan": endpoint("n2", address="10.1.0.2"),
    }
    return started(LAN, WAN, networks=networks, **fields)


def without(container: Container, name: str) -> Container:
    return replace(
        container, networks={key: each for key, each in container.networks.items() if key != name}
    )


def test_a_network_that_is_gone_from_inspect_is_lost_and_the_event_alone_proves_nothing():
    host = connected()
    host.emit("disconnect", "n1", kind="network", container=ID)
    assert host.seen == []
    assert ID in host.mirror.wanted
    host.look(without(present(host), "lan"))
    host.look(present(host))
    (change,) = host.seen
    assert (change.triggers, change.network, change.cause) == (
        ("container.network_lost",),
        "lan",
        "disconnected",
    )
    assert host.mirror.known_networks(ID)["lan"].address == "10.0.0.2"


def test_the_disconnects_of_a_stop_lose_nothing():
    host = connected()
    for action in ("kill", "die"):
        host.emit(action, signal="15", exitCode="143")
    for network in ("n1", "n2"):
        host.emit("disconnect", network, kind="network", container=ID)
    bare = {name: replace(each, address="") for name, each in present(host).networks.items()}
    host.look(replace(host.ended(143), networks=bare))
    host.wait(1)
    assert "container.network_lost" not in host.triggers()
    assert host.mirror.known_networks(ID)["lan"].address == "10.0.0.2"


def test_back_it_is_no_trouble_and_lost_again_it_is_another():
    host = connected()
    whole = present(host)
    for _ in range(2):
        host.look(without(whole, "lan"))
        host.look(whole)
    assert host.triggers() == ["container.network_lost"] * 2
    assert len({change.trouble for change in host.seen}) == 2
    assert host.mirror.standing() == []


def test_disconnected_again_soon_after_dockmend_put_it_back_it_was_on_purpose():
    host = connected()
    whole = present(host)
    host.look(without(whole, "lan"))
    host.look(whole)
    host.mirror.reconnected(ID, "lan", host.now)
    host.now += 599
    host.look(without(whole, "lan"))
    assert [change.on_purpose for change in host.seen] == [False, True]
    host.look(whole)  # the person put it back: from now on it belongs to it again
    host.now += 1
    host.look(without(whole, "lan"))
    assert [change.on_purpose for change in host.seen] == [False, True, False]


def test_ten_minutes_later_it_is_a_loss_again():
    host = connected()
    whole = present(host)
    host.mirror.reconnected(ID, "lan", host.now)
    host.now += 601
    host.look(without(whole, "lan"))
    assert [change.on_purpose for change in host.seen] == [False]


def test_a_network_removed_and_made_again_under_a_stopped_container():
    host = connected()
    host.emit("kill", signal="9")
    host.emit("die", exitCode="137")
    host.look(host.ended(137))
    host.wait(1)
    host.seen.clear()
    host.seen += host.mirror.observe_networks((WAN, Network("n9", "lan")), host.now)
    host.seen += host.mirror.observe_networks((WAN, Network("n9", "lan")), host.now)
    (change,) = host.seen
    assert (change.triggers, change.network, change.cause) == (
        ("container.network_lost",),
        "lan",
        "removed",
    )


def test_the_engines_own_network_made_again_is_not_lost():
    host = started(
        Network("b1", "bridge"),
        networks={"bridge": endpoint("b1")},
        state="exited",
        finished_at=950.0,
    )
    host.seen += host.mirror.observe_networks((Network("b2", "bridge"),), host.now)
    assert host.seen == []


def test_another_address_is_told_also_over_a_restart():
    host = connected()
    host.emit("die", exitCode="1")
    bare = {name: replace(each, address="") for name, each in present(host).networks.items()}
    host.look(replace(host.ended(1), networks=bare))
    host.now += 1
    host.emit("start")
    moved = {"lan": endpoint("n1", address="10.0.0.3"), "wan": endpoint("n2", address="10.1.0.2")}
    host.look(replace(present(host), networks=moved))
    changes = [change for change in host.seen if "container.address_changed" in change.triggers]
    assert [change.network for change in changes] == ["lan"]


# --- namespaces -----------------------------------------------------------------------------------


def joined() -> Host:
    host = Host()
    owner = host.container(id=OWNER, name="owner", networks={"lan": endpoint()})
    host.relist(
        owner,
        host.container(name="guest", network_mode=f"container:{OWNER}"),
        networks=(LAN,),
        first=True,
    )
    assert host.seen == []
    return host


@pytest.mark.parametrize(
    "what", ["stopped", "restarted", "removed", "gone unseen", "restarted unseen"]
)
def test_a_guest_is_orphaned_once(what: str):
    host = joined()
    owner, guest = present(host, OWNER), present(host)
    host.now += 1
    if what in ("stopped", "restarted", "removed"):
        host.emit("kill", OWNER, signal="15")
        host.emit("stop", OWNER)
        host.emit("die", OWNER, exitCode="143")
    if what == "restarted":
        host.emit("start", OWNER)
        host.emit("restart", OWNER)
    if what == "removed":
        host.emit("destroy", OWNER)
    if what == "gone unseen":
        host.relist(guest, networks=(LAN,))
        assert OWNER in host.mirror.wanted
        host.seen += host.mirror.gone(OWNER, host.now)
    if what == "restarted unseen":
        host.relist(replace(owner, started_at=host.now), guest, networks=(LAN,), blind=True)
    host.wait(1)
    assert host.triggers().count("container.orphaned") == 1
    host.relist(*host.mirror.containers(), networks=(LAN,))
    assert host.triggers().count("container.orphaned") == 1


def test_a_guest_that_is_restarted_after_its_owner_is_none_any_more():
    host = joined()
    host.now += 1
    for action in ("die", "start"):
        host.now += 1
        host.emit(action, OWNER, exitCode="1")
    for action in ("die", "start"):
        host.now += 1
        host.emit(action, exitCode="143")
    assert "orphaned" not in host.mirror.entries[ID].kept.standing
    host.relist(*host.mirror.containers(), networks=(LAN,))
    assert host.triggers().count("container.orphaned") == 1


def test_a_guest_seen_before_its_owner_is_no_orphan():
    host = Host()
    host.relist(networks=(LAN,), first=True)
    for one in (OWNER, ID):
        host.now += 1
        host.emit("start", one)
    guest = host.container(name="guest", network_mode=f"container:{OWNER}", started_at=host.now)
    host.look(guest)
    host.look(host.container(id=OWNER, name="owner", started_at=host.now - 1.1))
    assert "container.orphaned" not in host.triggers()


@pytest.mark.parametrize(
    ("depends", "group"),
    [
        ("vpn:service_started:true", "dependents:compose:shop/vpn/1"),
        ("vpn:service_started:true,db:service_healthy:false", f"dependents:unknown:{OWNER[:12]}"),
        ("", f"dependents:unknown:{OWNER[:12]}"),
    ],
)
def test_an_owner_that_was_never_seen_is_named_by_compose_where_that_is_plain(
    depends: str, group: str
):
    host = Host()
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "app"}
    labels |= {"com.docker.compose.depends_on": depends} if depends else {}
    host.relist(
        host.container(network_mode=f"container:{OWNER}", labels=labels),
        networks=(LAN,),
        first=True,
    )
    (change,) = [each for each in host.seen if each.triggers == ("container.orphaned",)]
    assert change.group == group
    assert host.mirror.orphans(group) == [present(host)]


RUNC = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to "
    "start container process:"
)


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (f"cannot join network of a non running container: {OWNER}", True),  # 26
        # 28
        (
            "cannot join network namespace of a non running container: container owner is exited",
            True,
        ),
        (f"No such container: {OWNER}", True),
        (f"joining network namespace of container: No such container: {OWNER}", True),
        (
            (
                f'{RUNC} exec: "No such container: {OWNER}": executable file not found in '
                "$PATH: unknown"
            ),
            False,
        ),
        (
            (
                f"{RUNC} exec: stat /cannot join network of a non running container: x: no such "
                "file or directory"
            ),
            False,
        ),
        ("unable to find user No such container: no matching entries in passwd file", False),
        ("", False),
    ],
)
def test_that_it_could_not_join_the_engine_says_and_no_image(error: str, failed: bool):
    """Which command or user there is none of, an image's author words as they like."""
    host = joined()
    host.now += 1
    for action in ("kill", "die", "stop"):
        host.emit(action, signal="15", exitCode="143")
    host.look(host.ended(128, error=error))
    host.wait(1)
    assert host.mirror.stopped(ID) is not failed
    assert ("orphaned" in host.mirror.entries[ID].kept.standing) is failed


def test_one_that_could_not_join_is_an_orphan_though_it_was_stopped_before():
    host = joined()
    host.now += 1
    host.emit("die", OWNER, exitCode="0")
    for action in ("kill", "die", "stop"):
        host.emit(action, signal="15", exitCode="143")
    host.look(
        host.ended(128, error=f"cannot join network namespace of a non running container: {OWNER}")
    )
    host.wait(1)
    assert host.mirror.entries[ID].kept.standing["orphaned"].group == "dependents:container:owner"
    assert not host.mirror.stopped(ID)
    assert [each.name for each in host.mirror.guests("container:owner")] == ["guest"]


def test_one_that_a_person_stopped_is_no_orphan_to_be_treated():
    host = joined()
    host.now += 1
    for action in ("kill", "die", "stop"):
        host.emit(action, signal="15", exitCode="143")
    host.look(host.ended(143))
    host.wait(1)
    host.emit("die", OWNER, exitCode="0")
    host.wait(1)
    assert host.mirror.orphans("dependents:container:owner") == []


# --- what does not come ---------------------------------------------------------------------------


def test_one_that_is_killed_and_does_not_end_is_stuck():
    host = started()
    host.emit("kill", signal="9")
    host.wait(59)
    assert host.triggers() == []
    host.wait(2)
    host.wait(600)
    assert host.triggers() == ["container.stuck"]


@pytest.mark.parametrize("state", ["removing", "dead"])
def test_a_removal_that_never_ends_is_stuck_and_one_that_ends_is_not(state: str):
    host = started()
    host.emit("kill", signal="15")
    host.emit("die", exitCode="143")
    host.look(replace(host.ended(143), state=state))
    host.wait(30)
    host.seen.clear()
    host.wait(31)
    assert host.triggers() == ["container.stuck"]
    other = started()
    other.look(replace(present(other), state=state))
    other.emit("destroy")
    other.wait(61)
    assert "container.stuck" not in other.triggers()


def test_made_and_never_started_is_not_stuck():
    host = started(state="created", started_at=0.0)
    host.wait(3600)
    assert host.seen == []


@pytest.mark.parametrize(("successor", "missing"), [(None, 1), (5.0, 0), (15.0, 1)])
def test_what_is_removed_is_missing_unless_something_takes_its_place(
    successor: float | None, missing: int
):
    host = started(state="exited", exit_code=1, finished_at=950.0)
    host.emit("destroy")
    if successor is not None:
        host.wait(successor)
        host.look(host.container(id=OWNER, started_at=host.now))
    host.wait(20)
    assert host.triggers().count("container.missing") == missing


@pytest.mark.parametrize(
    ("fields", "missed"),
    [
        ({"state": "created", "started_at": 0.0}, False),
        ({"state": "exited", "exit_code": 0, "finished_at": 950.0}, False),
        (
            {
                "state": "exited",
                "exit_code": 0,
                "finished_at": 950.0,
                "restart_policy": "on-failure",
            },
            False,
        ),
        (
            {"state": "exited", "exit_code": 0, "finished_at": 950.0, "restart_policy": "always"},
            True,
        ),
        ({"state": "exited", "exit_code": 1, "finished_at": 950.0}, True),
        ({"state": "running"}, True),
        ({"state": "running", "auto_remove": True}, False),
    ],
    ids=[
        "never ran",
        "did its work",
        "did its work at last",
        "is to run always",
        "failed",
        "ran",
        "--rm",
    ],
)
def test_what_its_creator_made_for_a_moment_is_missed_by_nobody(
    fields: dict[str, Any], missed: bool
):
    host = started(**fields)
    gone: list[str] = []
    host.mirror.on_gone = gone.append
    host.emit("destroy")
    host.wait(20)
    assert ("container.missing" in host.triggers()) is missed
    assert gone == ([] if missed or "auto_remove" in fields else ["container:web"])


def test_a_step_of_a_build_is_missed_by_nobody_and_a_person_s_stop_stays_one():
    step, stopped = started(), started()
    for host, events in ((step, ("die",)), (stopped, ("kill", "die", "stop"))):
        for action in events:
            host.emit(action, exitCode="0", signal="15")
        host.look(host.ended(0))
        host.wait(1.0)
        host.emit("destroy")
        host.wait(20)
    assert "container.missing" not in step.triggers()
    assert [change.cause for change in stopped.seen if "container.missing" in change.triggers] == [
        "stopped"
    ]


def test_a_network_and_a_volume_that_are_removed_and_not_made_again():
    data, noname = Volume("data"), Volume("f" * 64)
    host = Host()
    host.mirror.relist((), (LAN, WAN), (data, noname), host.now, "started")
    host.seen += host.mirror.observe_networks((), host.now)
    host.seen += host.mirror.observe_volumes((), host.now)
    host.seen += host.mirror.observe_networks((Network("n8", "wan"),), host.now + 5)
    host.wait(11)
    assert sorted((change.triggers[0], change.target) for change in host.seen) == [
        ("network.missing", "network:lan"), ("volume.missing", "volume:data")
    ]  # fmt: skip


# --- echoes ---------------------------------------------------------------------------------------


def restart_of_dockmend(host: Host) -> None:
    host.mirror.expect(ID, "restart")
    host.now += 1
    for action in ("kill", "stop", "die", "start", "restart"):
        host.now += 0.01
        host.emit(action, signal="15", exitCode="143")
    host.mirror.expected(ID, host.now)
    host.look(replace(present(host), started_at=host.now - 0.015))


def test_dockmends_own_restart_triggers_nothing():
    host = started()
    restart_of_dockmend(host)
    host.wait(5)
    assert host.seen == []


def test_what_the_restart_does_to_others_is_no_echo():
    host = Host()
    guest = host.container(id=OWNER, name="guest", network_mode=f"container:{ID}")
    host.relist(host.container(), guest, networks=(LAN,), first=True)
    restart_of_dockmend(host)
    assert host.triggers() == ["container.orphaned"]


def test_a_failure_after_the_outcome_is_no_echo():
    host = started()
    restart_of_dockmend(host)
    host.now += 0.1
    host.emit("die", exitCode="1")
    host.look(host.ended(1))
    host.wait(1)
    assert [change.cause for change in host.seen] == ["crashed"]


@pytest.mark.parametrize("heard_first", [True, False])
def test_recreating_one_triggers_nothing_and_the_target_stays(heard_first: bool):
    host = started()
    target = target_of(present(host))
    old_name, new_name = (aside_name("web", what, "i0abc0abc0abc0ab") for what in ("old", "new"))
    told = ("", "i0abc0abc0abc0ab")
    host.mirror.owned.put(OwnedObject("o1", "container", old_name, *told, "aside", 0.0, ID))
    host.mirror.owned.put(OwnedObject("o2", "container", new_name, *told, "successor", 0.0))
    host.mirror.expect(ID, "recreate")
    new = host.container(id=OWNER, name=new_name, state="created", started_at=0.0)
    if heard_first:
        host.look(new)
    host.mirror.expect_made(OWNER, "recreate")
    host.emit("create", id=OWNER)
    host.look(new)
    for action in ("kill", "die", "stop"):
        host.emit(action, signal="15", exitCode="143")
    host.look(host.ended(143))
    host.look(replace(present(host), name=old_name))
    assert target_of(present(host)) == target
    host.now += 1
    host.emit("rename", id=OWNER, name="web")
    host.emit("start", id=OWNER)
    host.look(replace(new, name="web", state="running", started_at=host.now))
    host.emit("destroy")
    for each in (ID, OWNER):
        host.mirror.expected(each, host.now)
    host.wait(30)
    assert host.seen == []
    assert host.mirror.of_target(target) == host.mirror.container(OWNER)


def _recreated(host: Host) -> None:
    """dockmend has made a successor, which runs under its own name, on trial."""
    host.mirror.expect(ID, "recreate")
    host.mirror.expect_made(OWNER, "recreate", on_trial=True)
    host.emit("create", id=OWNER)
    new = host.container(id=OWNER, name="web-new", state="created", started_at=0.0)
    host.look(new)
    for action in ("kill", "die", "stop"):
        host.emit(action, signal="15", exitCode="143")
    host.look(host.ended(143))
    host.now += 1
    host.emit("start", id=OWNER)
    host.look(replace(new, state="running", started_at=host.now))
    host.now += 2


def _ends(host: Host, *actions: str) -> None:
    for action in actions:
        host.emit(action, id=OWNER, signal="15", exitCode="1")
    seen = host.mirror.container(OWNER)
    assert seen is not None
    host.look(replace(seen, state="exited", exit_code=1, finished_at=host.now, health=""))


def _outcome_of_recreate(host: Host) -> None:
    host.emit("destroy")
    for each in (ID, OWNER):
        host.mirror.expected(each, host.now)


@pytest.mark.parametrize("heard", ["before its place", "before the outcome", "after the outcome"])
@pytest.mark.parametrize(
    ("cause", "events"), [("crashed", ("die",)), ("stopped", ("kill", "die", "stop"))]
)
def test_an_end_of_what_was_just_made_is_not_dockmends(
    heard: str, cause: str, events: tuple[str, ...]
):
    host = started()
    _recreated(host)
    if heard == "before its place":
        _ends(host, *events)
        host.wait(30)  # its place is written down, and the disk is slow
        assert host.seen == []
    host.mirror.succeeded(ID, OWNER)
    if heard == "before the outcome":
        _ends(host, *events)
    _outcome_of_recreate(host)
    if heard == "after the outcome":
        host.now += 0.1
        _ends(host, *events)
    assert host.mirror.stopped(OWNER) is (cause == "stopped")
    host.wait(5)
    assert [change.cause for change in host.seen] == [cause]


@pytest.mark.parametrize("ended", ["before", "after"])
def test_what_did_not_prove_well_is_ended_by_the_action_that_takes_it_away(ended: str):
    host = started()
    _recreated(host)
    if ended == "before":
        _ends(host, "die")
        host.wait(5)
    host.mirror.expect_taken_away(OWNER, "recreate")
    if ended == "after":
        _ends(host, "kill", "die", "stop")
    host.emit("destroy", id=OWNER)
    host.wait(5)
    _outcome_of_recreate(host)
    host.wait(5)
    assert host.seen == []


def test_a_reload_is_no_stop_of_what_is_on_trial():
    host = started()
    _recreated(host)
    host.emit("kill", id=OWNER, signal="1")
    _ends(host, "die")
    assert not host.mirror.stopped(OWNER)


def test_a_step_before_does_not_take_the_end_of_the_run_that_the_next_one_began():
    host = started()
    host.mirror.expect(ID, "kill")
    host.emit("kill", signal="1")
    host.mirror.expected(ID, host.now)
    host.mirror.expect(ID, "restart")
    for each in ("kill", "die", "stop"):
        host.emit(each, signal="15", exitCode="143")
    host.now += 0.3
    host.emit("start")
    host.look(replace(present(host), started_at=host.now))
    host.now += 0.01
    host.emit("die", exitCode="1")
    host.look(host.ended(1))
    host.emit("restart")
    host.wait(5)
    assert [change.cause for change in host.seen] == ["crashed"]


def test_what_could_not_be_taken_away_is_off_trial_with_the_outcome():
    host = started()
    _recreated(host)
    host.mirror.expected(OWNER, host.now)
    host.wait(2)
    _ends(host, "die")
    host.wait(5)
    assert [change.cause for change in host.seen] == ["crashed"]


@pytest.mark.parametrize("action", ["restart", "recreate", "start"])
def test_an_end_right_after_the_start_that_an_action_made_is_not_its_own(action: str):
    """It ends within a millisecond: the engine tells of that before it tells of the restart."""
    host = started()
    host.mirror.expect(ID, action)
    for each in ("kill", "die", "stop") if action != "start" else ():
        host.emit(each, signal="15", exitCode="143")
    if action == "start":
        host.emit("die", exitCode="0")
        host.seen.clear()
    host.now += 0.5
    host.emit("start")
    host.look(replace(present(host), started_at=host.now))
    host.now += 0.001
    host.emit("die", exitCode="1")
    host.look(host.ended(1))
    host.emit("restart")
    host.mirror.expected(ID, host.now)
    host.wait(5)
    assert [change.cause for change in host.seen if change.cause != "completed"] == ["crashed"]


@pytest.mark.parametrize(
    "action", ["reconnect_network", "snapshot_volume", "commit_image", "exec", "pause"]
)
def test_an_end_during_what_ends_nothing_is_no_echo(action: str):
    host = started()
    host.mirror.expect(ID, action)
    host.emit("die", exitCode="1")
    host.look(host.ended(1))
    host.mirror.expected(ID, host.now)
    host.wait(1)
    assert "crashed" in [change.cause for change in host.seen]


def test_the_end_that_a_step_before_brought_is_its_echo_still():
    host = started()
    host.mirror.expect(ID, "stop")
    host.mirror.expected(ID, host.now)
    host.mirror.expect(ID, "snapshot_volume")
    for action in ("kill", "die", "stop"):
        host.emit(action, signal="15", exitCode="143")
    host.look(host.ended(143))
    host.wait(1)
    assert host.seen == []
    assert host.mirror.taken_down(ID)
    assert not host.mirror.stopped(ID)


def test_inspect_ahead_of_the_stream_during_dockmends_own_restart():
    host = started()
    echo = host.mirror.expect(ID, "restart")
    host.now += 1
    host.look(replace(present(host), started_at=host.now))
    for action in ("kill", "stop", "die"):
        host.seen += host.mirror.apply(_at(action, host.now - 0.5), host.now)
    for action in ("start", "restart"):
        host.seen += host.mirror.apply(_at(action, host.now + 0.01), host.now)
    host.mirror.expected(ID, host.now)
    host.wait(5)
    assert host.seen == []
    assert echo is not None
    assert not host.mirror.owes_a_stop(ID)


def test_that_a_stop_is_owed_no_more_is_to_be_written_down_too():
    """Two stops are told of first; that the second was a person's restart, a moment later."""
    host = started()
    host.mirror.expect(ID, "restart")
    host.mirror.asks_to_stop(ID, "a1", again=True)
    host.now += 1
    for action in ("kill", "die", "stop", "stop", "start", "restart"):
        host.now += 0.01
        host.emit(action, signal="15", exitCode="143")
    assert host.mirror.owes_a_stop(ID)
    host.mirror.changed.clear()
    host.now += 0.01
    host.emit("restart")
    assert not host.mirror.owes_a_stop(ID)
    assert host.mirror.changed == {ID}


def test_what_a_person_began_owes_no_stop_although_dockmend_stopped_it_for_that_person():
    """A stop that dockmend does again may find it down already: then only the signals are told of,
    and the start."""
    host = started()
    host.mirror.expect(ID, "stop")
    host.mirror.asks_to_stop(ID, "a1")
    for action in ("kill", "die"):
        host.now += 0.01
        host.emit(action, signal="15", exitCode="143")
    host.mirror.expected(ID, host.now)
    host.now += 60
    host.emit("start")
    assert not host.mirror.owes_a_stop(ID)


def _at(action: str, at: float) -> Event:
    return event("container", action, ID, at, signal="15", exitCode="143")


# --- before it is known ---------------------------------------------------------------------------


def test_one_that_ends_before_anybody_could_look_has_its_cause():
    host = Host()
    host.relist(networks=(LAN,), first=True)
    host.emit("create")
    host.emit("start")
    host.emit("die", exitCode="7")
    host.look(
        host.container(state="exited", exit_code=7, started_at=host.now - 0.1, finished_at=host.now)
    )
    host.wait(1)
    assert [change.triggers for change in host.seen] == [
        ("container.started",), ("container.crashed", "container.exited")
    ]  # fmt: skip


def test_one_that_is_gone_before_anybody_could_look_has_its_cause_and_no_labels_of_its_own():
    host = Host()
    host.relist(networks=(LAN,), first=True)
    for action in ("create", "start", "die", "destroy"):
        code = {"exitCode": "7"} if action == "die" else {}
        host.emit(action, name="job", image="toolbox", autoheal="true", tier="web", **code)
        host.now += 0.1
    host.wait(30)
    ends = [change for change in host.seen if "container.exited" in change.triggers]
    assert [change.cause for change in ends] == ["crashed"]
    subject = ends[0].subject
    assert isinstance(subject, Container)
    assert (subject.name, subject.labels) == ("job", {})
    assert subject.image_labels == {"autoheal": "true", "tier": "web"}
    assert subject.image_unknown
    assert "container.missing" not in host.triggers()


def test_a_stranger_with_a_name_like_a_set_aside_one_is_not_the_one_it_names():
    host = Host()
    stranger = host.container(id="5" * 64, name=aside_name("web", "old", "i0123456789abcde"))
    host.relist(host.container(), stranger, networks=(LAN,), first=True)
    host.emit("die", id=stranger.id, exitCode="3")
    host.look(replace(stranger, state="exited", exit_code=3, finished_at=host.now))
    host.wait(1)
    assert [change.target for change in host.seen] == [f"container:{stranger.name}"]
    host.emit("destroy")
    host.wait(60)
    assert "container.missing" in host.triggers()


@pytest.mark.parametrize(
    ("labels", "code", "cause"),
    [({"exitCode": "0"}, "0", "unknown"), ({"signal": "15"}, "7", "crashed")],
)
def test_the_labels_of_one_that_is_gone_forge_no_end(labels: dict[str, str], code: str, cause: str):
    host = Host()
    host.relist(networks=(LAN,), first=True)
    for action in ("create", "start", "kill", "die", "destroy"):
        own = {"die": {"exitCode": code}, "kill": {"signal": "1"}}.get(action, {})
        host.emit(action, name="job", image="toolbox", **(own | labels))
        host.now += 0.1
    host.wait(30)
    assert [change.cause for change in host.seen if "container.exited" in change.triggers] == [
        cause
    ]


def test_an_attempt_to_start_that_failed_is_no_end():
    host = Host()
    host.relist(networks=(LAN,), first=True)
    host.emit("create")
    host.emit("die", exitCode="127")
    host.look(host.container(state="created", started_at=0.0))
    host.wait(5)
    assert "container.exited" not in host.triggers()


def test_dockmend_dies_before_the_cause_was_settled():
    host = started()
    host.emit("die", exitCode="7")
    known = host.mirror.known(ID)
    assert known is not None
    later = Host(Mirror(), now=host.now + 5)
    later.mirror.restore(known)
    later.relist(host.ended(7), networks=(LAN,))
    later.wait(1)
    assert [change.cause for change in later.seen] == ["crashed"]
    again = Host(Mirror(), now=later.now)
    known = later.mirror.known(ID)
    assert known is not None
    again.mirror.restore(known)
    again.relist(present(later), networks=(LAN,))
    again.wait(1)
    assert again.seen == []


@pytest.mark.parametrize("asked", ["before the owner began anew", "after it"])
def test_a_guest_that_dockmend_asked_to_start_before_its_owner_began_anew_is_orphaned(asked: str):
    """The engine lets it join first and says that it started later (campaign, seed 2064)."""
    host = joined()
    host.now += 1
    host.emit("die", exitCode="1")
    host.look(host.ended(1))
    host.wait(1)
    if asked == "before the owner began anew":
        host.mirror.asks(ID, host.now)
    for action in ("die", "start"):
        host.now += 1
        host.emit(action, OWNER, exitCode="1")
    host.look(replace(present(host, OWNER), started_at=host.now))
    if asked == "after it":
        host.now += 1
        host.mirror.asks(ID, host.now)
    host.now += 1
    host.emit("start")
    guest = replace(present(host), started_at=host.now - 0.01, exit_code=None)
    host.look(guest)
    early = asked == "before the owner began anew"
    assert host.triggers().count("container.orphaned") == int(early)
    assert (host.mirror.joined_at(guest) < present(host, OWNER).started_at) == early


def test_a_guest_whose_start_was_learnt_before_its_owners_is_orphaned_by_that():
    """A look is ahead of the stream, which then tells of the owner in the middle of the guest's
    start."""
    host = joined()
    host.now += 1
    host.emit("die", exitCode="1")
    host.look(host.ended(1))
    host.wait(1)
    host.mirror.asks(ID, host.now)
    host.now += 2
    host.look(replace(present(host), state="running", started_at=host.now, exit_code=None))
    assert "container.orphaned" not in host.triggers()
    for action, at in (("die", host.now - 1.5), ("start", host.now - 1)):
        host.seen += host.mirror.apply(
            event("container", action, OWNER, at, exitCode="1"), host.now
        )
    assert host.triggers().count("container.orphaned") == 1


@pytest.mark.parametrize(
    ("began", "over", "told"),
    [(-99.0, 0.0, -99.0), (101.0, 0.0, 100.0), (101.0, 100.5, 100.5), (101.0, 101.0, 100.0)],
    ids=["a clock behind", "a clock ahead", "the run before it ended later", "a look told of both"],
)
def test_when_dockmend_asked_is_told_by_how_long_that_is_ago(
    began: float, over: float, told: float
):
    """The engine's clock may be another, and a restart starts only what it has ended."""
    host = joined()
    host.now += 1
    found, since = host.mirror.entries[ID], host.now
    host.mirror.asks(ID, since)
    found.kept.run.died_at = since + over if over else 0.0
    assert host.mirror.asked_at(
        found, ContainerRun(started_at=since + began), since + 1
    ) == pytest.approx(since + told)
    # of one run only
    assert host.mirror.asked_at(found, ContainerRun(started_at=since + began), since + 1) == 0.0


def test_what_the_engine_refused_to_start_was_not_asked_for():
    host = joined()
    host.mirror.asks(ID, host.now)
    host.mirror.asks(ID, None)
    assert (
        host.mirror.asked_at(
            host.mirror.entries[ID], ContainerRun(started_at=host.now + 5), host.now + 5
        )
        == 0.0
    )


def test_the_end_that_was_told_as_a_persons_stays_so_when_dockmend_tells_of_its_own_doing():
    """It did the stop again that its restart had swallowed: to a new dockmend that looks like its
    own."""
    host = joined()
    host.now += 1
    for action in ("kill", "die"):
        host.emit(action, signal="15", exitCode="143")
    host.mirror.stopped_by_person(ID)
    host.mirror.acted(ID, host.now - 1, host.now + 1)
    assert host.mirror.stopped(ID)
    assert not host.mirror.taken_down(ID)


def test_a_stop_that_was_done_for_a_person_before_its_end_was_heard_of_is_that_persons():
    """The answer may come before the event, and then the echo of dockmend's own call is still
    open."""
    host = joined()
    host.now += 1
    host.mirror.expect(ID, "stop")
    host.mirror.stopped_by_person(ID)
    host.mirror.expected(ID, host.now)
    for action in ("kill", "die", "stop"):
        host.emit(action, signal="15", exitCode="143")
    host.look(host.ended(143))
    host.wait(1)
    assert host.mirror.stopped(ID)
    assert not host.mirror.taken_down(ID)


def test_what_dockmend_was_ending_is_not_remembered_for_ever():
    host = joined()
    for number in range(100):
        host.mirror.acted(ID, host.now + 60.0 * number, host.now + 60.0 * number + 10.0)
    assert len(host.mirror._acted[ID]) <= 11


MAC, OTHER = "7a:11:22:33:44:55", "1e:11:22:33:44:66"


def run_of(number: int, mac: str | None, in_use: str) -> Container:
    """An inspect answer of the container's run of that number, in the network lane."""
    place = endpoint(address="10.0.0.5", mac=mac, mac_in_use=in_use)
    return Host().container(started_at=900.0 + number, networks={"lane": place})


@pytest.mark.parametrize(
    ("answers", "known"),
    [
        ([run_of(0, None, MAC)], None),
        ([run_of(0, None, MAC), run_of(0, None, MAC)], None),  # the same run
        ([run_of(0, None, MAC), run_of(1, None, MAC)], MAC),
        ([run_of(0, None, MAC), run_of(1, None, OTHER)], None),
        ([run_of(0, None, MAC), run_of(1, None, MAC), run_of(1, None, MAC)], MAC),
        ([run_of(0, None, "02:42:0a:00:00:05"), run_of(1, None, "02:42:0a:00:00:05")], None),
        ([run_of(0, "", MAC), run_of(1, "", MAC)], ""),
        # it was put back, which the engine ignores the MAC in
        ([run_of(0, MAC, MAC), run_of(0, "", OTHER)], MAC),
        ([run_of(0, MAC, MAC), run_of(1, None, OTHER)], MAC),
    ],
)
def test_whether_a_mac_address_was_configured_is_kept(
    answers: list[Container], known: str | None
) -> None:
    host = Host()
    host.relist(answers[0], first=True)
    for each in answers[1:]:
        host.look(each)
        stopped = {"lane": endpoint()}
        host.look(
            replace(
                each,
                state="exited",
                exit_code=0,
                finished_at=each.started_at + 0.5,
                networks=stopped,
            )
        )
    assert host.mirror.known_networks(ID)["lane"].mac == known


def test_what_is_known_of_a_mac_address_makes_no_look_a_change() -> None:
    host = Host()
    host.relist(run_of(0, None, MAC), first=True)
    host.look(run_of(1, None, MAC))
    host.mirror.changed.clear()
    host.look(run_of(1, None, MAC))
    assert host.mirror.changed == set()


def test_what_a_version_wrote_that_did_not_divide_labels_is_taken_up_without_them():
    host = started(labels={"tier": "web"})
    host.look(replace(present(host), health="unhealthy", labels={"tier": "web"}))
    known = host.mirror.known(ID)
    assert known is not None
    old = msgspec.msgpack.decode(known)
    del old["labels_divided"]
    later = Mirror()
    later.restore(msgspec.msgpack.encode(old))
    seen = later.container(ID)
    assert seen is not None
    assert (seen.labels, seen.image_labels, seen.image_unknown) == ({}, {"tier": "web"}, True)
    assert [change.subject for change in later.standing()] == [seen]
    restored = Mirror()
    restored.restore(known)
    assert restored.container(ID) == present(host)


def test_whose_labels_are_stays_known_although_the_image_went():
    host = started(labels={"tier": "web"}, image_labels={"a": "1"})
    before = present(host)
    host.look(
        replace(before, labels={}, image_labels={"tier": "web", "a": "1"}, image_unknown=True)
    )
    assert present(host) == before


def test_an_answer_that_is_older_than_the_removal_brings_nothing_back():
    """The engine shows a container that is being removed as dead; such an answer may come after the
    removal is told."""
    host = Host()
    host.relist(host.container(), first=True)
    asked = host.mirror.heard(ID)
    dead = host.container(state="dead", exit_code=137, finished_at=host.now)
    host.emit("die", exitCode="137")
    host.emit("destroy")
    assert host.mirror.observe(dead, host.now, asked=asked) == []
    assert host.mirror.container(ID) is None
