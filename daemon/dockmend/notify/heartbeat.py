"""Asks a URL for each minute while dockmend is healthy: a monitor that hears nothing tells what a
dead dockmend cannot.

The URL is a secret, so nothing of it, nor of an answer or an error that may quote it, is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from dockmend.settings.secrets import Secret

log = structlog.get_logger("dockmend.heartbeat")

EVERY: Final = 60.0
"""Seconds."""
PATIENCE: Final = 10.0
"""Seconds for an answer."""


class Heartbeat:
    """`healthy`: whether dockmend can do its work now; while it cannot, nothing is asked for."""

    def __init__(
        self,
        url: Secret,
        healthy: Callable[[], bool],
        *,
        every: float = EVERY,
        patience: float = PATIENCE,
    ) -> None:
        self._url = url
        self._healthy = healthy
        self._every = every
        self._patience = patience
        self._failing = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self._healthy():
                self._tell(await self._beat())
            await asyncio.sleep(self._every)

    def _tell(self, why: str | None) -> None:
        if why is not None and not self._failing:
            log.warning(
                "the heartbeat was not taken and is tried again",
                id="heartbeat_failed",
                reason=why,
                seconds=self._every,
            )
        elif why is None and self._failing:
            log.info("the heartbeat is taken again", id="heartbeat_ok_again")
        self._failing = why is not None

    async def _beat(self) -> str | None:
        """Why it was not taken, in words that hold nothing of the URL; None: it was."""
        import aiohttp  # noqa: PLC0415 - only where there is a heartbeat

        timeout = aiohttp.ClientTimeout(total=self._patience)
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=timeout, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
                ) as session,
                # Elsewhere may be anything in this network: whoever answers has no say in what
                # dockmend asks for.
                session.get(self._url.reveal(), allow_redirects=False) as answer,
            ):
                return None if answer.status < 300 else f"HTTP status {answer.status}"
        except TimeoutError:
            return f"no answer within {self._patience:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__
