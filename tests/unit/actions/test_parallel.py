"""Members of a group that need not wait for each other: bounded, and none keeps the others from
theirs."""

from __future__ import annotations

import asyncio

import pytest

from dockmend.actions.action import ActionFailed
from dockmend.actions.parallel import AT_ONCE, together
from dockmend.errors import EngineAway


async def test_all_are_done_and_never_more_than_the_bound_at_once():
    at_work, most, done = 0, 0, set()

    async def deed(node: str) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        for _ in range(3):
            await asyncio.sleep(0)
        at_work -= 1
        done.add(node)

    members = [f"m{number}" for number in range(5 * AT_ONCE)]
    await together(deed, members, [])
    assert (most, done) == (AT_ONCE, set(members))


@pytest.mark.parametrize("away", [False, True])
async def test_one_that_fails_does_not_keep_the_others_from_theirs(away: bool):
    done: list[str] = []
    failures: list[str] = []

    async def deed(node: str) -> None:
        if node == "b":
            raise EngineAway("gone") if away else ActionFailed("cannot")
        await asyncio.sleep(0)
        done.append(node)

    if away:
        with pytest.raises(EngineAway):
            await together(deed, "abc", failures)
    else:
        await together(deed, "abc", failures)
    assert (done, failures) == (["a", "c"], [] if away else ["cannot"])
