"""What the message writer puts into the outbox, and what the next dockmend knows of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from dockmend.app import message_writer
from dockmend.app.message_facts import MessageFacts
from dockmend.app.message_writer import MessageWriter, Parts
from dockmend.app.open_troubles import OpenTroubles
from dockmend.errors import JournalError
from dockmend.journal.records import Incident
from dockmend.journal.sqlite import SqliteJournal
from dockmend.notify.alarms import AlarmEnding, AlarmTrouble
from dockmend.notify.message import Channel, Kind, Message
from dockmend.notify.routing import AT_ONCE_MOST, Router, RoutingMoment
from dockmend.notify.wording import Facts, Where
from dockmend.timekeeping import Clock
from tests.unit.mirror.host import Host

DOWN = AlarmTrouble(
    key="down/container:web",
    kind=Kind.DOWN,
    target="container:web",
    object_name="web",
    since=1000.0,
    object_id="1" * 64,
    cause="crashed",
    grace=60.0,
)
GAVE_UP = replace(DOWN, kind=Kind.GAVE_UP, grace=0.0, rule="heal")
OPS = Channel("ops", at_once=frozenset(Kind))
PHONE = Channel("phone", at_once=frozenset({Kind.NEEDS_YOU, Kind.RESOLVED}))


def local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are not waited for that belong together: each test makes one at a time."""
    monkeypatch.setattr(message_writer, "TOGETHER", 0.0)


class Row:
    def __init__(self, sequence: int, message: Message, due_at: float) -> None:
        self.sequence, self.message, self.due_at = sequence, message, due_at


class Bench:
    """One dockmend's writer on a journal that outlives it. `standing`: the troubles; `ending`: how
    one ended that does not stand; `sent`: what went into the outbox for the channel `ops`;
    `rang`: for the channel `phone`."""

    def __init__(self, journal: SqliteJournal, now: float) -> None:
        self.journal = journal
        self.now = now
        self.standing_now: list[AlarmTrouble] = []
        self.how: AlarmEnding | None = AlarmEnding.WELL
        self.sent: list[Message] = []
        self.rang: list[Message] = []
        self.asked_facts = 0
        self._looked = asyncio.Event()
        self.writer = MessageWriter(Where("nas", local), lambda: self.now)
        clock = Clock(wall=lambda: self.now, elapsed=lambda: self.now, boot="b")
        both = {"ops": OPS, "phone": PHONE}
        self.parts = Parts(
            troubles=cast("OpenTroubles", self),
            facts=cast("MessageFacts", self),
            router=Router(both, self, lambda: RoutingMoment(self.now, local(self.now))),
            mirror=Host().mirror,
            journal=journal,
            clock=clock,
        )

    # --- what the writer asks ---------------------------------------------------------------------

    def standing(self) -> Iterable[AlarmTrouble]:
        return list(self.standing_now)

    def ending(self, trouble: AlarmTrouble) -> AlarmEnding | None:
        return self.how

    def listed(self) -> bool:
        self._looked.set()  # the last thing that a look asks for
        return True

    async def of(self, trouble: AlarmTrouble) -> Facts:
        self.asked_facts += 1
        return Facts()

    def put(self, channel: str, message: Message, due_at: float) -> int:
        (self.sent if channel == "ops" else self.rang).append(message)
        return len(self.sent) + len(self.rang)

    def waiting(self, channel: str) -> list[Row]:
        return []

    def drop(self, sequence: int) -> bool:
        raise AssertionError("nothing waits here")

    # --- what the test does -----------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.writer.run(self.parts))
            await self._looked.wait()
            yield
            task.cancel()

    async def look(self, *troubles: AlarmTrouble, after: float = 0.0) -> list[str]:
        """Kinds of what is put into the outbox as these stand."""
        self.now += after
        self.standing_now = list(troubles)
        return await self._changed(lambda: self.writer.reloaded(True, self.now))

    async def heals(self, number: int, after: float = 600.0, **more: Any) -> list[str]:
        self.now += after
        incident = healed(number, self.now, **more)
        self.journal.put_incident(incident)
        return await self._changed(lambda: self.writer.incident(incident))

    async def _changed(self, tell: Callable[[], None]) -> list[str]:
        before = len(self.sent)
        self._looked.clear()
        tell()
        await self._looked.wait()
        await asyncio.sleep(0)  # the writer goes on from its look to its rest
        return [each.kind.value for each in self.sent[before:]]


def healed(number: int, at: float, **more: Any) -> Incident:
    return Incident(
        id=f"i{number}",
        rule="heal",
        trigger="container.unhealthy",
        target="container:web",
        kind="container",
        object_id="1" * 64,
        object_name="web",
        trouble="its health check failed",
        opened_at=at - 2.0,
        closed_at=at,
        state="closed",
        attempts=1,
        **{"outcome": "healed", **more},
    )


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    one = SqliteJournal(tmp_path / "journal.sqlite3", lambda: 1000.0)
    await one.open()
    yield one
    await one.close()


async def test_a_trouble_is_told_once_and_its_end_to_whom_it_was_told(
    journal: SqliteJournal,
) -> None:
    first = Bench(journal, 1000.0)
    async with first.running():
        assert await first.look(DOWN) == []
        assert await first.look(DOWN, after=60.0) == ["down"]
        assert await first.look(DOWN, after=60.0) == []
    second = Bench(journal, first.now)
    second.standing_now = [DOWN]
    async with second.running():
        assert second.sent == []
        assert await second.look() == ["resolved"]
        assert second.rang == [], "nobody rang it about this"
        assert await second.look() == []
    third = Bench(journal, second.now)
    async with third.running():
        assert third.sent == []


async def test_how_often_one_came_and_went_is_known_to_the_next_dockmend(
    journal: SqliteJournal,
) -> None:
    first = Bench(journal, 1000.0)
    async with first.running():
        for _ in range(2):
            assert await first.look(replace(DOWN, grace=0.0)) == ["down"]
            assert await first.look(after=1.0) == ["resolved"]
    second = Bench(journal, first.now)
    async with second.running():
        assert await second.look(replace(DOWN, grace=0.0)) == ["down"]
        assert await second.look(after=1.0) == [], "it comes and goes"
    third = Bench(journal, second.now)
    async with third.running():
        assert await third.look(after=500.0) == []
        assert await third.look(after=100.0) == ["resolved"]


async def test_a_heal_is_told_once_also_if_dockmend_died_before_it_was(
    journal: SqliteJournal,
) -> None:
    first = Bench(journal, 10_000.0)
    async with first.running():
        assert await first.heals(1) == ["healed"]
    journal.put_incident(healed(2, first.now + 1.0))
    second = Bench(journal, first.now + 2.0)
    async with second.running():
        assert [each.kind.value for each in second.sent] == ["healed"]
        assert "2nd time today" in second.sent[0].title
        assert await second.heals(3) == ["healed", "flapping"]
        assert await second.heals(4) == ["healed"], "that it flaps was told"
    third = Bench(journal, second.now)
    async with third.running():
        assert third.sent == []
        assert await third.heals(5) == ["healed"]


async def test_the_first_heal_of_all_is_told_if_dockmend_died_before_it_was(
    journal: SqliteJournal,
) -> None:
    first = Bench(journal, 10_000.0)
    async with first.running():
        assert await first.look() == []
    journal.put_incident(healed(1, first.now + 1.0))
    second = Bench(journal, first.now + 2.0)
    async with second.running():
        assert [each.kind.value for each in second.sent] == ["healed"]


async def test_what_closed_otherwise_and_a_dry_run_are_no_heals(journal: SqliteJournal) -> None:
    bench = Bench(journal, 10_000.0)
    async with bench.running():
        assert await bench.heals(1, outcome="failed") == []
        assert await bench.heals(2, dry_run=True) == []
    after = Bench(journal, bench.now)
    async with after.running():
        assert after.sent == []


async def test_what_closed_before_the_first_start_is_not_told(journal: SqliteJournal) -> None:
    journal.put_incident(healed(1, 9_000.0))
    bench = Bench(journal, 10_000.0)
    async with bench.running():
        assert bench.sent == []
        assert await bench.heals(2) == ["healed"]
        assert "2nd time today" in bench.sent[0].title


async def test_giving_up_again_is_told_if_the_breaker_was_closed_between(
    journal: SqliteJournal,
) -> None:
    bench = Bench(journal, 1000.0)
    async with bench.running():
        assert await bench.look(GAVE_UP) == ["gave_up"]
        bench.writer.breaker("heal", "container:web", opened=True)
        assert await bench.look(GAVE_UP) == []
        bench.writer.breaker("heal", "container:web", opened=False)
        assert await bench.look(GAVE_UP, after=60.0) == ["gave_up"]


async def test_what_the_journal_refuses_is_kept_the_next_time(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Bench(journal, 1000.0)
    trouble = replace(DOWN, grace=0.0)
    async with first.running():
        with monkeypatch.context() as broken:

            def refuse(key: str, value: bytes | None) -> None:
                raise JournalError("the disk is full")

            broken.setattr(journal, "put_known", refuse)
            assert await first.look(trouble) == ["down"]
        assert await first.look(trouble) == []
    second = Bench(journal, first.now)
    second.standing_now = [trouble]
    async with second.running():
        assert second.sent == []


@pytest.mark.parametrize("count", [AT_ONCE_MOST, AT_ONCE_MOST + 1])
async def test_of_many_troubles_at_once_nothing_more_is_asked(
    journal: SqliteJournal, count: int
) -> None:
    bench = Bench(journal, 1000.0)
    many = [
        replace(DOWN, key=f"down/container:w{each}", target=f"container:w{each}", grace=0.0)
        for each in range(count)
    ]
    async with bench.running():
        assert await bench.look(*many)
        assert bench.asked_facts == (count if count <= AT_ONCE_MOST else 0)
