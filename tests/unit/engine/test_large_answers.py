"""Answers that labels without an end make large: one at a time, and a list of them is read for its
ids only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dockmend.engine import engine_queries, transport
from dockmend.engine.client import DockerEngine
from dockmend.engine.engine_queries import RememberedLabels
from dockmend.errors import Temporary
from tests.fakes.engine import FakeEngine

from .raw import served

LABELS = {"big": "x" * (2 << 20), "tier": "web"}


async def test_large_answers_are_in_hand_one_at_a_time(
    fake: FakeEngine, client: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_image("other", {"Labels": LABELS})
    for number in range(8):
        fake.add_container(f"web{number}", "other", labels={"mine": "1"})
    await client.connect()
    at_once, most = 0, 0
    labels_of = engine_queries.EngineQueries._labels_of_image

    async def counted(self: engine_queries.EngineQueries, wire: Any) -> dict[str, str] | None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await asyncio.sleep(0.01)
            return await labels_of(self, wire)
        finally:
            at_once -= 1

    monkeypatch.setattr(engine_queries.EngineQueries, "_labels_of_image", counted)
    listing = await client.listing()
    assert most == 1
    assert [
        (each.labels, each.too_much, each.left_out > 1 << 21) for each in listing.containers
    ] == [({"mine": "1"}, False, True)] * 8
    assert sum(len(str(each.image_labels)) for each in listing.containers) < 8 << 10


def listed(*ids: str) -> bytes:
    rows = [
        {"Id": each, "Names": ["/web"], "Labels": {"a": '"Id":"' + "f" * 64 + '"', "b": "x" * 4000}}
        for each in ids
    ]
    return msgspec.json.encode(rows)


@pytest.mark.parametrize("scanned", [transport.SCANNED, 10_000])
async def test_the_ids_of_a_list_that_is_too_long_to_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    monkeypatch.setattr(transport, "SCANNED", scanned)
    ids = [f"{number:064x}" for number in range(200)]
    async with served(tmp_path / "s", listed(*ids)) as url:
        client = DockerEngine(url)
        try:
            assert await client._container_ids() == ids
        finally:
            await client.close()


async def test_a_list_that_was_cut_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "SCANNED", 10_000)
    async with served(
        tmp_path / "s", listed(*[f"{number:064x}" for number in range(200)])[:-900]
    ) as url:
        client = DockerEngine(url)
        try:
            with pytest.raises(Temporary, match="cut"):
                await client._container_ids()
        finally:
            await client.close()


def test_labels_of_images_are_remembered_up_to_so_many_bytes() -> None:
    known = RememberedLabels()
    known.keep("large", {"big": "x" * 20_000})
    assert not known
    for number in range(2000):
        known.keep(f"{number}", {"text": "x" * 10_000})
    assert sum(len(each["text"]) for each in known.values()) <= engine_queries.REMEMBERED_LABELS
    assert "1999" in known
    assert "0" not in known
