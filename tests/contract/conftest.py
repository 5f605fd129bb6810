"""The engines that the contract tests run on: the real one and the fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dockmend.engine.client import DockerEngine
from tests.fakes.engine import FakeEngine

from .labs import FakeLab, Lab, RealLab


@pytest_asyncio.fixture(params=["real", "fake"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """A clean engine with a connected client, once real and once fake."""
    if request.param == "real":
        docker = request.getfixturevalue("docker")
        client = DockerEngine(docker.url)
        await client.connect()
        try:
            yield RealLab(docker, client)
        finally:
            await client.close()
        return
    fake = await FakeEngine(tmp_path).start()
    client = DockerEngine(fake.url)
    try:
        await client.connect()
        yield FakeLab(fake, client)
    finally:
        await client.close()
        await fake.stop()


@pytest_asyncio.fixture(params=["real", "fake"])
async def mortal_lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """As `lab`, but of the test's own: it may end the engine."""
    if request.param == "real":
        own = request.getfixturevalue("own_engine")()
        client = DockerEngine(own.url)
        await client.connect()
        try:
            yield RealLab(own, client)
        finally:
            await client.close()
        return
    fake = await FakeEngine(tmp_path).start()
    client = DockerEngine(fake.url)
    try:
        await client.connect()
        yield FakeLab(fake, client)
    finally:
        await client.close()
        await fake.stop()
