"""compose_up where the host has nothing left for a child, or the engine refuses: neither can be had
on cue."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from dockmend.actions import compose_up, containers_recovery
from dockmend.actions.action import ActionFailed
from dockmend.errors import EngineAway, EngineError, Permanent, Temporary
from dockmend.model import Container
from tests.unit.actions.stage import Stage


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN, errno.EMFILE])
async def test_a_child_that_cannot_be_started_fails_the_step_with_the_reason(number, monkeypatch):
    async def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    ctx: Any = SimpleNamespace(engine=SimpleNamespace(url="unix:///nowhere"))
    with pytest.raises(
        ActionFailed, match=f"^docker could not be started: {os.strerror(number)}$"
    ) as failure:
        await compose_up._run(ctx, ["docker", "compose", "up"])
    assert failure.value.again, "it is tried again: the host may have recovered"


def test_which_containers_compose_starts_is_read_from_its_words():
    """In pieces as they come; what it finds running, or only waits for, it does not start."""
    said = (
        b" Container shop-db-1  Running\n Container shop-db-1  Waiting\n Container shop-db-1  "
        b"Healthy\n"
        b" Container shop-web-1  Creating\n Container shop-web-1  Created\n Container shop-web-1  "
        b"Starting\n"
        b"Container x Starting or not\n Network shop_default  Starting\n"
        + b"y" * 5000
        + b"\n Container z  Starting"
    )
    for size in (1, 7, len(said)):
        found = compose_up.Started()
        for at in range(0, len(said), size):
            found.add(said[at : at + size])
        assert found.names == {"shop-web-1"}, size
        found.add(b"\n")
        assert found.names == {"shop-web-1", "z"}, size


SHOP = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
GONE = Container(id="a" * 64, name="shop-web-1", labels=SHOP)
MADE = Container(
    id="b" * 64,
    name="shop-web-1",
    labels=SHOP,
    state="running",
    created_at=1000.0,
    started_at=1000.0,
)


class Told(Stage):
    """A stage whose stream has told of what Compose made."""

    def of_target(self, target: str) -> Container | None:
        return MADE


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, which take no time."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("dockmend.actions.containers_recovery.asyncio.sleep", sleep)
    return waited


async def brought_back(stage: Stage, trouble: Any) -> list[tuple[str, str]]:
    """Who took whose place, by the look after Compose has done its work."""
    heirs: list[tuple[str, str]] = []
    stage.engine.containers = {MADE.name: MADE}
    stage.engine.trouble["inspect"] = trouble
    context = dataclasses.replace(stage.context, heir=lambda old, new: heirs.append((old, new)))
    await compose_up._brought_back(context, GONE)
    return heirs


@pytest.mark.parametrize("refusals", [0, 1, 3])
async def test_a_look_that_the_engine_refuses_is_tried_again(refusals: int, waits: list[float]):
    """Compose has done its work: that must not fail because nobody could see it at once."""
    trouble = [Temporary("too many open files", 500)] * refusals
    assert await brought_back(Stage(), trouble) == [(GONE.id, MADE.id)]
    assert waits == list(containers_recovery.LOOK_WAITS[:refusals])


@pytest.mark.parametrize(
    "error", [Temporary("too many open files", 500), Permanent("forbidden", 403)]
)
async def test_where_the_engine_goes_on_refusing_the_stream_has_told(
    error: EngineError, waits: list[float]
):
    assert await brought_back(Told(), error) == [(GONE.id, MADE.id)]
    assert sum(waits) == (15.5 if isinstance(error, Temporary) else 0.0)


async def test_where_the_engine_is_away_it_is_waited_for(waits: list[float]):
    with pytest.raises(EngineAway):
        await brought_back(Told(), EngineAway("connection refused"))
    assert waits == []
