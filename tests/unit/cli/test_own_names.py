"""Commands that look at the engine call what dockmend set aside by its own name, as the journal
proves it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dockmend.cli import doctor, options
from dockmend.errors import EngineAway
from dockmend.journal.sqlite import SqliteJournal
from dockmend.model import aside_name
from dockmend.owned import OwnedObject
from dockmend.settings import Paths, Settings

OLD = aside_name("web", "old", "i0abc0abc0abc0ab")
STRANGERS = aside_name("web", "old", "i0abc0abc0abc0ac")


class Engine:
    """It remembers by what names were judged as it was asked. `away`: it is not there then."""

    url = "unix:///e"

    def __init__(self, *, away: bool = True) -> None:
        self.away = away
        self.names: Any = None
        self.asked: list[str] = []

    async def connect(self) -> Any:
        if self.names is not None:
            self.asked += [self.names.plain_name(each) for each in (OLD, STRANGERS)]
        if self.away:
            raise EngineAway("away")
        return SimpleNamespace(identity="engine")

    async def close(self) -> None:
        pass


@pytest.fixture
def found(tmp_path: Path) -> Settings:
    async def write() -> None:
        journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
        await journal.open()
        journal.put_owned(
            OwnedObject("o1", "container", OLD, "", "i0abc0abc0abc0ab", "aside", 0.0, "1" * 64)
        )
        await journal.close()

    asyncio.run(write())
    return Settings(
        paths=Paths(state=tmp_path, rules=tmp_path, socket=tmp_path / "s"), engine="unix:///e"
    )


def test_a_command_that_only_looks(found: Settings, monkeypatch: pytest.MonkeyPatch):
    engine = Engine()
    monkeypatch.setattr(options, "engine_of", lambda _: engine)
    with pytest.raises(EngineAway):
        options.with_engine(found, lambda _: asyncio.sleep(0))
    assert engine.asked == ["web", STRANGERS]


async def test_a_command_that_makes_helpers(found: Settings, monkeypatch: pytest.MonkeyPatch):
    engine = Engine(away=False)
    monkeypatch.setattr(options, "engine_of", lambda _: engine)
    async with options.owning(found) as own:
        await own.connect()
    assert engine.asked == ["web", STRANGERS]


def test_doctor(found: Settings, monkeypatch: pytest.MonkeyPatch):
    engine = Engine()
    monkeypatch.setattr(doctor, "engine_of", lambda _: engine)
    asyncio.run(doctor._engine(found))
    assert engine.asked == ["web", STRANGERS]
