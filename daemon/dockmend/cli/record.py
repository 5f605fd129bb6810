"""`dockmend record`: the engine's events for `explain`, and for tests of one's rules."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from dockmend.cli.command_context import in_force
from dockmend.cli.options import engine_of, options, seconds

if TYPE_CHECKING:
    from dockmend.engine.client import DockerEngine


@click.command()
@options("config", "engine", "state")
@click.option("--for", "for_", metavar="TIME", help="Stop after this long, as in 10m [never].")
@click.option(
    "--count",
    type=click.IntRange(1),
    metavar="N",
    help="Stop after at least this many events [never].",
)
def record(for_: str | None, count: int | None, **flags: Any) -> int:
    """Prints the engine's events as newline-delimited JSON until Ctrl-C, --for or --count.

    Among the events stand the answers the daemon would have asked for ({"listing": …}, {"inspect":
    …}, {"gone": ID}), each with its time, so that `explain --events` knows what a rule would have
    known.
    """
    limit = seconds(for_, "--for")
    found = in_force(flags).settings

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


async def _record(engine: DockerEngine, count: int | None) -> None:
    from dockmend.errors import EngineAway, NotFound
    from dockmend.mirror import Mirror

    mirror = Mirror()  # it knows when there is something to look at
    written = 0
    async with engine.events() as stream:
        listing = await engine.listing()
        _write({"listing": listing, "at": listing.ended_at})
        mirror.relist(
            listing.containers, listing.networks, listing.volumes, listing.ended_at, "started"
        )
        while (batch := await stream.batch()) is not None:
            for event in batch.events:
                _write(event)
                mirror.apply(event, time.time())
                written += 1
            for wanted in sorted(mirror.wanted):
                try:
                    seen = await engine.inspect(wanted)
                    _write({"inspect": seen, "at": time.time()})
                    mirror.observe(seen, time.time())
                except NotFound:
                    _write({"gone": wanted, "at": time.time()})
                    mirror.gone(wanted, time.time())
            mirror.wanted.clear()
            if mirror.stale_networks:
                mirror.stale_networks = False
                networks = await engine.networks()
                _write({"networks": networks, "at": time.time()})
                mirror.observe_networks(networks, time.time())
            sys.stdout.buffer.flush()
            if count is not None and written >= count:
                return
    raise EngineAway("the engine ended the stream of events: what came until then is recorded")


def _write(value: Any) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
