"""Fresh limits: for a container that somebody made another way, and not for one that was only made
again."""

from __future__ import annotations

from itertools import count

import pytest
from msgspec.structs import replace

from dockmend.mirror.identities import Identities
from dockmend.model import Container
from dockmend.pipeline.successors import Successors
from tests.unit.pipeline.clinic import ID, TARGET, WEB, Clinic, clinic, rule_text

TWICE = rule_text(
    limits="{attempts: 2 per 15m, backoff: 1s to 2s}", escalate='[{publish: {topic: "lost"}}]'
)
RESET = f"dockmend reset heal {TARGET}"
numbers = count(1)


def tell_how_it_was_made(one: Clinic, made_as: str) -> None:
    one.engine.set(made_as=made_as)
    one.learn_from(one.engine.containers[ID])


async def give_up(one: Clinic) -> None:
    one.health_after = "unhealthy"
    one.sicken()
    await one.quiet()
    await one.later()
    assert (one.restarts, one.incidents.open, one.told.breakers[-1]) == (2, {}, True)


def remove(one: Clinic, container_id: str = ID, wait: float = 0.0) -> None:
    container = one.engine.containers.pop(container_id)
    found = one.mirror.entries[container.id]
    one.offer(one.mirror.remove(found, one.now, one.now, "live"))
    one.now += wait
    one.tick()


def make(one: Clinic, made_as: str, **changes: object) -> Container:
    """Another container of the same name, and it is sick."""
    new = replace(
        WEB, id=f"{next(numbers):064x}", made_as=made_as, health="unhealthy", started_at=one.now
    )
    new = replace(new, created_at=one.now, **changes)
    one.engine.containers[new.id] = new
    one.learn_from(new)
    return new


@pytest.mark.parametrize("missed", [0.0, 60.0], ids=["at once", "after it was missed"])
async def test_one_that_was_made_another_way_begins_with_fresh_limits(missed: float):
    async with clinic(TWICE) as one:
        tell_how_it_was_made(one, "before")
        await give_up(one)
        one.engine.on.pop("restart")
        remove(one, wait=missed)
        new = make(one, "after")
        await one.quiet()
        tried = one.last()
        assert (tried.object_id, tried.attempts, one.restarts) == (new.id, 1, 3)
        mine = one.history.of("heal", TARGET)
        assert (len(mine.attempts), mine.breaker_at) == (1, None)
        assert one.journal.breakers[f"heal {TARGET}"] is None
        assert one.told.breakers == [True, False]
        assert one.journal.resets.keys() == {("heal", TARGET)}


@pytest.mark.parametrize("missed", [0.0, 60.0], ids=["at once", "after it was missed"])
async def test_one_that_was_only_made_again_has_the_limits_of_the_one_before_and_it_says_so(
    missed: float,
):
    async with clinic(TWICE) as one:
        tell_how_it_was_made(one, "before")
        await give_up(one)
        last = one.history.of("heal", TARGET).attempts[-1]
        remove(one, wait=missed)
        make(one, "before")
        await one.quiet()
        assert one.restarts == 2
        assert one.journal.resets == {}
        reason = one.last().reason
        assert RESET in reason
        assert ("that was the container before this one" in reason) is (missed > 0)
        assert last == one.history.of("heal", TARGET).attempts[-1]


async def test_of_one_of_which_nobody_knows_how_it_was_made_the_limits_stay():
    async with clinic(TWICE) as one:
        await give_up(one)
        remove(one)
        make(one, "after")
        await one.quiet()
        assert (one.restarts, one.journal.resets) == (2, {})


async def test_an_heir_that_dockmend_made_from_another_image_has_the_limits_of_the_one_before():
    async with clinic(TWICE) as one:
        tell_how_it_was_made(one, "before")
        await give_up(one)
        heir = replace(WEB, id="e" * 64, made_as="newest", started_at=one.now)
        one.engine.containers[heir.id] = heir
        one.mirror.observe(heir, one.now)
        Successors(one.mirror, one.incidents).succeed(ID, heir.id)
        remove(one)
        one.learn_from(replace(heir, health="unhealthy"))
        await one.quiet()
        assert (one.restarts, one.journal.resets) == (2, {})
        remove(one, heir.id)
        make(one, "newest")  # as it was made last
        await one.quiet()
        assert (one.restarts, one.journal.resets) == (2, {})


async def test_one_that_is_still_there_under_its_name_is_not_replaced():
    """As Compose makes the new container before it removes the old one."""
    async with clinic(TWICE) as one:
        tell_how_it_was_made(one, "before")
        await give_up(one)
        make(one, "after")
        await one.quiet()
        assert (one.restarts, one.journal.resets) == (2, {})


async def test_a_well_one_that_was_made_another_way_has_no_breaker():
    async with clinic(TWICE) as one:
        tell_how_it_was_made(one, "before")
        await give_up(one)
        remove(one)
        new = make(one, "after", health="healthy")
        assert one.history.of("heal", TARGET).breaker_at is None
        assert one.mirror.container(new.id) is not None


async def test_who_makes_it_another_way_again_and_again_has_no_endless_attempts():
    """An orchestrator that stamps the time into each environment."""
    async with clinic(TWICE) as one:
        tell_how_it_was_made(one, "before")
        await give_up(one)
        one.engine.on.pop("restart")
        remove(one)
        for number in range(20):
            new = make(one, f"at {number}")
            await one.quiet()
            while one.incidents.open:
                await one.later()
            remove(one, new.id)
        renewed = one.history.of("heal", TARGET).renewed
        assert len(renewed) == 2
        assert one.restarts == 2 + 2 * 2
        one.now += 1000.0
        make(one, "later")
        await one.quiet()
        assert one.restarts == 2 + 2 * 2 + 1


async def test_a_reset_survives_a_renewal_that_the_journal_could_not_take():
    async with clinic(TWICE) as one:
        tell_how_it_was_made(one, "before")
        await give_up(one)
        one.journal.full = True
        remove(one)
        make(one, "after", health="healthy")
        one.journal.full = False
        one.incidents.backlog.catch_up()
        assert one.journal.resets.keys() == {("heal", TARGET)}


def test_how_it_was_made_is_what_was_seen_first_and_outlives_dockmend():
    known = Identities()
    known.seen(replace(WEB, made_as=""))
    known.seen(replace(WEB, made_as="before"))
    known.seen(replace(WEB, made_as="updated"))
    data = known.encoded(ID)
    assert data is not None
    after = Identities()
    after.restore(ID, data)
    new = replace(WEB, id="d" * 64, made_as="before")
    after.seen(new)
    assert not after.made_another_way(ID, new.id)
    other = replace(WEB, id="e" * 64, made_as="updated")
    after.seen(other)
    assert after.made_another_way(ID, other.id)
    assert not after.made_another_way("f" * 64, other.id)
    after.stands_in(ID, other.id)  # a dependent was made onto it: it is nobody's heir by that
    assert after.made_another_way(ID, other.id)
    after.succeeded(ID, other.id)
    assert not after.made_another_way(ID, other.id)
