"""What a recreation left aside: who stopped it since is heard before it is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dockmend.actions.container_swap import Undo
from dockmend.app.recreation_leftovers import BEGUN, RecreationLeftovers
from dockmend.errors import NotFound
from dockmend.mirror import Mirror
from dockmend.mirror.exit_cause import EngineStart
from dockmend.model import Container, aside_name
from tests.fakes.owning import owning
from tests.unit.journal.making import an_action, an_incident

ID = "c0ffee" + "0" * 58
INCIDENT = an_incident()
ASIDE = aside_name("web", "old", INCIDENT.id)
UNDO = Undo(
    step="verify", name="web", old=ID, aside=ASIDE, temporary=aside_name("web", "new", INCIDENT.id),
    was_running=True, start=True, stop_timeout=10.0, began_at=990.0, at=995.0,
)  # fmt: skip


@dataclass
class Engine:
    container: Container
    started: int = 0

    async def inspect(self, container: str) -> Container:
        if container != self.container.id:
            raise NotFound("no such container", 404)
        return self.container

    async def rename(self, container: str, name: str) -> None:
        self.container = replace(self.container, name=name)

    async def start(self, container: str) -> None:
        self.started += 1
        self.container = replace(self.container, state="running", started_at=2000.0)


@dataclass
class Journal:
    known: dict[str, bytes] = field(default_factory=dict)

    def put_known(self, key: str, value: bytes | None) -> None:
        if value is None:
            self.known.pop(key, None)
        else:
            self.known[key] = value

    async def known_keys(self, prefix: str) -> list[str]:
        return [key for key in self.known if key.startswith(prefix)]

    async def known_value(self, key: str) -> bytes | None:
        return self.known.get(key)

    async def committed(self) -> None:
        return

    async def story(self, incident: str) -> Any:
        return INCIDENT, [an_action(outcome="failed", undo={"recreate": msgspec.to_builtins(UNDO)})]


def left(container: Container, journal: Journal | None = None) -> RecreationLeftovers:
    mirror = Mirror()
    mirror.engine_start = EngineStart(began_at=100.0, ready_at=101.0)
    mirror.relist([container], (), (), 3000.0, "started")
    engine: Any = Engine(replace(container, signalled=None))
    guards: Any = SimpleNamespace(protects=lambda container: None)
    incidents: Any = SimpleNamespace(in_hand=lambda incident: False)
    kept: Any = journal or Journal()
    return RecreationLeftovers(
        engine, owning(engine, clock=lambda: 3000.0), kept, mirror, incidents, guards
    )


def ended(**fields: Any) -> Container:
    """What was set aside, as dockmend's own stop left it."""
    plain = Container(
        id=ID, name=ASIDE, state="exited", exit_code=143, started_at=900.0, finished_at=996.0
    )
    return replace(plain, **fields)


BY_PERSON = {"started_at": 1200.0, "finished_at": 1300.0, "signalled": True}
"""Somebody started it since, and stopped it."""


@pytest.mark.parametrize(
    ("since", "starts"), [({}, 1), (BY_PERSON, 0)], ids=["as it was", "stopped by a person"]
)
async def test_what_a_person_stopped_since_has_its_name_again_and_is_not_started(
    since: dict[str, Any], starts: int
):
    one = left(ended(**since))
    await one.own.claim("container", ASIDE, INCIDENT.id, "aside", ID)
    await one.put_right()
    engine: Any = one.engine
    assert (engine.container.name, engine.started) == ("web", starts)


async def test_what_is_being_settled_is_put_right_once_that_is_over():
    one = left(ended())
    await one.own.claim("container", ASIDE, INCIDENT.id, "aside", ID)
    engine: Any = one.engine
    one.incidents.in_hand = lambda incident_id: True  # type: ignore[method-assign]
    await one.put_right()
    assert engine.container.name == ASIDE
    one.incidents.in_hand = lambda incident_id: False  # type: ignore[method-assign]
    await one.settled("of another")
    assert engine.container.name == ASIDE
    await one.settled(INCIDENT.id)
    assert (engine.container.name, engine.started) == ("web", 1)


@pytest.mark.parametrize(
    ("since", "starts"),
    [({}, 1), ({"started_at": 1200.0, "finished_at": 1300.0}, 0), (BY_PERSON, 0)],
    ids=["as it was", "it ran since", "stopped by a person"],
)
async def test_a_start_that_a_death_cut_off_is_made_up_for_once(since: dict[str, Any], starts: int):
    """It was started, and the note of it was not off the disk yet: what ended it since is no
    business of this."""
    first = left(ended())
    await first.own.claim("container", ASIDE, INCIDENT.id, "aside", ID)
    journal: Any = first.journal
    noted: dict[str, bytes] = {}
    first.journal.committed = lambda: _copied(noted, journal)  # type: ignore[method-assign]
    await first.put_right()
    assert list(noted) == [BEGUN + ID]
    again = left(ended(name="web", **since), Journal(noted))
    await again.put_right()
    engine: Any = again.engine
    assert (engine.started, noted) == (starts, {})


async def _copied(noted: dict[str, bytes], journal: Journal) -> None:
    noted.update(journal.known)


async def test_a_note_that_cannot_be_read_keeps_no_start_of_dockmend_from_its_end():
    one = left(ended(name="web"), Journal({BEGUN + ID: b"\xc1"}))
    await one.put_right()
    engine: Any = one.engine
    assert engine.started == 0


async def test_a_note_of_an_earlier_version_is_heeded():
    one = left(ended(name="web"), Journal({BEGUN + ID: b""}))
    await one.put_right()
    engine: Any = one.engine
    assert engine.started == 1
