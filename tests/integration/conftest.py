"""Fixtures for tests of single parts on a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dockmend.engine.client import DockerEngine
from tests.integration.acting import Acting
from tests.lab import PrivateEngine


@pytest.fixture
async def acting(docker: PrivateEngine) -> AsyncIterator[Acting]:
    """Runs and settles actions on the shared engine."""
    client = DockerEngine(docker.url)
    await client.connect()
    try:
        yield Acting(docker, client)
    finally:
        await client.close()
