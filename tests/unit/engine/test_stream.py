from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockmend.engine import stream
from dockmend.engine.stream import Drain, decode_event, decode_lines
from tests.lab import eventually_async


def line(number: int, **more: object) -> bytes:
    event = {
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": f"c{number}", "Attributes": {"name": "web"}},
    }
    return (
        json.dumps({**event, "scope": "local", "time": 1, "timeNano": number, **more}).encode()
        + b"\n"
    )


class Pieces:
    """A socket that gives these pieces, then ends, breaks or waits."""

    def __init__(
        self,
        pieces: Iterable[bytes],
        end: Exception | None = None,
        wait: asyncio.Event | None = None,
    ) -> None:
        self.pieces = list(pieces)
        self.end = end
        self.wait = wait

    async def readany(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.wait is not None:
            await self.wait.wait()
        if self.end is not None:
            raise self.end
        return b""


async def collected(drain: Drain) -> tuple[list[int], int]:
    times, malformed = [], 0
    while (batch := await drain.batch()) is not None:
        times += [event.time_ns for event in batch.events]
        malformed += batch.malformed
    return times, malformed


async def test_everything_that_is_buffered_comes_at_once_then_the_end() -> None:
    drain = Drain()
    await drain.drain(Pieces([line(1) + line(2), line(3)]))
    batch = await drain.batch()
    assert batch is not None
    assert [event.time_ns for event in batch.events] == [1, 2, 3]
    assert (batch.events[0].type, batch.events[0].name, batch.events[0].actor.ID) == (
        "container",
        "web",
        "c1",
    )
    assert await drain.batch() is None
    assert await drain.batch() is None


@pytest.mark.parametrize(
    "error", [None, ConnectionResetError(), OSError("gone"), RuntimeError("aiohttp's own")]
)
async def test_any_end_is_a_disconnection_after_what_was_read(error: Exception | None) -> None:
    drain = Drain()
    await drain.drain(Pieces([line(1), line(2)[:20]], error))
    assert await collected(drain) == ([1], 0)
    assert not drain.overflowed


async def test_a_batch_waits_for_an_event_and_the_drain_never_for_the_consumer() -> None:
    drain, wait = Drain(), asyncio.Event()
    source = Pieces([line(number) for number in range(1000)], wait=wait)
    async with asyncio.TaskGroup() as group:
        group.create_task(drain.drain(source))
        await eventually_async(
            lambda: not source.pieces, what="drained although nobody takes anything"
        )
        batch = await drain.batch()
        assert batch is not None
        assert len(batch.events) == 1000
        waiting = group.create_task(drain.batch())
        await asyncio.sleep(0)
        assert not waiting.done()
        wait.set()
        assert await waiting is None


async def test_lines_that_are_no_events_are_counted_and_passed_over() -> None:
    garbage = [
        b"not json\n", b"[]\n", b"{}\n", b"null\n", b'{"Type":"container"}\n',
        b'{"Type":1,"Action":"die"}\n', b"\xff\xfe\n",
        b'{"Type":"container","Action":"die","Actor":"x"}\n', b"[" * 100_000 + b"\n",
        b'{"Type":"a\xff","Action":"b"}\n',
    ]  # fmt: skip
    drain = Drain()
    await drain.drain(Pieces([line(1), *garbage, b"\n", b"\r\n", line(2)]))
    assert await collected(drain) == ([1, 2], len(garbage))


async def test_a_line_that_is_too_long_is_passed_over_in_constant_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "LONGEST_LINE", 1000)
    drain = Drain()
    for piece in (line(1), b"x" * 900, b"x" * 900, b"x" * 900, b"end\n" + line(2), line(3)):
        drain.feed(piece)
        assert sum(map(len, drain._partial)) <= 1000
    await drain.drain(Pieces([]))
    assert await collected(drain) == ([1, 2, 3], 1)


async def test_a_consumer_that_falls_behind_loses_what_was_buffered_and_is_told() -> None:
    size = len(line(1))
    drain = Drain(limit=10 * size)
    for number in range(1, 15):
        drain.feed(line(number % 9 + 1))
    assert drain.overflowed
    assert drain._size <= 10 * size
    batch = await drain.batch()
    assert batch is not None
    assert len(batch.events) == 4
    drain.overflowed = False
    drain.feed(line(1))
    await drain.batch()
    assert not drain.overflowed


async def test_a_long_backlog_is_handed_over_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_BYTES", 5 * len(line(1)))
    drain = Drain()
    await drain.drain(Pieces([line(number) for number in range(1, 10)]))
    first = await drain.batch()
    assert first is not None
    assert [event.time_ns for event in first.events] == [1, 2, 3, 4, 5]
    assert await collected(drain) == ([6, 7, 8, 9], 0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([b"garbage\n", line(1), line(2), b"\n", line(3, extra="ü")])),
    st.data(),
)
def test_however_the_bytes_are_cut_the_events_are_the_same(
    lines: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    drain = Drain()
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if start < end:
            drain.feed(whole[start:end])
    events, malformed = decode_lines(b"".join(drain._chunks))
    assert ([event.time_ns for event in events], malformed) == (
        [json.loads(one)["timeNano"] for one in lines if one.startswith(b"{")],
        lines.count(b"garbage\n"),
    )


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    events, malformed = decode_lines(data)
    assert len(events) + malformed <= data.count(b"\n") + data.count(b"\r") + data.count(
        b"\x0c"
    ) + len(data)
    drain = Drain()
    drain.feed(data)
    drain.feed(b"\n" + line(1))
    assert decode_lines(b"".join(drain._chunks))[0][-1].time_ns == 1


def test_events_of_other_engines_are_read_as_far_as_they_go() -> None:
    seen = decode_event(
        '{"Type":"volume","Action":"prune","Actor":{"ID":null,"Attributes":null},"time":7,"scope":null}'
    )
    assert seen is not None
    assert (seen.type, seen.action, seen.actor.ID, seen.actor.Attributes, seen.time_ns) == (
        "volume",
        "prune",
        "",
        {},
        7 * 10**9,
    )
    seen = decode_event(
        '{"Type":"container","Action":"die","Actor":{"ID":"a","Attributes":{"exitCode":7,"x":null}}}'
    )
    assert seen is not None
    assert seen.actor.Attributes == {"exitCode": "7"}
