"""The daemon whole: images that an incident left twice are found at the start, and whenever an
incident is closed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from dockmend.engine.engine_api import Engine
from dockmend.journal.sqlite import SqliteJournal
from dockmend.owned import OwnedObjects
from dockmend.ownership import Ownership
from tests.fakes.engine import FakeEngine
from tests.unit.test_daemon import fake, running, settings, until

RULES = """
version: 1
rules:
  - name: keep
    when: container.crashed
    match: all
    then: {commit_image: {repository: kept, tag: "{container.name}"}}
"""

__all__ = ["fake"]


def at(number: int) -> str:
    return f"2026-01-01T00:00:0{number}+00:00"


def commit(fake: FakeEngine, incident: str, number: int) -> str:
    """As the engine does for a dockmend that is gone."""
    labels = {
        "dockmend.rule": "keep", "dockmend.incident": incident, "dockmend.source": "web",
        "dockmend.committed_at": at(number), "dockmend.reference": "kept:late",
    }  # fmt: skip
    identity = fake.commit("web", "kept:late", {"Labels": labels}, pause=False)
    fake.images[identity]["Created"] = f"2026-01-01T00:00:0{number}Z"
    return identity


async def test_the_later_image_stays_and_has_the_name_again(fake: FakeEngine, tmp_path: Path):
    web = fake.add_container("web")
    # of another dockmend
    others = {commit(fake, "i0000000another", 2), commit(fake, "i0000000another", 1)}
    second, _first = commit(fake, "i000000000000old", 2), commit(fake, "i000000000000old", 1)
    async with journal_of(tmp_path, fake.identity) as before:
        for number in (1, 2):
            await claim(before, "i000000000000old", number)

    def left(incident: str) -> list[tuple[str, list[str]]]:
        return [
            (identity, image["RepoTags"])
            for identity, image in fake.images.items()
            if (image["Config"].get("Labels") or {}).get("dockmend.incident") == incident
        ]

    async with running(fake, settings(tmp_path, RULES)) as one:
        await until(
            lambda: left("i000000000000old") == [(second, ["kept:late"])],
            "one is left of those before it",
        )
        await until(lambda: not one.image_cleanup.due.is_set(), "it has looked")
        for number in (1, 2):
            await claim(one.own, "i000000000000new", number)
        later, _ = commit(fake, "i000000000000new", 2), commit(fake, "i000000000000new", 1)
        fake.crash(web, 7)
        await until(
            lambda: left("i000000000000new") == [(later, ["kept:late"])],
            "one is left as an incident closed",
        )
        assert others <= fake.images.keys()


async def claim(own: Ownership, incident: str, number: int) -> None:
    await own.claim("image", "kept:late", incident, "image", mark=at(number))


@asynccontextmanager
async def journal_of(tmp_path: Path, engine_id: str) -> AsyncIterator[Ownership]:
    """What the dockmend before this one wrote down."""
    journal = SqliteJournal(settings(tmp_path, RULES).paths.journal, time.time)
    await journal.open()
    yield Ownership(
        cast("Engine", None),
        journal,
        time.time,
        OwnedObjects(await journal.instance(), (), engine_id),
    )
    await journal.close()
