"""`dockmend record`: the engine's events for `explain`, and for tests of one's rules."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import click

from dockmend.cli.options import engine_of, options, seconds, settings


@click.command()
@options("config", "engine", "state")
@click.option("--for", "for_", metavar="TIME", help="Stop after this long, as in 10m [never].")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after this many events [never].")
def record(for_: str | None, count: int | None, **flags: Any) -> int:
    """Prints the engine's events as newline-delimited JSON until Ctrl-C (or --for, --count).

    First comes one line for each container as it is now ({"inspect": …}), so that `explain --events` knows them.
    """
    limit = seconds(for_, "--for")
    found = settings(flags)

    async def work() -> None:
        engine = engine_of(found)
        try:
            await engine.connect()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await _record(engine, count)
        finally:
            await engine.close()

    asyncio.run(work())
    return 0


async def _record(engine: Any, count: int | None) -> None:
    import msgspec

    from dockmend.errors import EngineAway

    encode = msgspec.json.Encoder().encode
    stdout = click.get_binary_stream("stdout")
    written = 0
    async with engine.events() as stream:
        listing = await engine.listing()
        for container in listing.containers:
            stdout.write(encode({"inspect": container}) + b"\n")
        stdout.flush()
        while (batch := await stream.batch()) is not None:
            for event in batch.events:
                stdout.write(encode(event) + b"\n")
                written += 1
                if count is not None and written >= count:
                    stdout.flush()
                    return
            stdout.flush()
    raise EngineAway("the engine ended the stream of events: what came until then is recorded")
