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
