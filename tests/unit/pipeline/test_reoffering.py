"""What stands is offered again in slices: several reasons are one round, and others get their turn
meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from dockmend.mirror import Mirror
from dockmend.model import Change, HealthCheck
from dockmend.pipeline.reoffering import AT_ONCE, Reoffering, in_slices, offer_standing
from tests.unit.mirror.host import Host

MANY = 3 * AT_ONCE + 1


def sick(containers: int) -> Mirror:
    host = Host()
    host.relist(
        *(host.container(id=f"{n:064x}", name=f"web-{n}", check=HealthCheck(), health="unhealthy")
          for n in range(containers)),
        first=True,
    )  # fmt: skip
    return host.mirror


async def test_no_slice_is_larger_than_it_may_be_and_each_trouble_is_offered_once():
    slices: list[list[Change]] = []
    mirror = sick(MANY)
    await offer_standing(mirror, lambda changes: slices.append(list(changes)))
    assert max(map(len, slices)) <= AT_ONCE
    assert [change.trouble for each in slices for change in each] == [
        change.trouble for change in mirror.standing()
    ]


async def test_what_is_over_before_its_turn_is_not_offered():
    offered: list[Change] = []
    mirror = sick(MANY)
    gone = list(mirror.entries)[-1]

    def again(changes: Iterable[Change]) -> None:
        offered.extend(changes)
        if gone in mirror.entries:
            mirror.gone(gone, 1001.0)

    await offer_standing(mirror, again)
    assert len(offered) == MANY - 1


async def test_others_get_their_turn_between_the_slices():
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    seen: list[int] = []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(other())
        await in_slices(sick(MANY).standing(), lambda changes: seen.append(turns))
        task.cancel()
    assert seen == sorted(set(seen))
    assert len(seen) == 4


async def test_many_reasons_at_once_are_one_round():
    rounds: list[int] = []
    done = asyncio.Event()

    def again(changes: Iterable[Change]) -> None:
        rounds.append(len(list(changes)))
        done.set()

    offers = Reoffering(sick(3), again)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(offers.run())
        for _ in range(500):
            offers.ask()
        await done.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        assert rounds == [3]
        done.clear()
        offers.ask()
        await done.wait()
        task.cancel()
    assert rounds == [3, 3]
