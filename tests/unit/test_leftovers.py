"""Helpers that an engine did not remove: they are looked for when their incident is closed, and
again soon after."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dockmend.app import leftovers
from dockmend.app.leftovers import EVERY, SOON, Leftovers
from dockmend.errors import EngineAway, EngineError, NotFound
from dockmend.journal.records import Incident
from dockmend.model import HELPER_LABEL, Container
from tests.fakes.owning import INSTANCE, owning
from tests.unit.journal.making import an_incident

GONE, OPEN = an_incident(id="i0000000000gone"), an_incident(id="i0000000000open")


class Engine:
    """Removes what is there, but refuses what `refuses` names, so many times."""

    def __init__(self) -> None:
        self.there: dict[str, Container] = {}
        self.refuses: dict[str, int] = {}
        self.error: EngineError = EngineError("the relay refuses", 500)
        self.asked: list[str] = []

    async def create(self, name: str, body: Any) -> str:
        self.there[name] = Container(
            id=name, name=name, labels=dict(body["Labels"]), created_at=1000.0
        )
        return name

    async def inspect(self, container: str) -> Container:
        if container not in self.there:
            raise NotFound("no such container", 404)
        return self.there[container]

    async def remove(self, container: str, *, force: bool, volumes: bool) -> None:
        self.asked.append(container)
        if self.refuses.get(container, 0):
            self.refuses[container] -= 1
            raise self.error
        del self.there[container]


async def of(engine: Engine, tmp_path: Path, *names: str, incident: Incident = GONE) -> Leftovers:
    own = owning(cast("Any", engine))
    for name in names:
        await own.create(name, {}, incident.id, "helper")
        assert engine.there[name].labels[HELPER_LABEL] == f"{INSTANCE}/{incident.id}"
    incidents: Any = SimpleNamespace(in_hand=lambda incident: incident == OPEN.id)
    return Leftovers(own, incidents, tmp_path)


@pytest.mark.parametrize(
    ("made_for", "closed", "due"), [(GONE, GONE, True), (GONE, OPEN, False), (OPEN, OPEN, True)]
)
async def test_they_are_looked_for_when_the_incident_that_left_them_is_closed(
    tmp_path: Path, made_for: Incident, closed: Incident, due: bool
):
    one = await of(Engine(), tmp_path, "tool", incident=made_for)
    one.closed(closed)
    assert one.due.is_set() is due


async def test_what_an_engine_refused_to_remove_is_asked_for_again_soon_and_then_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine, waits = Engine(), []
    engine.refuses["tool"] = 12
    one = await of(engine, tmp_path, "tool")
    enough = asyncio.Event()

    def timeout(seconds: float) -> asyncio.Timeout:
        waits.append(seconds)
        if not engine.there:
            enough.set()
        return asyncio.timeout(0 if engine.there else None)

    monkeypatch.setattr(leftovers, "asyncio", SimpleNamespace(timeout=timeout, Event=asyncio.Event))
    one.due.set()
    async with asyncio.TaskGroup() as parts:
        running = parts.create_task(one.run())
        await enough.wait()
        running.cancel()
    assert waits[1:4] == [SOON, 2 * SOON, 4 * SOON]
    assert waits[10:12] == [EVERY, EVERY]
    assert waits[-1] == EVERY
    assert engine.there == {}


async def test_one_that_is_refused_does_not_keep_the_others(tmp_path: Path):
    engine = Engine()
    engine.refuses["first"] = 1
    one = await of(engine, tmp_path, "first", "second")
    await one.remove()
    assert list(engine.there) == ["first"]


async def test_an_engine_that_does_not_answer_is_asked_once(tmp_path: Path):
    engine = Engine()
    engine.refuses, engine.error = {"first": 1, "second": 1}, EngineAway("no answer")
    one = await of(engine, tmp_path, "first", "second")
    await one.remove()
    assert engine.asked == ["first"]


async def test_what_an_open_incident_works_with_stays(tmp_path: Path):
    engine = Engine()
    one = await of(engine, tmp_path, "tool", incident=OPEN)
    await one.remove()
    assert list(engine.there) == ["tool"]
