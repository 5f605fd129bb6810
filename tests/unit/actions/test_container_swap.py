"""The exchange of a container for its successor, as a later dockmend finishes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dockmend.actions import container_swap, containers_recovery
from dockmend.actions.container_swap import Undo, settle_exchange
from dockmend.model import Container, aside_name
from dockmend.owned import OwnedObject
from tests.unit.actions.stage import ID, Script, Stage

NEW = "d" * 64
INCIDENT = "i000000000000000"
OLD_NAME, NEW_NAME = aside_name("web", "old", INCIDENT), aside_name("web", "new", INCIDENT)
UNDO = Undo(
    step="verify", name="web", old=ID, aside=OLD_NAME, temporary=NEW_NAME, was_running=True,
    start=True, stop_timeout=10.0, began_at=990.0, at=995.0, new=NEW, within=30.0,
)  # fmt: skip


class Host(Script):
    """Two containers, of which the calls of an exchange are true."""

    async def start(self, container: str) -> None:
        self.calls.append(("start", container))
        self.containers[container] = replace(
            self.containers[container], state="running", started_at=1001.0
        )

    async def remove(self, container: str, force: bool = False, volumes: bool = False) -> None:
        self.calls.append(("remove", container))
        del self.containers[container]

    async def rename(self, container: str, name: str) -> None:
        self.calls.append(("rename", container, name))
        self.containers[container] = replace(self.containers[container], name=name)


@dataclass
class Exchanged(Stage):
    """`by_person`: ids of containers that a person stopped, as the mirror tells; `heard_after`: how
    many looks later it tells so."""

    by_person: set[str] = field(default_factory=set)
    heard_after: int = 0

    def stopped(self, container_id: str) -> bool:
        if container_id not in self.by_person:
            return False
        self.heard_after -= 1
        return self.heard_after < 0

    async def settle(self, undo: Undo) -> Any:
        def clock() -> float:
            self.now += 0.5
            return self.now

        ctx = dataclasses.replace(self.context, clock=clock)
        return await settle_exchange(ctx, msgspec.to_builtins(undo), "recreate")


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (containers_recovery, container_swap):
        monkeypatch.setattr(module, "POLL", 0.0)


def host(**new: Any) -> Host:
    old = Container(
        id=ID, name=OLD_NAME, state="exited", exit_code=143, started_at=100.0, finished_at=994.0
    )
    made = Container(id=NEW, name="web", state="running", started_at=995.0)
    return Host(containers={ID: old, NEW: replace(made, **new)})


DOWN = {"state": "exited", "exit_code": 143, "finished_at": 999.0}


async def test_one_that_is_well_is_what_stays() -> None:
    stage = Exchanged(engine=host())
    settled = await stage.settle(UNDO)
    assert (settled.done, settled.facts) == (True, {"successor": NEW, "stopped": False})
    assert list(stage.engine.containers) == [NEW]


@pytest.mark.parametrize(
    ("asked", "waits"), [(True, True), (False, False)], ids=["asked", "not asked, or refused"]
)
async def test_one_that_may_still_be_made_is_waited_for_and_no_other(
    asked: bool, waits: bool
) -> None:
    """A row is on disk before the engine is asked, and goes if the engine refuses."""
    old = Container(id=ID, name="web", state="running", started_at=100.0)
    stage = Exchanged(engine=Host(containers={ID: old}))
    if asked:
        row = OwnedObject("o1", "container", NEW_NAME, "", "i0", "successor", stage.now)
        stage.rows.put_owned(row)
    began = stage.now
    settled = await stage.settle(replace(UNDO, step="make", new="", at=began))
    assert settled.detail == "the new one had not been started yet; the old one runs"
    assert (stage.now - began >= container_swap.MAKING) is waits


async def test_one_that_ended_by_itself_makes_room_for_the_old_one() -> None:
    stage = Exchanged(engine=host(**DOWN))
    settled = await stage.settle(UNDO)
    assert not settled.done
    assert stage.engine.containers[ID].name == "web"
    assert stage.engine.containers[ID].running


async def test_a_stop_that_puts_the_old_one_back_is_not_taken_for_a_persons() -> None:
    """It is written down before it is stopped; who dies then is followed by one that puts the old
    one back."""
    stage = Exchanged(engine=host(restart_count=1))
    written: list[Any] = []
    stage.engine.on["stop"] = lambda: written.append(dict(stage.undo["recreate"]))
    settled = await stage.settle(UNDO)
    assert settled.detail.startswith("the new one was not well")
    assert [each["back"] for each in written] == [True]
    again = Exchanged(engine=host(**DOWN), by_person={NEW})
    settled = await again.settle(msgspec.convert(written[0], Undo))
    assert (settled.done, settled.detail) == (
        False, "the old one was being put back; the old one was put back and started",
    )  # fmt: skip
    assert list(again.engine.containers) == [ID]


def as_the_mirror_tells(stage: Exchanged) -> None:
    stage.by_person.add(NEW)


def as_the_mirror_tells_a_little_later(stage: Exchanged) -> None:
    stage.by_person.add(NEW)
    stage.heard_after = 1


@pytest.mark.parametrize("told", [as_the_mirror_tells, as_the_mirror_tells_a_little_later])
async def test_one_that_a_person_stopped_meanwhile_stays_and_stays_down(
    told: Callable[[Exchanged], None],
) -> None:
    """The person stopped `web`: to start the old one under that name would undo it."""
    stage = Exchanged(engine=host(**DOWN))
    told(stage)
    settled = await stage.settle(UNDO)
    assert (settled.done, settled.facts) == (True, {"successor": NEW, "stopped": True})
    assert settled.detail == "the recreation was finished; it was then stopped by a person"
    assert list(stage.engine.containers) == [NEW]
    assert "start" not in stage.engine.did()


async def test_that_a_person_stopped_it_is_remembered_beyond_the_handing_over() -> None:
    """Of a dockmend that died after it had written that the new one is the heir, and before the old
    one was gone."""
    stage = Exchanged(engine=host(**DOWN))
    as_the_mirror_tells_a_little_later(stage)
    await stage.settle(UNDO)
    remembered = msgspec.convert(stage.undo["recreate"], Undo)
    assert remembered.step == "remove"
    again = Exchanged(engine=host(**DOWN))
    settled = await again.settle(remembered)
    assert (settled.done, settled.facts) == (True, {"successor": NEW, "stopped": True})
