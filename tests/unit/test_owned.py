"""What counts as dockmend's own: rows of the journal, and nothing that a stranger can write."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.errors import EngineAway, NotFound, Permanent
from dockmend.model import HELPER_LABEL, Container
from dockmend.owned import GONE_KEPT, OwnedObject, OwnedObjects
from dockmend.set_aside import stranded
from tests.fakes.owning import INSTANCE, Rows, owning

INCIDENT = "i00000000000test"
HERE, ELSEWHERE = "engine-1", "engine-2"
LABEL = f"{INSTANCE}/{INCIDENT}"


def row(**changes: Any) -> OwnedObject:
    told: dict[str, Any] = {
        "id": "o1", "kind": "container", "name": "tool", "engine_id": HERE, "incident": INCIDENT,
        "purpose": "helper", "made_at": 1000.0,
    }  # fmt: skip
    return OwnedObject(**told | changes)


def tool(**changes: Any) -> Container:
    told: dict[str, Any] = {
        "id": "c1",
        "name": "tool",
        "labels": {HELPER_LABEL: LABEL},
        "created_at": 1001.0,
    }
    return Container(**told | changes)


def objects(*rows: OwnedObject) -> OwnedObjects:
    return OwnedObjects(INSTANCE, rows, HERE)


def test_the_engines_id_proves_it_whatever_it_is_called():
    found = objects(row(object_id="c1"))
    assert found.of(tool(name="renamed", labels={})) is not None
    assert found.hides(tool(name="renamed", labels={}))
    assert found.of(tool(id="c2")) is None


@pytest.mark.parametrize(
    ("seen", "mine"),
    [
        ({}, True),
        ({"name": "other"}, False),
        ({"labels": {}}, False),
        ({"labels": {HELPER_LABEL: f"{INSTANCE}/i00000000001test"}}, False),
        ({"labels": {HELPER_LABEL: f"another000/{INCIDENT}"}}, False),
        ({"labels": {HELPER_LABEL: INCIDENT}}, False),
        ({"labels": {}, "image_labels": {HELPER_LABEL: LABEL}}, False),  # its image says so
        ({"created_at": 900.0}, False),  # it was there before the engine was asked
    ],
)
def test_while_the_id_is_not_known_name_label_and_time_prove_it(seen: dict[str, Any], mine: bool):
    container = tool(**seen)
    assert (objects(row()).of(container) is not None) is mine
    assert objects(row()).hides(container) is mine


def test_a_row_of_another_engine_proves_nothing_by_name():
    assert objects(row(engine_id=ELSEWHERE)).of(tool()) is None


@pytest.mark.parametrize("label", ["i0", LABEL, f"another000/{INCIDENT}", "command.host.1.1"])
def test_without_a_row_no_label_makes_it_dockmends(label: str):
    assert not objects().hides(tool(labels={HELPER_LABEL: label}))
    assert not objects().hides_event("c1", {HELPER_LABEL: label, "name": "tool"})


def test_a_commands_helper_is_hidden_by_its_own_label_but_proven_by_none():
    label = f"{INSTANCE}/command.host-1.7.9"
    assert objects().hides(tool(labels={HELPER_LABEL: label}))
    assert objects().of(tool(labels={HELPER_LABEL: label})) is None
    assert not objects().hides(tool(labels={}, image_labels={HELPER_LABEL: label}))


def test_events_of_a_tool_are_hidden_before_and_after_its_id_is_known():
    found = objects(row())
    assert found.hides_event("c1", {"name": "tool", HELPER_LABEL: LABEL})
    assert not found.hides_event("c1", {"name": "web", HELPER_LABEL: LABEL})
    found.put(row(object_id="c1"))
    assert found.hides_event("c1", {})
    found.drop(row(object_id="c1"))
    assert found.hides_event("c1", {})  # what was said of it may be read after it is gone
    assert found.hides(tool(labels={}))


def test_what_is_gone_is_remembered_up_to_a_bound():
    found = objects()
    for number in range(GONE_KEPT + 1):
        one = row(id=f"o{number}", object_id=f"c{number}")
        found.put(one)
        found.drop(one)
    assert (found.hides_event("c0", {}), found.hides_event("c1", {})) == (False, True)
    assert found.rows == {}


def test_a_successor_is_no_tool():
    found = objects(row(purpose="successor", name="web.dockmend-new-i00000000000test"))
    made = tool(name="web.dockmend-new-i00000000000test", labels={})
    assert found.of(made) is not None
    assert not found.hides(made)


# --------------------------------------------------------------------- making, finding and removing
class Engine:
    """Containers by id; `fails` is raised by a create, after it was made if `made`."""

    def __init__(self) -> None:
        self.there: dict[str, Container] = {}
        self.calls: list[str] = []
        self.fails: Exception | None = None
        self.made = True

    async def create(self, name: str, body: Any) -> str:
        self.calls.append(f"create {name}")
        if self.made:
            self.there["c1"] = Container(
                id="c1", name=name, labels=dict(body.get("Labels", {})), created_at=1000.5
            )
        if self.fails:
            raise self.fails
        return "c1"

    async def inspect(self, container: str) -> Container:
        found = next(
            (each for each in self.there.values() if container in (each.id, each.name)), None
        )
        if found is None:
            raise NotFound(f"no such container: {container}", 404)
        return found

    async def remove(self, container: str, force: bool = False, volumes: bool = False) -> None:
        self.calls.append(f"remove {container}")
        del self.there[(await self.inspect(container)).id]


async def test_the_row_is_on_disk_before_the_engine_is_asked():
    engine, rows = Engine(), Rows()
    order: list[str] = []

    async def committed() -> None:
        order.append(f"{len(rows.kept)} rows, {engine.calls}")

    rows.committed = committed  # type: ignore[method-assign]
    own = owning(engine, rows, lambda: 1000.0)
    made = await own.create("tool", {"Image": "x"}, INCIDENT, "helper")
    assert order == ["1 rows, []"]
    assert rows.kept[made.id].object_id == "c1"
    assert engine.there["c1"].labels == {HELPER_LABEL: LABEL}


async def test_a_later_dockmend_removes_what_the_answer_of_was_lost():
    engine, rows = Engine(), Rows()
    engine.fails = EngineAway("gone")
    with pytest.raises(EngineAway):
        await owning(engine, rows, lambda: 1000.0).create("tool", {}, INCIDENT, "job")
    later = owning(engine, rows, lambda: 2000.0)
    (left,) = later.of_incident(INCIDENT, "job")
    assert left.object_id == ""
    assert await later.remove(left)
    assert (engine.there, rows.kept) == ({}, {})


async def test_what_a_person_made_under_that_name_meanwhile_is_left():
    engine, rows = Engine(), Rows()
    engine.fails, engine.made = EngineAway("gone"), False
    with pytest.raises(EngineAway):
        await owning(engine, rows, lambda: 1000.0).create("tool", {}, INCIDENT, "job")
    engine.there["c9"] = Container(id="c9", name="tool", created_at=1500.0)
    later = owning(engine, rows, lambda: 2000.0)
    (left,) = later.of_incident(INCIDENT, "job")
    assert await later.find(left) is None
    assert not await later.remove(left)
    assert list(engine.there) == ["c9"]


async def test_what_is_gone_is_not_another_that_bears_its_id_for_a_name():
    engine, rows = Engine(), Rows()
    own = owning(engine, rows, lambda: 1000.0)
    made = await own.create("tool", {}, INCIDENT, "job")
    engine.there = {"c9": Container(id="c9", name="c1")}
    assert not await own.remove(made)
    assert list(engine.there) == ["c9"]


async def test_a_refusal_leaves_no_row():
    engine, rows = Engine(), Rows()
    engine.fails, engine.made = Permanent("no such image", 404), False
    with pytest.raises(Permanent):
        await owning(engine, rows).create("tool", {}, INCIDENT, "job")
    assert rows.kept == {}


@pytest.mark.parametrize(("after", "kept"), [(10.0, 1), (61.0, 0)])
async def test_a_row_without_an_id_stays_while_the_engine_may_still_be_making_it(
    after: float, kept: int
):
    rows = Rows({"o1": row(engine_id="")})
    own = owning(Engine(), rows, lambda: 1000.0 + after)
    assert await own.find(own.objects.rows["o1"]) is None
    assert len(rows.kept) == kept


# -------------------------------------------------------- names of a recreation without a row of it
OLD, NEW = f"web.dockmend-old-{INCIDENT}", f"web.dockmend-new-{INCIDENT}"


def test_what_a_recreation_left_without_a_journal_is_told_with_the_commands():
    old = Container(id="c1", name=OLD, started_at=1.0)
    new = Container(id="c2", name=NEW, restart_policy="always")
    web = Container(id="c3", name="web")
    mine = Container(id="c4", name="web.dockmend-mine")

    def told(*containers: Container) -> dict[str, str]:
        return {each.container.name: each.commands for each in stranded(containers, OwnedObjects())}

    assert told(old, web) == {OLD: f"docker rm {OLD}"}
    assert told(old) == {OLD: f"docker rename {OLD} web && docker start web"}
    assert told(old, new, mine) == {
        OLD: f"docker rename {OLD} web && docker update --restart=always web && docker start web",
        NEW: f"docker rm --volumes {NEW}",
    }
    assert told(new) == {NEW: f"docker rename {NEW} web && docker start web"}


def test_what_the_journal_knows_is_not_told():
    old = Container(id="c1", name=OLD)
    assert stranded([old], objects(row(purpose="aside", name=OLD, object_id="c1"))) == []
