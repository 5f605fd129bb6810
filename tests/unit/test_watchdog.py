"""systemd's watchdog hears of progress: a watch that stands still is not fed, whatever else goes
on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dockmend.app import watchdog
from tests.unit.machine import Machine


class Dog:
    watchdog = 30.0

    def __init__(self) -> None:
        self.fed = 0

    def alive(self) -> None:
        self.fed += 1


@pytest.mark.parametrize(("gets_on", "fed"), [(True, 20), (False, 6)])
async def test_it_is_fed_while_the_watch_gets_on(
    monkeypatch: pytest.MonkeyPatch, gets_on: bool, fed: int
):
    dog, machine, progress = Dog(), Machine(), [0]
    rounds = iter(range(20))

    async def sleep(seconds: float) -> None:
        assert seconds == Dog.watchdog / 2
        machine.passes(seconds)
        progress[0] += gets_on
        if next(rounds) == 19:
            raise asyncio.CancelledError

    monkeypatch.setattr(watchdog, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        await watchdog.feed(cast("Any", dog), lambda: progress[0], machine.clock())
    assert dog.fed == fed  # for 90 seconds, each 15, where nothing comes on
