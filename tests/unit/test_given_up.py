"""What was given up and is still broken: shown until it is well, stopped by a person, or gone."""

from __future__ import annotations

from dockmend.app.given_up import given_up
from tests.unit.pipeline.clinic import TARGET, Clinic, clinic, rule_text

TWICE = rule_text(limits="{attempts: 2 per 15m, backoff: 1s to 300s}")
AGAIN = TWICE.replace("when: container.unhealthy", "when: [container.unhealthy, container.missing]")


async def lost(one: Clinic) -> None:
    one.health_after = "unhealthy"
    one.sicken()
    await one.quiet()
    await one.later()
    assert one.incidents.open == {}


def vanish(one: Clinic) -> None:
    """A person removes the container, and nothing takes its place."""
    one.emit("destroy")
    one.now += 60.0
    one.tick()


async def test_a_broken_container_is_not_forgotten_when_its_incident_closes():
    async with clinic(TWICE) as one:
        assert given_up(one.history, one.mirror, one.reconciler.rules) == []
        await lost(one)
        [found] = given_up(one.history, one.mirror, one.reconciler.rules)
        assert (found.rule, found.target, found.object_name) == ("heal", TARGET, "web")
        assert found.since == one.history.of("heal", TARGET).breaker_at
        assert found.reason


async def test_one_that_got_well_is_not_shown_though_the_breaker_is_still_open():
    async with clinic(TWICE) as one:
        await lost(one)
        one.cure()
        await one.quiet()
        assert one.history.of("heal", TARGET).breaker_at is not None
        assert given_up(one.history, one.mirror, one.reconciler.rules) == []


async def test_the_breaker_of_a_container_that_is_gone_for_good_goes_too():
    async with clinic(TWICE) as one:
        await lost(one)
        vanish(one)
        await one.quiet()
        assert one.history.of("heal", TARGET).breaker_at is None
        assert one.journal.breakers[f"heal {TARGET}"] is None
        assert one.told.breakers == [True, False]


async def test_a_rule_that_makes_missing_containers_again_keeps_its_breaker():
    async with clinic(AGAIN) as one:
        await lost(one)
        vanish(one)
        await one.quiet()
        assert one.history.of("heal", TARGET).breaker_at is not None
