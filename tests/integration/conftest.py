"""Fixtures for tests of single parts on a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dockmend.engine.client import DockerEngine
from dockmend.notify.message import Message
from dockmend.notify.outbox import Outbox
from tests.integration.acting import Acting
from tests.integration.posting import Post
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


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    """What a daemon in the test's own process puts for its channels."""
    found, put = Post(), Outbox.put

    def noted(self: Outbox, channel: str, message: Message, due_at: float) -> int:
        found.put.append((channel, message))
        return put(self, channel, message, due_at)

    monkeypatch.setattr(Outbox, "put", noted)
    return found
