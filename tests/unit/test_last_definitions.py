"""Definitions hold secrets: they are kept for as long as a rule may need them, and not for
longer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dockmend.actions.definition import OWNER_LABELS
from dockmend.app.last_definitions import AFTER_REMOVAL, KEY, REMOVED, LastDefinitions
from dockmend.errors import JournalError
from dockmend.journal.sqlite import SqliteJournal
from dockmend.mirror import Mirror
from dockmend.model import Container
from dockmend.rules.loader import load_texts
from dockmend.rules.rule import RuleSet

ID = "c" * 64
NOW = 1_800_000_000.0
MAKES_AGAIN = (
    "{version: 1, rules: [{name: again, when: container.missing, match: {name: web}, then: run}]}"
)


def ruleset(text: str = MAKES_AGAIN) -> RuleSet:
    return load_texts({"r.yaml": text}, host="lab")


async def inspect_raw(container_id: str) -> dict[str, Any]:
    return {"Id": container_id, "Name": "/web", "Config": {"Env": ["PASSWORD=secret"]}}


def listed(*containers: Container) -> Mirror:
    mirror = Mirror()
    mirror.relist(containers, [], [], NOW, "started")
    return mirror


class Stage:
    """`now` moves when a test says so; the journal stays, whatever reads it next."""

    def __init__(self, journal: SqliteJournal, mirror: Mirror) -> None:
        self.now, self.journal, self.mirror = NOW, journal, mirror

    async def begin(self, rules: RuleSet) -> LastDefinitions:
        """As a new dockmend does."""
        engine: Any = SimpleNamespace(inspect_raw=inspect_raw)
        one = LastDefinitions(engine, self.journal, self.mirror, lambda: self.now)
        one.use(rules)
        await one.take_up()
        await one.keep()
        return one

    async def kept(self) -> list[str]:
        keys = [*await self.journal.known_keys(KEY), *await self.journal.known_keys(REMOVED)]
        return [each.partition("/")[0] for each in keys]


async def staged(tmp_path: Path) -> Stage:
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW)
    await journal.open()
    return Stage(journal, listed(Container(id=ID, name="web", state="running", started_at=900.0)))


async def test_it_is_kept_while_a_rule_wants_it_and_dropped_when_none_does(tmp_path: Path):
    stage = await staged(tmp_path)
    try:
        one = await stage.begin(ruleset())
        assert await stage.kept() == ["definition"]
        one.use(RuleSet())
        await one.keep()
        assert await stage.kept() == []
    finally:
        await stage.journal.close()


@pytest.mark.parametrize(
    "unknown", [False, True], ids=["the image is there", "it cannot be inspected"]
)
async def test_whose_labels_are_is_kept_with_it(tmp_path: Path, unknown: bool):
    """Its image may be gone when it is made again."""
    stage = await staged(tmp_path)
    seen = Container(
        id=ID, name="web", state="running", started_at=900.0,
        labels={} if unknown else {"mine": "yes"}, image_labels={"from": "image"},
        image_unknown=unknown,
    )  # fmt: skip
    stage.mirror = listed(seen)
    try:
        found = await (await stage.begin(ruleset())).of(ID)
        assert found is not None
        assert found.get(OWNER_LABELS) == (None if unknown else ["mine"])
    finally:
        await stage.journal.close()


async def test_what_no_rule_wants_since_a_restart_is_dropped(tmp_path: Path):
    stage = await staged(tmp_path)
    try:
        await stage.begin(ruleset())
        stage.mirror = listed(Container(id=ID, name="web", state="running", started_at=900.0))
        await stage.begin(ruleset(MAKES_AGAIN.replace("name: web}", "name: other}")))
        assert await stage.kept() == []
    finally:
        await stage.journal.close()


async def test_the_day_after_a_removal_goes_on_over_restarts(tmp_path: Path):
    stage = await staged(tmp_path)
    try:
        one = await stage.begin(ruleset())
        stage.mirror.gone(ID, NOW)
        await one.keep()
        assert await stage.kept() == ["definition", "definition-removed"]
        for _ in range(3):
            stage.mirror = listed()
            stage.now += AFTER_REMOVAL / 3
            one = await stage.begin(ruleset())
            assert await stage.kept() == ["definition", "definition-removed"]
        stage.now += 1
        await one.keep()
        assert await stage.kept() == []
    finally:
        await stage.journal.close()


async def test_one_that_is_there_after_all_has_its_day_anew(tmp_path: Path):
    stage = await staged(tmp_path)
    try:
        one = await stage.begin(ruleset())
        stage.mirror.gone(ID, NOW)
        await one.keep()
        stage.mirror = listed(Container(id=ID, name="web", state="running", started_at=900.0))
        await stage.begin(ruleset())
        assert await stage.kept() == ["definition"]
    finally:
        await stage.journal.close()


async def test_an_heir_that_went_before_it_was_looked_at_is_made_from_what_its_predecessor_was(
    tmp_path: Path,
):
    stage = await staged(tmp_path)
    try:
        one = await stage.begin(ruleset())
        assert await one.of("d" * 64) is None
        stage.mirror.succeeded(ID, "d" * 64)
        before = await one.of("d" * 64)
        assert before is not None
        assert before["Id"] == ID
        stage.mirror.observe(
            Container(id="d" * 64, name="web", state="running", started_at=NOW), NOW
        )
        await one.keep()
        own = await one.of("d" * 64)
        assert own is not None
        assert own["Id"] == "d" * 64
    finally:
        await stage.journal.close()


async def test_a_journal_that_takes_nothing_loses_no_container_that_is_to_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One whose definition no rule wants any more, and one that is to be kept: both are looked at
    again."""
    stage = await staged(tmp_path)
    try:
        one = await stage.begin(ruleset())
        other = Container(id="d" * 64, name="other", state="running", started_at=900.0)
        stage.mirror.observe(other, NOW)
        one.use(ruleset(MAKES_AGAIN.replace("name: web}", "name: other}")))

        def full(key: str, value: bytes | None) -> None:
            raise JournalError("20000 records wait for the disk")

        with monkeypatch.context() as broken:
            broken.setattr(stage.journal, "put_known", full)
            await one.keep()
        assert stage.mirror.redefined == {ID, other.id}
        await one.keep()
        assert await stage.journal.known_keys(KEY) == [f"{KEY}{other.id}"]
    finally:
        await stage.journal.close()
