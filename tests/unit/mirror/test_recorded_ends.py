"""An end of which nothing was heard: what the engine's own record of it tells, and when it is
doubted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from dockmend.mirror import Mirror
from dockmend.mirror.exit_cause import EARLIER, EngineStart
from dockmend.model import Container
from tests.unit.mirror.host import ID, Host

UP = EngineStart(began_at=500.0, ready_at=510.0)
"""The engine of these tests came up long before everything in them."""


def watched(policy: str = "no", **fields: object) -> Host:
    host = Host()
    host.mirror.engine_start = UP
    host.relist(host.container(restart_policy=policy, **fields), first=True)
    return host


def found_ended(
    host: Host, signalled: bool | None, code: int = 143, **fields: object
) -> list[str | None]:
    """dockmend was away, the engine's memory ran over, and a list finds it ended."""
    host.now += 100
    host.relist(host.ended(code, signalled=signalled, **fields), blind=True)
    host.wait(3.0)
    return [change.cause for change in host.seen if change.cause]


@pytest.mark.parametrize("policy", ["no", "on-failure", "always", "unless-stopped"])
@pytest.mark.parametrize(
    ("signalled", "code", "cause"),
    [(True, 143, "stopped"), (True, 0, "stopped"), (True, 1, "stopped"), (False, 137, "crashed"),
        (False, 1, "crashed"),
     (False, 0, "completed"), (None, 143, "unknown"), (None, 0, "completed")],
)  # fmt: skip
def test_the_record_tells_whose_doing_it_was(
    policy: str, signalled: bool | None, code: int, cause: str
) -> None:
    host = watched(policy)
    assert found_ended(host, signalled, code) == [cause]
    assert host.mirror.stopped(ID) == (
        cause == "stopped" or (cause == "unknown" and policy in ("always", "unless-stopped"))
    )


@pytest.mark.parametrize(
    ("signalled", "said"), [(True, "somebody"), (False, "no call"), (None, "unseen")]
)
def test_an_incident_says_what_it_relies_on(signalled: bool | None, said: str) -> None:
    host = watched()
    found_ended(host, signalled)
    (change,) = host.seen
    assert ("the engine's own file" in change.note) == (signalled is not None)
    assert said in change.note


def heard_hup(host: Host) -> None:
    host.emit("kill", signal="1")


def listed_as_signalled(host: Host) -> None:
    """The signal itself was sent while nobody listened."""
    host.relist(host.container(signalled=True), blind=True)


def dockmends_own_stop(host: Host) -> None:
    """It was asked for in that run, and failed; dockmend was killed before it heard of a signal."""
    host.mirror.acted(ID, 999.0, 1005.0, begun=900.0)


def at_the_engines_start(host: Host) -> None:
    host.mirror.engine_start = EngineStart(began_at=host.now + 98.0, ready_at=host.now + 101.0)


def at_the_start_of_an_engine_before(host: Host) -> None:
    """Another one was killed as well, and nobody had watched it."""
    before = EngineStart(began_at=400.0, ready_at=402.0)
    host.mirror.engine_start = EngineStart(host.now + 110.0, host.now + 112.0).after_others(
        before, [host.now + 98.0]
    )


def nothing_known_of_the_engines_start(host: Host) -> None:
    host.mirror.engine_start = EngineStart()


def start_that_failed_since(host: Host) -> None:
    """An engine takes the record back as it starts a container, also where that fails."""


@pytest.mark.parametrize(
    "doubt",
    [
        heard_hup, listed_as_signalled, dockmends_own_stop, at_the_engines_start,
        at_the_start_of_an_engine_before, nothing_known_of_the_engines_start,
    ],
)  # fmt: skip
def test_what_another_may_have_done_is_not_taken_for_a_persons_stop(
    doubt: Callable[[Host], None],
) -> None:
    host = watched()
    doubt(host)
    assert found_ended(host, True) == ["unknown"]
    assert "container.crashed" in host.triggers()  # as the setting unknown_cause says


@pytest.mark.parametrize(
    "doubt", [heard_hup, listed_as_signalled, dockmends_own_stop, at_the_engines_start]
)
def test_that_nobody_signalled_it_stands_whatever_else_is_known(
    doubt: Callable[[Host], None],
) -> None:
    host = watched("always")
    doubt(host)
    assert found_ended(host, False, 1) == ["crashed"]


def test_a_start_that_failed_since_takes_the_record_back() -> None:
    host = watched()
    assert found_ended(host, False, 143, error="network shop not found") == ["unknown"]


def test_dockmends_own_stop_of_a_run_excuses_nothing_about_the_next() -> None:
    host = watched()
    dockmends_own_stop(host)
    host.now += 50
    host.relist(host.container(started_at=1040.0), blind=True)
    host.seen.clear()
    assert found_ended(host, True)[-1] == "stopped"


def test_a_signal_of_the_run_before_is_no_doubt() -> None:
    host = watched()
    host.relist(host.container(signalled=True), blind=True)
    host.relist(host.container(started_at=990.0, signalled=False), blind=True)
    host.seen.clear()
    assert found_ended(host, True)[-1] == "stopped"


def test_what_was_heard_stands_over_the_record() -> None:
    host = watched()
    host.emit("kill", signal="15")
    host.emit("die", exitCode="143")
    host.look(host.ended(143, signalled=False))
    host.wait(0.3)
    assert [change.cause for change in host.seen] == ["stopped"]
    assert "own file" not in host.seen[0].note


def test_a_doubt_outlives_dockmend() -> None:
    host = watched()
    listed_as_signalled(host)
    again = Host(Mirror(), host.now)
    again.mirror.engine_start = UP
    known = host.mirror.known(ID)
    assert known is not None
    again.mirror.restore(known)
    assert found_ended(again, True) == ["unknown"]


@pytest.mark.parametrize(
    ("signalled", "before", "cause"),
    [
        (True, 5.0, "stopped"),
        (False, 5.0, "left_down"),
        (None, 5.0, "left_down"),
        (True, -1.0, "left_down"),
    ],
)
def test_a_person_who_was_quicker_than_an_engine_that_ended(
    signalled: bool | None, before: float, cause: str
) -> None:
    """Killed or terminated, the engine ends what runs; a stop just before that looks the same, but
    for the record."""
    host = watched("unless-stopped")
    ended = replace(host.ended(143, signalled=signalled), finished_at=1010.0 - before)
    host.mirror.engine_lost(1006.0)
    host.mirror.engine_renewed(1006.0, 1012.0, kept_containers=False)
    host.mirror.engine_start = EngineStart(began_at=1010.0, ready_at=1012.0)
    host.now = 1013.0
    host.relist(ended, blind=True)
    host.wait(5.0)
    assert [change.cause for change in host.seen if change.cause] == [cause]


def test_the_mirrors_containers_do_not_bear_what_belongs_to_a_run() -> None:
    """Lists tell it of what runs, looks do not: each of them would be a change of the container."""
    host = watched()
    changes: list[object] = []
    host.mirror.on_container = lambda before, after: changes.append((before, after))
    host.relist(host.container(signalled=False))
    host.look(host.container())
    assert changes == []


@pytest.mark.parametrize(
    ("began_at", "bridge", "live_restore", "told"),
    [
        (100.0, 103.0, False, EngineStart(100.0, 103.0)),
        (0.0, 103.0, False, EngineStart(88.0, 103.0)),
        (100.0, 0.0, False, EngineStart(100.0, 115.0)),
        (100.0, 50.0, True, EngineStart(100.0, 100.0)),
        (0.0, 50.0, True, EngineStart(50.0, 50.0)),
        (0.0, 0.0, False, EngineStart()),
    ],
)
def test_an_engines_start_as_far_as_it_is_known(
    began_at: float, bridge: float, live_restore: bool, told: EngineStart
) -> None:
    assert EngineStart.told(began_at, bridge, live_restore=live_restore) == told


@pytest.mark.parametrize("watched_it", [True, False])
@pytest.mark.parametrize(
    ("ended_at", "cause"),
    [(1009.0, "stopped"), (1012.0, "left_down"), (1017.0, "stopped"), (1021.0, "left_down")],
)
def test_of_two_engines_that_were_killed_the_first_one_stopped_what_it_found(
    watched_it: bool, ended_at: float, cause: str
) -> None:
    """And it did so at its start: what ended later under it, and what ended before it, a person
    stopped."""
    first, second = EngineStart(1010.0, 1015.0), EngineStart(1020.0, 1022.0)
    host = watched()
    ended = replace(host.ended(143, signalled=True), finished_at=ended_at)
    host.mirror.engine_lost(1008.0)
    host.mirror.engine_renewed(1008.0, 1022.0, kept_containers=False)
    before = first.after_others(UP, [500.0]) if watched_it else UP
    noticed = [500.0, 1010.0, 1020.0] if not watched_it else [1010.0, 1020.0]
    host.mirror.engine_start = second.after_others(before, noticed)
    host.now = 1023.0
    host.relist(ended, blind=True)
    host.wait(5.0)
    if not watched_it and ended_at == 1017.0:
        cause = "left_down"  # how long the start of one took that never answered is not known
    assert [change.cause for change in host.seen if change.cause] == [cause]


def test_the_starts_before_the_present_one_are_kept_as_long_as_they_are_few() -> None:
    start = EngineStart(100.0, 103.0)
    assert start.after_others(EngineStart(), [100.0]) == start
    again = start.after_others(start, [100.0])
    assert again == start, "the same engine, watched again, is no other one"
    later = EngineStart(108.0, 110.0).after_others(start, [100.0, 105.0, 108.0])
    assert later.earlier == ((100.0, 103.0), (105.0, 108.0))
    for at in range(200, 600, 10):
        later = EngineStart(float(at), at + 2.0).after_others(later, [float(at)])
    assert later.earlier[-1] == (580.0, 582.0)
    assert len(later.earlier) == EARLIER


@pytest.mark.parametrize(
    ("fields", "causes"),
    [
        ({}, ["left_down"]),
        ({"finished_at": 950.0, "exit_code": 1}, ["crashed"]),
        ({"exit_code": 0}, ["left_down"]),
        ({"signalled": True}, []),
        ({"signalled": None}, []),
        ({"started_at": 890.0}, []),
        ({"error": "network shop not found"}, []),
    ],
    ids=[
        "nobody stopped it",
        "it crashed before",
        "it ended well",
        "somebody did",
        "not known",
        "before anybody watched",
        "start failed",
    ],
)
def test_one_that_was_made_since_dockmend_last_heard_was_left_down_by_the_engine_too(
    fields: dict[str, object], causes: list[str]
) -> None:
    """dockmend was down as it was made, and as the engine ended; its end is no history."""
    host = Host()
    host.mirror.known_until_ns = int(895.0 * 1e9)
    host.mirror.engine_renewed(1000.0, 1000.0, kept_containers=False)
    host.mirror.engine_start = EngineStart(995.0, 1000.0)
    given: dict[str, object] = {
        "state": "exited",
        "exit_code": 143,
        "finished_at": 990.0,
        "signalled": False,
    }
    host.relist(host.container(**{**given, **fields}), blind=True)
    host.wait(5.0)
    assert [change.cause for change in host.seen if change.cause] == causes
    assert ("container.left_down" in host.triggers()) is (causes == ["left_down"])


def shut_down(
    policy: str, code: int, ended: float, signalled: bool | None, *others: Container
) -> Host:
    """dockmend ended at 1000; a host was shut down after it, and is back two minutes later.
    `others`: as it is then."""
    before = Host()
    before.relist(before.container(restart_policy=policy), first=True)
    data = before.mirror.known(ID)
    assert data is not None
    host = Host(now=1125.0)
    host.mirror.restore(data)
    found = host.container(
        restart_policy=policy, state="exited", exit_code=code, finished_at=ended,
        signalled=signalled
    )  # fmt: skip
    host.mirror.engine_start = EngineStart(1120.0, 1123.0).with_witnesses(
        [*others, found], EngineStart()
    )
    host.mirror.engine_renewed(1123.0, 1123.0, kept_containers=False)
    host.relist(found, blind=True)
    return host


def started_again(
    at: float = 1003.0, started_at: float = 1122.0, policy: str = "unless-stopped"
) -> Container:
    return Container(
        id="f" * 64,
        name="db",
        state="running",
        restart_policy=policy,
        started_at=started_at,
        finished_at=at,
    )


@pytest.mark.parametrize("code", [0, 143, 137])
def test_what_a_host_that_was_shut_down_for_long_took_down_is_left_down(code: int) -> None:
    host = shut_down("no", code, 1002.0, False, started_again())
    host.wait(0.5)
    assert host.seen == [], "the engine may still start it"
    host.wait(2.0)
    assert host.triggers() == ["container.left_down", "container.exited"]
    assert not host.mirror.stopped(ID)


@pytest.mark.parametrize(
    ("signalled", "ended", "others", "cause"),
    [
        (True, 1002.0, [started_again()], "stopped"),
        (None, 1002.0, [started_again()], "completed"),
        (False, 1002.0, [], "completed"),
        (False, 1002.0, [started_again(policy="no")], "completed"),
        (False, 1002.0, [started_again(at=1121.0)], "completed"),
        (False, 1002.0, [started_again(started_at=4000.0)], "completed"),
        (False, 960.0, [started_again()], "completed"),
        (False, 1050.0, [started_again()], "completed"),
    ],
    ids=[
        "a person stopped it before", "no record", "no witness", "a person started that one",
        "that one crashed since", "that one was started later", "it had ended by itself before",
        "or after",
    ],
)  # fmt: skip
def test_only_what_ended_with_what_the_engine_started_again_counts_as_taken_down(
    signalled: bool | None, ended: float, others: list[Container], cause: str
) -> None:
    host = shut_down("no", 0, ended, signalled, *others)
    host.wait(3.0)
    assert [change.cause for change in host.seen] == [cause]


def test_what_runs_again_after_a_shutdown_is_nobodys_trouble() -> None:
    host = shut_down("no", 143, 1002.0, False, started_again())
    host.look(host.container(started_at=1126.0))
    host.wait(3.0)
    assert [change.cause for change in host.seen if change.cause] == []


def test_that_an_engine_went_down_stays_known_while_its_successor_lives() -> None:
    known = EngineStart(1120.0, 1123.0).with_witnesses([started_again()], EngineStart())
    assert known.went_down_at == 1003.0
    again = EngineStart(1120.0, 1123.0).with_witnesses(
        [started_again(at=2000.0, started_at=2001.0)], known
    )
    assert again == known
    assert EngineStart(3000.0, 3002.0).with_witnesses([], known).went_down_at == 0.0
