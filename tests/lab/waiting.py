"""Waiting for the world to catch up: poll with a deadline, and say what was last seen when it never
does."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

LIMIT = 60.0
"""Seconds after which what is waited for is taken not to come. No promise of how fast anything is:
a wait ends when what it waits for has come. Beside other tests and a load, the engine or a program
at its start may need most of it."""


class NeverHappenedError(AssertionError):
    """The awaited state did not come within the deadline; the message shows what was there
    instead."""


class _Watch:
    """Deadline, last value and last error of one wait."""

    def __init__(self, what: str, timeout: float) -> None:
        self.what = what
        self.timeout = timeout
        self.end = time.monotonic() + timeout
        self.last: object = None

    def expired(self) -> bool:
        return time.monotonic() >= self.end

    def failure(self) -> NeverHappenedError:
        return NeverHappenedError(
            f"{self.what} did not happen within {self.timeout:g} s; last seen: {self.last!r:.2000}"
        )


def _name(probe: Callable[[], object], what: str | None) -> str:
    if what:
        return what
    try:
        return inspect.getsource(probe).strip()
    except (OSError, TypeError):
        return repr(probe)


def eventually(
    probe: Callable[[], T], timeout: float = LIMIT, *, what: str | None = None, every: float = 0.05
) -> T:
    """Call `probe` until it returns something true, and return that.

    An exception counts as "not yet" and is shown, should the deadline (seconds) pass.
    """
    watch = _Watch(_name(probe, what), timeout)
    while True:
        try:
            value = probe()
            if value:
                return value
            watch.last = value
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported when time runs out
            watch.last = error
        if watch.expired():
            raise watch.failure()
        time.sleep(every)


@overload
async def eventually_async(
    probe: Callable[[], Awaitable[T]],
    timeout: float = ...,
    *,
    what: str | None = ...,
    every: float = ...,
) -> T: ...
@overload
async def eventually_async(
    probe: Callable[[], T], timeout: float = ..., *, what: str | None = ..., every: float = ...
) -> T: ...
async def eventually_async(
    probe: Callable[[], object],
    timeout: float = LIMIT,
    *,
    what: str | None = None,
    every: float = 0.02,
) -> object:
    """As `eventually`, for tests on the event loop; `probe` may be a coroutine function or a plain
    one."""
    watch = _Watch(_name(probe, what), timeout)
    while True:
        try:
            value = probe()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            watch.last = value
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported when time runs out
            watch.last = error
        if watch.expired():
            raise watch.failure()
        await asyncio.sleep(every)
