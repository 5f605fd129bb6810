"""`dockmend explain` knows in whose network a container lives, as the daemon does: by the listing,
by the journal's memory of an owner that is gone, and over a recording."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dockmend.app.resume import IDENTITY
from dockmend.cli import options
from dockmend.engine.engine_api import Listing
from dockmend.journal.sqlite import SqliteJournal
from dockmend.mirror.identities import Identities
from dockmend.model import Container

VPN = Container(
    id="a" * 64, name="vpn", state="running", labels={"dockmend.rejoin": "true"}, started_at=5.0
)
APP = Container(
    id="b" * 64, name="app", state="running", network_mode=f"container:{VPN.id}", started_at=6.0
)
NEW_VPN = replace(VPN, id="c" * 64, started_at=9.0)


class Engine:
    """An engine with a few containers."""

    url = "unix:///e"

    def __init__(self, *containers: Container) -> None:
        self.containers = {each.name: each for each in containers}
        self.names: Any = None

    async def connect(self) -> None: ...

    async def close(self) -> None: ...

    async def inspect(self, name: str) -> Container:
        return self.containers[name]

    async def listing(self) -> Listing:
        return Listing(tuple(self.containers.values()), (), (), 0.0, 0.0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKMEND_STATE", str(tmp_path))
    monkeypatch.setenv("DOCKMEND_RULES", str(tmp_path / "none"))
    return tmp_path


def told(dockmend: Any, *arguments: str) -> tuple[str, str]:
    """What `label:rejoin` answers to the one trouble."""
    found = json.loads(dockmend("explain", *arguments, "--json").out)
    (answer,) = [
        each for row in found for each in row["answers"]
        if each["rule"] == "label:rejoin" and "container.orphaned" in row["triggers"]
    ]  # fmt: skip
    return answer["answer"], answer["why"]


def test_the_label_of_the_owner_counts(dockmend, place, monkeypatch):
    monkeypatch.setattr(options, "engine_of", lambda _: Engine(VPN, APP))
    assert told(dockmend, "app") == ("fires", "restart_dependents")


def test_the_owner_itself_is_told_for_whom_its_label_is(dockmend, place, monkeypatch):
    monkeypatch.setattr(options, "engine_of", lambda _: Engine(VPN, APP))
    assert told(dockmend, "vpn") == (
        "no",
        (
            "vpn shares nobody's network; its label dockmend.rejoin is for those that share its "
            "own: app"
        ),
    )


def test_one_without_guests_or_label_is_told_what_it_lacks(dockmend, place, monkeypatch):
    plain = replace(VPN, labels={})
    monkeypatch.setattr(options, "engine_of", lambda _: Engine(plain))
    assert told(dockmend, "vpn") == ("no", "vpn shares nobody's network")


def test_an_owner_that_was_replaced_is_known_by_the_journal(dockmend, place, monkeypatch):
    memory = Identities()
    memory.seen(VPN)

    async def write() -> None:
        journal = SqliteJournal(place / "journal.sqlite3", time.time)
        await journal.open()
        journal.put_known(IDENTITY + VPN.id, memory.encoded(VPN.id) or b"")
        await journal.close()

    asyncio.run(write())
    monkeypatch.setattr(options, "engine_of", lambda _: Engine(NEW_VPN, APP))
    assert told(dockmend, "app") == ("fires", "restart_dependents")
    rows = {each["name"]: each for each in json.loads(dockmend("coverage", "--json").out)}
    assert rows["app"]["rules"] == ["label:rejoin"]


def test_over_a_recording_the_label_of_the_owner_counts(dockmend, place):
    stopped = replace(VPN, state="exited", exit_code=1, finished_at=20.0)
    lines = [
        {"at": 10.0, "listing": msgspec.to_builtins(Listing((VPN, APP), (), (), 10.0, 10.0))},
        {"at": 20.0, "inspect": msgspec.to_builtins(stopped)},
    ]
    path = place / "recording.ndjson"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert told(dockmend, "--events", str(path)) == ("fires", "restart_dependents")
