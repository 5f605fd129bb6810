"""What reaches a person's channels, and when: the whole daemon on a fake engine, its clock moved by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dockmend.notify.message import Kind, Message
from dockmend.notify.outbox import Outbox
from tests.integration.inside import Inside, Ward, inside
from tests.lab.waiting import eventually_async

NOTHING = "version: 1\nrules: []\n"
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
OPS: dict[str, object] = {"ops": {}}
"""A channel without a URL: what is put for it stays in its outbox."""


@dataclass
class Post:
    """Every message that was put into an outbox, in order."""

    put: list[tuple[str, Message]] = field(default_factory=list)

    def of(self, *kinds: Kind, channel: str = "ops") -> list[Message]:
        return [each for name, each in self.put if name == channel and (not kinds or each.kind in kinds)]

    async def has(self, *kinds: Kind, count: int = 1, channel: str = "ops") -> Message:
        """Waits for so many messages of these kinds; the newest."""
        await eventually_async(
            lambda: len(self.of(*kinds, channel=channel)) >= count,
            what=f"{count} message(s) {kinds}",
        )
        assert len(self.of(*kinds, channel=channel)) == count
        return self.of(*kinds, channel=channel)[-1]


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    found, put = Post(), Outbox.put

    def noted(self: Outbox, channel: str, message: Message, due_at: float) -> int:
        found.put.append((channel, message))
        return put(self, channel, message, due_at)

    monkeypatch.setattr(Outbox, "put", noted)
    return found


@pytest.fixture
async def ward(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    one = Ward(tmp_path_factory.mktemp("w"))
    await one.start()
    yield one
    await one.stop()


async def stand(one: Inside, *names: str) -> None:
    """These are unwell, all others are well, and whoever tells has seen it: from now on their grace runs."""
    telling = one.daemon.telling
    assert telling is not None

    def seen() -> bool:
        known = {each.trouble.object_name for each in telling._alarms.known.values()}
        return {each.object_name for each in one.daemon.unwell()} == set(names) and set(names) <= known

    await eventually_async(seen, what=f"{names} are unwell")


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
