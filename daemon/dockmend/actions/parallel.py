"""Runs one wave of a group: members that need not wait for each other, at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from dockmend.actions.action import ActionFailed
from dockmend.errors import EngineAway, JournalError

AT_ONCE = 8
"""Members of a wave at work at the same time."""


async def together(
    deed: Callable[[str], Awaitable[None]], wave: Iterable[str], failures: list[str]
) -> None:
    """One that fails does not keep the others from theirs: what it says goes to `failures`.

    Raises EngineAway or JournalError once all have ended, where one of them met it.
    """
    cut: list[EngineAway | JournalError] = []
    room = asyncio.Semaphore(AT_ONCE)

    async def one(node: str) -> None:
        try:
            async with room:
                await deed(node)
        except ActionFailed as failure:
            failures.append(str(failure))
        except (EngineAway, JournalError) as error:
            cut.append(error)

    async with asyncio.TaskGroup() as group:
        for node in wave:
            group.create_task(one(node))
    if cut:
        raise cut[0]
