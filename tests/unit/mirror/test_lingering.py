"""What nothing that happens tells of: a health check without a verdict, and a start that failed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.app.unwell import unwell
from dockmend.mirror import Mirror, container_record
from dockmend.mirror.lingering import lingering
from dockmend.model import Container, HealthCheck
from dockmend.owned import OwnedObject
from tests.unit.mirror.host import ID, Host

HOUR, DAY = 3600.0, 86400.0
FOR_EVER = HealthCheck(interval=30.0, timeout=30.0, retries=1_000_000)
PORT = (
    "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is "
    "already allocated"
)


def shown(host: Host) -> list[tuple[str, float, str]]:
    found = unwell(host.mirror, lambda change: True, lambda container: False, host.now)
    return [(each.cause, each.since, each.note) for each in found]


def causes(host: Host) -> list[str]:
    return [cause for cause, _, _ in shown(host)]


# -------------------------------------------------------------------------------- without a verdict
def starting(check: HealthCheck) -> Host:
    host = Host()
    host.relist(first=True)
    host.emit("create")
    host.emit("start")
    host.look(host.container(started_at=host.now - 0.1, health="starting", check=check))
    return host


@pytest.mark.parametrize(
    ("check", "after"),
    [
        (FOR_EVER, HOUR + 60),
        # whoever gives it so long wants it so
        (replace(FOR_EVER, start_period=2 * HOUR), 3 * HOUR + 60),
        # the first probe has ended by then
        (HealthCheck(interval=3 * HOUR, timeout=30.0, retries=3), 3 * HOUR + 90),
        (HealthCheck(interval=10 * DAY), DAY + 60),
        (HealthCheck(), 300.0),  # the engine has said something by then, or is stuck
    ],
    ids=[
        "endless retries",
        "a long start",
        "a long interval",
        "an endless interval",
        "a usual check",
    ],
)
def test_a_health_check_that_says_nothing_is_shown_after_a_while(check: HealthCheck, after: float):
    host = starting(check)
    since = host.now
    host.wait(after - 1)
    assert causes(host) == []
    host.wait(2)
    [(cause, at, note)] = shown(host)
    assert (cause, at) == ("starting", since)
    assert note == "its health check has neither passed nor failed as often as it may since then"
    host.emit("health_status: healthy")
    assert causes(host) == []


@pytest.mark.parametrize("verdict", ["healthy", "unhealthy"])
def test_a_check_that_begins_anew_has_its_time_anew(verdict: str):
    """The health of what live-restore kept starts over with the engine; so it does with each
    run."""
    host = starting(FOR_EVER)
    host.wait(HOUR)
    host.emit(f"health_status: {verdict}")
    host.wait(HOUR)
    present = host.mirror.container(ID)
    assert present is not None
    host.look(replace(present, health="starting"))
    host.mirror.entries[ID].kept.standing.clear()
    host.wait(HOUR)
    assert causes(host) == []
    host.wait(100)
    assert causes(host) == ["starting"]
    host.emit("die", exitCode="0")
    host.emit("start")
    assert causes(host) == []
    host.look(replace(present, health="starting", started_at=host.now - 0.1))
    host.wait(HOUR)
    assert causes(host) == []


def test_a_start_of_dockmend_does_not_give_it_its_time_anew():
    host = starting(FOR_EVER)
    host.wait(HOUR)
    known = container_record.encode(host.mirror.entries[ID])
    after = Host(Mirror(), now=host.now)
    after.mirror.restore(known)
    present = host.mirror.container(ID)
    assert present is not None
    after.relist(present, first=True)
    after.wait(100)
    assert causes(after) == ["starting"]


def test_the_clock_may_be_set_meanwhile():
    host = starting(FOR_EVER)
    host.now += 30 * DAY
    host.mirror.clock_set(30 * DAY)
    host.wait(HOUR)
    assert causes(host) == []
    host.wait(100)
    assert causes(host) == ["starting"]


def test_it_may_take_a_day_at_the_most_until_a_check_is_believed_to_say_something():
    assert HealthCheck().verdict_within == 240.0
    assert FOR_EVER.verdict_within == DAY
    assert HealthCheck(start_period=5 * DAY).verdict_within == DAY


# ------------------------------------------------------------------------------ a start that failed
def made(**fields: Any) -> Container:
    plain = Host().container(
        state="created", started_at=0.0, created_at=1000.0, restart_policy="always"
    )
    return replace(plain, **fields)


@pytest.mark.parametrize("first", [True, False], ids=["found at the first start", "made since"])
def test_one_that_was_made_and_could_not_be_started_is_shown_until_it_can(first: bool):
    host = Host()
    host.relist(*([made(error=PORT, exit_code=128)] if first else []), first=True)
    if not first:
        host.emit("create")
        host.look(made())
        assert causes(host) == []
        host.now += 1
        host.emit("die", exitCode="128")
        host.look(made(error=PORT, exit_code=128))
    assert shown(host) == [("not_started", host.now, f"its start failed: {PORT}")]
    assert host.seen == [], "no rule is asked about it"
    host.wait(50)
    host.emit("start")
    host.look(made(state="running", started_at=host.now - 0.1))
    assert causes(host) == []


@pytest.mark.parametrize(
    "container",
    [
        made(),  # docker create
        made(error=PORT, restart_policy="no"),  # a plain `docker run`: whoever ran it was told
        made(error=PORT, labels={"com.docker.compose.oneoff": "True"}),
        made(
            error="cannot join network of a non running container: 123",
            network_mode="container:123",
        ),
        made(error=PORT, state="dead"),
        made(error=PORT, state="running", started_at=1000.0),
    ],
    ids=["made only", "a job", "a one-off", "a guest", "being removed", "it runs"],
)
def test_what_is_no_start_that_failed(container: Container):
    host = Host()
    host.relist(container, first=True)
    assert causes(host) == []


def test_what_a_recreation_has_in_hand_is_not_shown():
    host, name = Host(), "web.dockmend-new-i00000000000test"
    row = OwnedObject("o1", "container", name, "", "i00000000000test", "successor", 999.0, ID)
    host.mirror.owned.put(row)
    host.relist(made(error=PORT, name=name), first=True)
    assert causes(host) == []


def test_one_that_a_person_stopped_is_shown_once_somebody_tried_to_start_it_in_vain():
    host = Host()
    host.relist(host.container(restart_policy="always"), first=True)
    for action in ("kill", "die", "stop"):
        host.emit(action, signal="15", exitCode="143")
    host.look(host.ended(143))
    host.wait(5)
    assert causes(host) == []
    host.look(host.ended(128, error=PORT))
    assert causes(host) == ["not_started"]


def test_what_had_ended_before_dockmend_knew_it_is_history():
    host = Host()
    host.relist(
        host.container(
            state="exited", exit_code=128, finished_at=950.0, error=PORT, restart_policy="always"
        )
    )
    assert causes(host) == []


def test_one_that_crashed_and_cannot_be_started_has_crashed():
    host = Host()
    host.relist(host.container(restart_policy="on-failure"), first=True)
    host.emit("die", exitCode="1")
    host.look(host.ended(1))
    host.wait(5)
    host.look(host.ended(128, error=PORT))
    assert causes(host) == ["crashed"]
    assert [change.triggers for change in lingering(host.mirror, host.now)] == [
        ("container.not_started",)
    ]
