"""The fake engine and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from dockmend.engine.client import DockerEngine
from tests.fakes.engine import FakeEngine


@pytest_asyncio.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    engine = await FakeEngine(tmp_path).start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest_asyncio.fixture
async def client(fake: FakeEngine) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine(fake.url, timeout=5.0)
    try:
        yield engine
    finally:
        await engine.close()
