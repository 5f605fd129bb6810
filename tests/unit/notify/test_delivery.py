"""Delivery: in order, at a pace that slows while nothing is accepted, and one URL never holds up
another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
import structlog

from dockmend.notify.delivery import KEPT, MOST, Delivery
from dockmend.notify.message import Kind, Message
from dockmend.notify.outbox import DeliveryOutcome, Outbox, State, marks_of
from dockmend.notify.sender import Verdict
from dockmend.settings.channels import Channel
from dockmend.settings.secrets import Secret
from tests.lab.waiting import eventually_async
from tests.unit.machine import Machine
from tests.unit.notify.making import Disk, a_message


@dataclass
class Fake:
    """In the place of Sender: what was handed to each URL, and how it answers."""

    got: dict[str, list[str]] = field(default_factory=dict)
    tried: dict[str, list[float]] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    hangs: set[str] = field(default_factory=set)
    clock: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def send(self, url: Secret, message: Message, logs: int) -> Verdict:
        name = url.reveal()
        self.tried.setdefault(name, []).append(self.clock())
        if name in self.hangs:
            await asyncio.Event().wait()
        if name in self.refuses:
            return Verdict(False, ("error=500",))
        self.got.setdefault(name, []).append(message.text(logs))
        return Verdict(True)


class Lab:
    def __init__(
        self, channels: dict[str, list[str]], disk: Disk | None = None, **more: Any
    ) -> None:
        self.machine = more.pop("machine", None) or Machine()
        self.clock = self.machine.clock()
        self.fake = Fake(clock=self.clock)
        self.disk = disk or Disk()
        self.outcomes: list[tuple[str, Kind, DeliveryOutcome]] = []
        made = [Channel(name, tuple(map(Secret, urls)), **more) for name, urls in channels.items()]
        self.outbox = Outbox(
            {each.name: marks_of(each) for each in made},
            self.disk,
            lambda *told: self.outcomes.append(told),
        )
        self.delivery = Delivery(made, self.outbox, lambda: self.fake, self.clock, random.Random(1))  # type: ignore[arg-type, return-value]

    def put(self, channel: str, *numbers: int, **changed: Any) -> None:
        for number in numbers:
            self.outbox.put(channel, a_message(number, body=f"m{number}", **changed), self.clock())

    def passes(self, seconds: float) -> None:
        self.machine.passes(seconds)
        self.delivery.look_again()

    async def has(self, url: str, *bodies: str) -> None:
        await eventually_async(
            lambda: self.fake.got.get(url, []) == list(bodies), what=f"{url} has {bodies}"
        )

    async def tries(self, url: str, count: int) -> None:
        await eventually_async(
            lambda: len(self.fake.tried.get(url, [])) >= count, what=f"{count} tries"
        )


@asynccontextmanager
async def running(lab: Lab) -> AsyncIterator[Lab]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(lab.delivery.run())
        yield lab
        task.cancel()


async def test_messages_arrive_in_order_at_each_url_of_their_channel_and_nowhere_else():
    async with running(Lab({"ops": ["a", "b"], "home": ["c"]})) as lab:
        lab.put("ops", 1, 2, 3)
        lab.put("home", 4)
        for url in ("a", "b"):
            await lab.has(url, "m1", "m2", "m3")
        await lab.has("c", "m4")
        assert not lab.disk.rows


async def test_what_is_refused_is_tried_again_in_order_and_ever_more_slowly():
    lab = Lab({"ops": ["a"]})
    lab.fake.refuses.add("a")
    async with running(lab):
        lab.put("ops", 1, 2)
        await lab.tries("a", 1)
        for count, wait in ((2, 5), (3, 10), (4, 20)):
            lab.passes(wait * 0.5)
            await asyncio.sleep(0)
            assert len(lab.fake.tried["a"]) == count - 1, "not yet"
            lab.passes(wait * 0.51)
            await lab.tries("a", count)
        lab.fake.refuses.clear()
        lab.passes(40)
        await lab.has("a", "m1", "m2")
        assert [outcome for *_, outcome in lab.outcomes] == [DeliveryOutcome.FAILED] * 4 + [
            DeliveryOutcome.SENT
        ] * 2


async def test_one_that_hangs_or_refuses_holds_up_no_other():
    lab = Lab({"ops": ["a", "b"], "home": ["c"], "more": ["d"]})
    lab.fake.hangs.add("a")
    lab.fake.refuses.add("c")
    async with running(lab):
        for channel in ("ops", "home", "more"):
            lab.put(channel, 1, 2)
        await lab.has("b", "m1", "m2")
        await lab.has("d", "m1", "m2")


async def test_down_for_an_hour_it_gets_everything_once_it_is_back():
    lab = Lab({"ops": ["a"]})
    lab.fake.refuses.add("a")
    async with running(lab):
        lab.put("ops", 1)
        for minute in range(60):
            lab.passes(60)
            lab.put("ops", *([2] if minute == 30 else []))
            await asyncio.sleep(0)
        lab.fake.refuses.clear()
        lab.passes(MOST)
        await lab.has("a", "m1", "m2")


async def test_after_a_day_it_is_given_up_counted_and_logged_and_what_is_newer_is_sent():
    lab = Lab({"ops": ["a"]})
    lab.fake.refuses.add("a")
    with structlog.testing.capture_logs() as logs:
        async with running(lab):
            lab.put("ops", 1, 2)
            await lab.tries("a", 1)
            lab.passes(KEPT - 100)
            await lab.tries("a", 2)
            assert lab.outbox.depth("ops") == 2
            lab.put("ops", 3)
            lab.passes(200)
            await lab.tries("a", 3)
            await eventually_async(lambda: lab.outbox.depth("ops") == 1, what="given up")
            lab.fake.refuses.clear()
            lab.passes(MOST)
            await lab.has("a", "m3")
    assert [each for each in lab.outcomes if each[2] is DeliveryOutcome.GIVEN_UP] == [
        ("ops", Kind.DOWN, DeliveryOutcome.GIVEN_UP)
    ] * 2
    assert [(each["log_level"], each.get("messages")) for each in logs] == [
        ("warning", None), ("error", 2), ("info", None),
    ]  # fmt: skip


async def test_what_was_due_long_before_dockmend_ran_again_is_tried_once_at_least():
    disk, machine = Disk(), Machine()
    Lab({"ops": ["a"]}, disk, machine=machine).put("ops", 1)
    machine.passes(3 * KEPT)
    lab = Lab({"ops": ["a"]}, disk, machine=machine)
    lab.outbox.load(list(disk.rows.values()), disk.last)
    async with running(lab):
        await lab.has("a", "m1")


async def test_what_is_not_due_yet_waits_and_what_is_taken_back_is_not_sent():
    async with running(Lab({"ops": ["a"]})) as lab:
        late = lab.outbox.put("ops", a_message(body="late"), lab.clock() + 600)
        back = lab.outbox.put("ops", a_message(body="back"), lab.clock() + 300)
        lab.put("ops", 1)
        await lab.has("a", "m1")
        assert lab.outbox.drop(back)
        assert [row.sequence for row in lab.outbox.waiting("ops")] == [late]
        lab.passes(601)
        await lab.has("a", "m1", "late")


async def test_dockmend_killed_in_the_middle_of_a_message_sends_it_again():
    lab = Lab({"ops": ["a"]})
    lab.fake.hangs.add("a")
    async with running(lab):
        lab.put("ops", 1, 2)
        await lab.tries("a", 1)
    later = Lab({"ops": ["a"]}, lab.disk, machine=lab.machine)
    later.outbox.load(list(lab.disk.rows.values()), lab.disk.last)
    assert [row.state for row in lab.disk.rows.values()] == [State.TRIED, State.WAITING]
    async with running(later):
        await later.has("a", "m1", "m2")
    assert not lab.disk.rows


async def test_a_channel_without_logs_gets_none():
    lab = Lab({"ops": ["a"]}, logs=0)
    async with running(lab):
        lab.put("ops", 1, last_lines=("password=hunter2",))
        await lab.has("a", "m1")


@pytest.mark.parametrize("refused", [False, True])
async def test_the_url_is_in_no_log(refused):
    with structlog.testing.capture_logs() as logs:
        lab = Lab({"ops": ["json://hunter2"]})
        if refused:
            lab.fake.refuses.add("json://hunter2")
        async with running(lab):
            lab.put("ops", 1)
            await lab.tries("json://hunter2", 1)
    assert "hunter2" not in str(logs)


async def test_it_is_known_when_each_url_took_a_message_and_why_one_did_not():
    async with running(Lab({"ops": ["a", "b"]})) as lab:
        lab.fake.refuses.add("b")
        lab.put("ops", 1)
        await lab.has("a", "m1")
        await lab.tries("b", 1)
        await eventually_async(lambda: lab.delivery.lanes["ops"][1].failing, what="b failed")
        a, b = lab.delivery.lanes["ops"][0], lab.delivery.lanes["ops"][1]
        assert a.delivered_at is not None
        assert (a.failed_at, a.error, a.failing) == (None, "", False)
        assert b.failed_at is not None
        assert (b.delivered_at, b.error) == (None, "error=500")
        lab.fake.refuses.clear()
        lab.passes(5)
        await lab.has("b", "m1")
        await eventually_async(lambda: not b.failing, what="b took it")
        assert b.delivered_at is not None
        assert b.delivered_at >= b.failed_at + 5
        assert b.error == "error=500"  # the last one stays known


async def test_what_is_tried_by_hand_goes_to_one_url_at_once_and_is_not_kept():
    lab = Lab({"ops": ["a", "b"]}, logs=0)
    [channel] = lab.delivery._channels
    verdict = await lab.delivery.try_now(
        channel, 1, a_message(7, body="sample", last_lines=("log",))
    )
    assert verdict == Verdict(False, ("messages are not sent at the moment: try again",))
    async with running(lab):
        await eventually_async(lambda: lab.delivery._sending is not None, what="it sends")
        assert (
            await lab.delivery.try_now(channel, 1, a_message(7, body="sample", last_lines=("log",)))
        ).accepted
        lab.fake.refuses.add("b")
        assert not (await lab.delivery.try_now(channel, 1, a_message(8))).accepted
    assert lab.fake.got == {"b": ["sample"]}
    assert (lab.outcomes, lab.disk.rows) == ([], {})
    assert not lab.delivery.lanes["ops"][1].failing
