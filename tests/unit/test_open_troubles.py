"""The troubles that a person may have to hear of: which stand, which are a person's own doing, and
how one ended."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from dockmend.app.given_up import GivenUp
from dockmend.app.open_troubles import Ill, OpenTroubles
from dockmend.app.unwell import Unwell, unwell
from dockmend.model import GROUP, Container, HealthCheck
from dockmend.notify.alarms import AlarmEnding, AlarmTrouble
from dockmend.notify.message import Kind, Severity
from tests.unit.mirror.host import Host

WEB = Container(
    id="1" * 64,
    name="web",
    state="running",
    started_at=900.0,
    created_at=900.0,
    restart_policy="always",
)
DB = replace(WEB, id="2" * 64, name="db")
GUEST = replace(WEB, id="3" * 64, name="guest", network_mode=f"container:{DB.id}")
GAVE_UP = GivenUp("heal", "container:web", "web", 950.0, "unhealthy again")
TOLD = AlarmTrouble(
    key="down/container:web",
    kind=Kind.DOWN,
    target="container:web",
    object_name="web",
    since=950.0,
    object_id=WEB.id,
)
NEED = replace(
    TOLD,
    key="needs_you/owner/1",
    kind=Kind.NEEDS_YOU,
    cause="nobody knows the owner of its network",
)


class Ward:
    """A host, and what stands on it. `covered`: names of those that a rule acts on; `paused`:
    targets."""

    def __init__(self, *containers: Container) -> None:
        self.host = Host()
        self.covered: set[str] = set()
        self.given_up: list[GivenUp] = []
        self.paused: set[str] = set()
        self.asking = self.answers = self.was_listed = True
        self.ill: dict[str, Ill] = {}
        self.needed: list[AlarmTrouble] = []
        self.unwell: list[Unwell] | None = None
        self.host.relist(*containers, first=True)
        self.troubles = OpenTroubles(
            mirror=self.host.mirror, unwell=self._unwell, given_up=lambda: self.given_up,
            paused=lambda target: target in self.paused, asked_for=lambda container: self.asking,
            severity=lambda rule: Severity.CRITICAL if rule == "heal" else Severity.INFO,
            up=lambda: self.answers, listed=lambda: self.was_listed, clock=lambda: self.host.now,
            ill=self.ill, needs=lambda: self.needed,
        )  # fmt: skip

    def _unwell(self) -> list[Unwell]:
        if self.unwell is not None:
            return self.unwell
        covered = {f"container:{name}" for name in self.covered}
        return unwell(
            self.host.mirror,
            lambda change: change.target in covered,
            lambda each: False,
            self.host.now,
        )

    def end(self, container: Container, *, code: int = 1, stopped: bool = False) -> None:
        """It ends by itself with an exit code, or a person stops it."""
        self.host.now += 1
        if stopped:
            self.host.emit("kill", container.id, signal="15")
        self.host.emit("die", container.id, exitCode=str(code))
        if stopped:
            self.host.emit("stop", container.id)
        self.host.look(
            replace(container, state="exited", exit_code=code, finished_at=self.host.now)
        )
        self.host.wait(5)

    def standing(self) -> list[AlarmTrouble]:
        return self.troubles.standing()

    def held(self) -> dict[str, bool]:
        return {each.object_name: each.held for each in self.standing()}

    def ending(self, trouble: AlarmTrouble = TOLD) -> AlarmEnding | None:
        return self.troubles.ending(trouble)


def kinds(troubles: Iterable[AlarmTrouble]) -> list[tuple[str, str]]:
    return [(each.kind.value, each.object_name) for each in troubles]


# -------------------------------------------------------------------------------------- what stands


def test_one_that_is_down_and_that_no_rule_acts_on_is_told_after_a_minute() -> None:
    ward = Ward(WEB, DB)
    assert ward.standing() == []
    ward.end(WEB, code=3)
    (told,) = ward.standing()
    assert (told.key, told.kind, told.target, told.object_name) == (
        "down/container:web",
        Kind.DOWN,
        TOLD.target,
        "web",
    )
    assert (told.cause, told.object_id, told.since, told.grace) == ("crashed", WEB.id, 1001.0, 60.0)
    assert told.severity is Severity.WARNING
    assert not told.held


def test_what_a_rule_acts_on_is_no_trouble_until_the_rule_gave_up() -> None:
    ward = Ward(WEB)
    ward.end(WEB)
    ward.covered = {"web"}
    assert ward.standing() == []
    ward.given_up = [GAVE_UP]
    (told,) = ward.standing()
    assert (told.key, told.kind, told.rule) == ("down/container:web", Kind.GAVE_UP, "heal")
    assert (told.cause, told.note, told.object_id) == ("crashed", "unhealthy again", WEB.id)
    assert (told.since, told.grace, told.severity) == (950.0, 0.0, Severity.CRITICAL), (
        "at once, and as its rule says"
    )


@pytest.mark.parametrize(
    ("policy", "asking", "told"),
    [
        ("always", False, True),
        ("unless-stopped", False, True),
        ("on-failure", False, False),
        ("", False, False),
        ("on-failure", True, True),
    ],
)
def test_what_the_engine_leaves_down_by_its_restart_policy_is_news_only_if_a_label_asks_for_it(
    policy: str, asking: bool, told: bool
) -> None:
    ward = Ward(replace(WEB, restart_policy=policy))
    ward.asking = asking
    ward.unwell = [Unwell("container:web", "web", "left_down", 950.0, False, "")]
    assert bool(ward.standing()) is told
    ward.unwell = [Unwell("container:web", "web", "crashed", 950.0, False, "")]
    assert len(ward.standing()) == 1


def test_what_is_gone_is_no_trouble_of_its_own() -> None:
    ward = Ward(DB)
    ward.unwell = [Unwell("container:web", "web", "crashed", 950.0, False, "")]
    assert ward.standing() == []


@pytest.mark.parametrize(
    ("part", "grace", "severity"),
    [
        ("engine", 60.0, Severity.CRITICAL),
        ("rules", 60.0, Severity.WARNING),
        ("journal", 10.0, Severity.CRITICAL),
        ("record", 0.0, Severity.WARNING),
    ],
)
def test_what_keeps_dockmend_from_its_work_is_told_also_before_the_engine_was_ever_listed(
    part: str, grace: float, severity: Severity
) -> None:
    ward = Ward(WEB)
    ward.end(WEB)
    ward.was_listed = ward.answers = False
    ward.ill[part] = Ill(970.0, "connection refused")
    (told,) = ward.standing()
    assert (told.key, told.kind, told.target) == (f"degraded/{part}", Kind.DEGRADED, part)
    assert (told.since, told.note, told.grace, told.severity) == (
        970.0,
        "connection refused",
        grace,
        severity,
    )
    assert not told.held


@pytest.mark.parametrize("part", ["mqtt", "acting", "self-check"])
def test_without_a_broker_dockmend_does_its_work(part: str) -> None:
    ward = Ward()
    ward.ill[part] = Ill(970.0, "connection refused")
    assert ward.standing() == []


def test_one_that_needs_a_person_is_not_told_as_down_too() -> None:
    ward = Ward(WEB, DB)
    ward.end(WEB)
    ward.end(DB)
    ward.needed = [NEED]
    assert kinds(ward.standing()) == [("down", "db"), ("needs_you", "web")]
    ward.given_up = [GAVE_UP]
    assert kinds(ward.standing()) == [("gave_up", "web"), ("down", "db"), ("needs_you", "web")]


# ------------------------------------------------------------------------ what a person has in hand


def test_what_dockmend_was_asked_to_leave_is_held() -> None:
    ward = Ward(WEB, DB)
    ward.end(WEB)
    ward.end(DB)
    ward.needed = [NEED]
    ward.given_up = [GAVE_UP]
    ward.paused = {"container:web"}
    assert [(each.kind, each.object_name, each.held) for each in ward.standing()] == [
        (Kind.GAVE_UP, "web", True), (Kind.DOWN, "db", False), (Kind.NEEDS_YOU, "web", True),
    ]  # fmt: skip


def test_one_that_a_person_froze_is_held() -> None:
    ward = Ward(replace(WEB, state="paused"))
    ward.given_up = [GAVE_UP]
    assert ward.held() == {"web": True}


def test_while_the_engine_does_not_answer_nothing_on_it_is_told() -> None:
    ward = Ward(WEB, DB)
    ward.end(DB)
    ward.needed = [NEED]
    ward.given_up = [GAVE_UP]
    assert ward.held() == {"web": False, "db": False}
    ward.answers = False
    assert [each.held for each in ward.standing()] == [True, True, True]


DEPENDS = {"dockmend.depends-on": "db"}


@pytest.mark.parametrize(
    "one", [GUEST, replace(GUEST, network_mode="", labels=DEPENDS)], ids=["guest", "declared"]
)
def test_what_hangs_on_one_that_a_person_stopped_or_removed_is_held(one: Container) -> None:
    web = replace(WEB, labels={"dockmend.depends-on": "guest"})
    ward = Ward(DB, one, web)
    ward.end(one)
    ward.end(web)
    assert ward.held() == {"guest": False, "web": False}
    ward.end(DB, stopped=True)
    assert ward.held() == {"guest": True, "web": True}, "also what hangs on it by way of another"
    ward.host.emit("destroy", DB.id, name="db")
    ward.host.wait(60)
    assert ward.held() == {"guest": True, "web": True}


def test_what_hangs_on_one_that_crashed_is_told() -> None:
    ward = Ward(DB, GUEST)
    ward.end(GUEST)
    ward.end(DB)
    assert ward.held() == {"guest": False, "db": False}


# ------------------------------------------------------------------------------------ how one ended


def test_one_with_a_health_check_is_well_once_that_says_so() -> None:
    checked = replace(WEB, check=HealthCheck(), health="starting")
    ward = Ward(checked)
    ward.host.now += 3600
    assert ward.ending() is None
    ward.host.look(replace(checked, health="unhealthy"))
    assert ward.ending() is None
    ward.host.look(replace(checked, health="healthy"))
    assert ward.ending() is AlarmEnding.WELL


def test_one_without_a_health_check_is_well_once_it_has_run_for_a_while() -> None:
    ward = Ward(replace(WEB, started_at=1000.0))
    ward.host.now = 1009.9
    assert ward.ending() is None
    ward.host.now = 1010.0
    assert ward.ending() is AlarmEnding.WELL


def test_one_that_a_person_stopped_is_told_as_such_and_one_that_crashed_is_not_over() -> None:
    ward = Ward(WEB)
    ward.end(WEB)
    assert ward.ending() is None
    stopped = Ward(WEB)
    stopped.end(WEB, stopped=True, code=143)
    assert stopped.ending() is AlarmEnding.STOPPED
    assert stopped.ending(NEED) is AlarmEnding.STOPPED


def test_one_that_ended_with_its_work_done_is_told_as_such() -> None:
    ward = Ward(WEB)
    ward.end(WEB, code=0)
    assert ward.ending() is AlarmEnding.COMPLETED
    created = Ward(replace(WEB, state="created", started_at=0.0, exit_code=0))
    assert created.ending() is None


def test_one_that_is_gone_was_removed_unless_another_is_about_to_take_its_place() -> None:
    ward = Ward(WEB)
    ward.host.emit("destroy", WEB.id, name="web")
    assert ward.host.mirror.leaving
    assert ward.ending() is None
    assert ward.ending(NEED) is None
    ward.host.wait(60)
    assert not ward.host.mirror.leaving
    assert ward.ending() is AlarmEnding.REMOVED
    assert ward.ending(NEED) is AlarmEnding.REMOVED


def test_nothing_is_over_while_nobody_can_look() -> None:
    ward = Ward(replace(WEB, started_at=0.0))
    engine = AlarmTrouble(
        key="degraded/journal", kind=Kind.DEGRADED, target="journal", object_name="", since=950.0
    )
    assert [ward.ending(), ward.ending(NEED), ward.ending(engine)] == [AlarmEnding.WELL] * 3
    ward.answers = False
    assert [ward.ending(), ward.ending(NEED), ward.ending(engine)] == [None, None, AlarmEnding.WELL]
    ward.answers, ward.was_listed = True, False
    assert [ward.ending(), ward.ending(NEED), ward.ending(engine)] == [None] * 3


def test_one_that_needs_nobody_any_more_is_well_at_once_by_whatever_name() -> None:
    ward = Ward(replace(WEB, name="shop", state="exited", exit_code=1, finished_at=960.0))
    assert ward.ending(NEED) is AlarmEnding.WELL
    assert ward.ending() is AlarmEnding.REMOVED
    assert Ward(replace(WEB, id="9" * 64)).ending(NEED) is AlarmEnding.WELL, "it was made anew"


def test_a_group_is_over_once_it_does_not_stand() -> None:
    assert Ward().ending(replace(TOLD, target=f"{GROUP}container:db")) is AlarmEnding.WELL
