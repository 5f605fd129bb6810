"""What reaches a person's channels, and when: the whole daemon on a fake engine, its clock moved by
the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dockmend.notify.message import Kind
from tests.integration.inside import Ward, inside
from tests.integration.posting import NOTHING, OPS, Post, stand
from tests.lab.waiting import eventually_async
from tests.unit.machine import Machine

HEAL = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
    limits: {attempts: 2 per 1h, backoff: none, cooldown: 0s}
    verify: {within: 5s}
"""


@pytest.fixture
async def ward(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    one = Ward(tmp_path_factory.mktemp("w"))
    await one.start()
    yield one
    await one.stop()


async def test_one_that_crashes_and_that_no_rule_is_about_is_told_after_a_minute_and_its_end_too(
    ward: Ward, tmp_path: Path, post: Post
) -> None:
    web = ward.add_container("web", restart="on-failure")
    ward.written[web] = ["starting", "SQLite: database is locked"]
    async with inside(ward, tmp_path, NOTHING, notify=OPS) as one:
        ward.crash("web", 3)
        await stand(one, "web")
        one.passes(50)
        assert post.put == []
        one.passes(20)
        down = await post.has(Kind.DOWN)
        assert down.title == "🔴 web is down"
        assert down.body.startswith("Exit code 3 at ")
        assert down.last_lines == ("starting", "SQLite: database is locked")
        assert down.next_step == "docker logs --tail 50 web"
        ward.start_container("web")
        await stand(one)
        one.passes(20)
        over = await post.has(Kind.RESOLVED)
        assert over.title == "✅ web is well again"
        assert over.key == down.key
        assert len(post.put) == 2


async def test_what_a_rule_gives_up_on_is_told_at_once_with_its_tries(
    ward: Ward, tmp_path: Path, post: Post
) -> None:
    ward.patient("web")
    ward.incurable["web"] = 100
    async with inside(ward, tmp_path, HEAL, notify=OPS) as one:
        ward.sicken("web")
        told = await post.has(Kind.GAVE_UP)
        assert told.title == "🔴 web is unhealthy, gave up after 2 tries"
        assert "Tried: restart " in told.body
        assert 'The last one: "unhealthy again' in told.body
        assert "dockmend reset heal web" in told.body
        await stand(one, "web")
        one.passes(120)
        ward.set_health("web", "healthy")
        assert (await post.has(Kind.RESOLVED)).title == "✅ web is well again"
        assert [each.kind for each in post.of()] == [Kind.GAVE_UP, Kind.RESOLVED]


async def test_heals_wait_for_the_digest_and_three_within_an_hour_are_told(
    ward: Ward, tmp_path: Path, post: Post
) -> None:
    ward.patient("web")
    rules = HEAL.replace("2 per 1h", "9 per 1h")
    async with inside(ward, tmp_path, rules, notify=OPS) as one:
        for nth in (1, 2, 3):
            ward.sicken("web")
            await one.closed(nth, outcome="healed")
            digest = await post.has(Kind.HEALED, count=nth)
            assert digest.title.endswith(f": what happened ({nth})")
            one.passes(60)
        # around midnight
        assert "(3rd time today)" in digest.body or "(2nd time today)" in digest.body
        assert (await post.has(Kind.FLAPPING)).title == "🟠 web was healed 3 times within an hour"


async def test_what_was_told_is_neither_told_again_nor_forgotten_after_a_restart(
    ward: Ward, tmp_path: Path, post: Post
) -> None:
    ward.add_container("web", restart="on-failure")
    machine = Machine()
    async with inside(ward, tmp_path, NOTHING, machine, notify=OPS) as one:
        ward.crash("web", 3)
        await stand(one, "web")
        one.passes(70)
        await post.has(Kind.DOWN)
    async with inside(ward, tmp_path, NOTHING, machine, notify=OPS) as one:
        await stand(one, "web")
        one.passes(70)
        ward.add_container("db", restart="on-failure")
        ward.crash("db", 3)
        await stand(one, "web", "db")
        one.passes(70)
        await post.has(Kind.DOWN, count=2)
        assert [each.object_name for each in post.of()] == ["web", "db"]
    ward.remove_container("web", force=True, volumes=False)
    async with inside(ward, tmp_path, NOTHING, machine, notify=OPS) as one:
        await stand(one, "db")
        one.passes(30)
        assert (await post.has(Kind.RESOLVED)).title == "✅ web was removed"


async def test_an_engine_that_does_not_answer_is_told_after_a_minute_and_nothing_else_of_it(
    ward: Ward, tmp_path: Path, post: Post
) -> None:
    ward.add_container("web", restart="on-failure")
    async with inside(ward, tmp_path, NOTHING, notify=OPS) as one:
        ward.crash("web", 3)
        await stand(one, "web")
        await ward.stop()
        await eventually_async(
            lambda: "engine" in one.daemon.degraded, what="it is known to be away"
        )
        telling = one.daemon.telling
        assert telling is not None
        await eventually_async(
            lambda: "degraded/engine" in telling._alarms.known, what="whoever tells has seen it"
        )
        one.passes(70)
        told = await post.has(Kind.DEGRADED)
        assert "cannot work: the engine does not answer since" in told.title
        assert [each.kind for each in post.of()] == [Kind.DEGRADED]
        await ward.start()
        one.passes(70)
        assert "works again" in (await post.has(Kind.RESOLVED)).title


async def test_an_engine_that_is_away_at_the_start_is_told_and_what_was_told_before_is_not_over(
    ward: Ward, tmp_path: Path, post: Post
) -> None:
    ward.add_container("web", restart="on-failure")
    machine = Machine()
    async with inside(ward, tmp_path, NOTHING, machine, notify=OPS) as one:
        ward.crash("web", 3)
        await stand(one, "web")
        one.passes(70)
        await post.has(Kind.DOWN)
    await ward.stop()
    async with inside(ward, tmp_path, NOTHING, machine, ready=False, notify=OPS) as one:
        telling = one.daemon.telling
        assert telling is not None
        await eventually_async(
            lambda: "degraded/engine" in telling._alarms.known, what="whoever tells has seen it"
        )
        one.passes(70)
        assert "the engine does not answer since" in (await post.has(Kind.DEGRADED)).title
        assert [each.kind for each in post.of()] == [Kind.DOWN, Kind.DEGRADED]
        ward.remove_container("web", force=True, volumes=False)
        await ward.start()
        await eventually_async(lambda: one.daemon.listed, what="the engine is back")
        await eventually_async(lambda: len(post.of(Kind.RESOLVED)) == 2, what="both are over")
        assert sorted(each.title.rpartition(": ")[2] for each in post.of(Kind.RESOLVED)) == [
            "the engine answers", "✅ web was removed",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("label", "channels"),
    [
        ("phone", ["phone"]),
        ("none", []),
        ("ops,phone", ["ops", "phone"]),
        ("opps", ["ops", "phone"]),
        ("phone, opps", ["ops", "phone"]),
    ],
)
async def test_a_label_names_the_channels(
    ward: Ward, tmp_path: Path, post: Post, label: str, channels: list[str]
) -> None:
    ward.add_container("web", restart="on-failure", labels={"dockmend.notify": label})
    ward.add_container("other", restart="on-failure")
    async with inside(ward, tmp_path, NOTHING, notify={"ops": {}, "phone": {}}) as one:
        ward.crash("web", 3)
        await stand(one, "web")
        ward.crash("other", 3)
        await stand(one, "web", "other")
        one.passes(70)
        await eventually_async(
            lambda: "other" in [each.object_name for each in post.of()], what="the other is told"
        )
        assert [name for name, each in post.put if each.object_name == "web"] == channels
        ward.start_container("web")
        ward.start_container("other")
        await stand(one)
        one.passes(30)
        await post.has(Kind.RESOLVED, count=2 if "ops" in channels else 1)
        assert sorted(name for name, each in post.put if each.object_name == "web") == sorted(
            channels * 2
        )
