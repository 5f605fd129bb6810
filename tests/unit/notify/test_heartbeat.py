"""The heartbeat: asked for while dockmend is healthy, and whoever answers has no say in
anything."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from dockmend.notify.heartbeat import Heartbeat
from dockmend.settings.secrets import Secret
from tests.lab.receivers import Web, web
from tests.lab.waiting import eventually_async


async def beaten(monitor: Web, *answers: int) -> list[str]:
    """What is told of heartbeats that are answered so."""
    monitor.answers = list(answers)
    beat = Heartbeat(
        Secret(f"http://127.0.0.1:{monitor.port}/push/hunter2"), lambda: True, every=0.01
    )
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(beat.run())
            await eventually_async(lambda: len(monitor.got) > len(answers) + 1, what="it goes on")
            task.cancel()
    assert "hunter2" not in str(logs)
    return [each.get("reason", "taken") for each in logs]


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
async def test_a_refusal_and_a_redirection_are_told_once_and_nobody_is_asked_elsewhere(status):
    with web() as monitor:
        assert await beaten(monitor, status, status) == [f"HTTP status {status}", "taken"]
        assert {each.path for each in monitor.got} == {"/push/hunter2"}


async def test_one_that_is_taken_is_not_told():
    with web() as monitor:
        assert await beaten(monitor) == []
