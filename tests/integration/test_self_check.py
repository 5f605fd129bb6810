"""What a stream that swallows an event and a list that is stale made dockmend miss is found by its
self-check."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from dockmend.engine.engine_api import Engine, Listing
from tests.integration.healing import UNHEALTHY
from tests.integration.inside import inside
from tests.lab import PrivateEngine
from tests.lab.proxy import HoldingProxy
from tests.lab.waiting import eventually_async


class Stale:
    """An engine whose first list is one of before."""

    def __init__(self, engine: Engine, listing: Listing) -> None:
        self._engine = engine
        self._stale: Listing | None = listing

    async def listing(self) -> Listing:
        stale, self._stale = self._stale, None
        return stale or await self._engine.listing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


async def test_an_event_that_was_swallowed_is_found_and_healed(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    docker.patient("web")
    proxy = HoldingProxy(docker.socket, tmp_path)
    swallowed: list[bytes] = []

    def swallow(piece: bytes) -> bytes:
        if b"health_status: unhealthy" not in piece:
            return piece
        swallowed.append(piece)
        return b""

    spoil = proxy.spoil("GET .*/events", swallow)
    try:
        async with inside(cast("Any", proxy), tmp_path, UNHEALTHY) as one:
            check = one.daemon.self_check
            check.race = 0.2
            check.engine = cast(
                "Engine", Stale(one.daemon.engine, await one.daemon.engine.listing())
            )
            docker.sicken("web")
            await eventually_async(lambda: swallowed, what="the event was swallowed")
            known = one.daemon.mirror.container_named("web")
            assert known is not None
            assert known.health == "healthy"  # so dockmend believes
            # the list is stale, and the engine's word is only asked where it differs
            assert await check.once() == 0
            assert await check.once() == 1
            proxy.release()
            (incident,) = await one.closed(outcome="healed")
            assert (incident.object_name, incident.origin) == ("web", "relisted")
            page = one.daemon.metrics.render().decode()
            assert 'dockmend_event_gaps_total{cause="self_check"} 1.0' in page
            assert await check.once() == 0
        assert spoil.taken >= 1
    finally:
        proxy.close()
