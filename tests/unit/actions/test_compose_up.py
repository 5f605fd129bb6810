"""compose_up where the host has nothing left for a child: no engine can be made to do that on cue."""

from __future__ import annotations

import asyncio
import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from dockmend.actions import compose_up
from dockmend.actions.base import Failed


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN, errno.EMFILE])
async def test_a_child_that_cannot_be_started_fails_the_step_with_the_reason(number, monkeypatch):
    async def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    ctx: Any = SimpleNamespace(engine=SimpleNamespace(url="unix:///nowhere"))
    with pytest.raises(Failed, match=f"^docker could not be started: {os.strerror(number)}$") as failure:
        await compose_up._run(ctx, ["docker", "compose", "up"])
    assert failure.value.again, "it is tried again: the host may have recovered"


def test_which_containers_compose_starts_is_read_from_its_words():
    """In pieces as they come; what it finds running, or only waits for, it does not start."""
    said = (
        b" Container shop-db-1  Running\n Container shop-db-1  Waiting\n Container shop-db-1  Healthy\n"
        b" Container shop-web-1  Creating\n Container shop-web-1  Created\n Container shop-web-1  Starting\n"
        b"Container x Starting or not\n Network shop_default  Starting\n" + b"y" * 5000 + b"\n Container z  Starting"
    )
    for size in (1, 7, len(said)):
        found = compose_up.Started()
        for at in range(0, len(said), size):
            found.add(said[at : at + size])
        assert found.names == {"shop-web-1"}, size
        found.add(b"\n")
        assert found.names == {"shop-web-1", "z"}, size
