"""Blocking work that must not be left running behind the back of whoever cleans up after it.

`asyncio.to_thread` returns at once when it is cancelled while its thread works on: the file would
be removed under a commit that is just renaming it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `asyncio.to_thread`, but a cancellation is raised only once the function has returned.

    Its result is then lost: for something that must be given back, see `acquire`.
    """
    return await acquire(_nothing, partial(function, *args, **kwargs))


async def acquire(give_back: Callable[[T], None], function: Callable[[], T]) -> T:
    """As `to_end`; the result that nobody will get is given back."""
    future = asyncio.get_running_loop().run_in_executor(None, function)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return future.result()
    if future.exception() is None:
        give_back(future.result())
    raise cancelled


def _nothing(_result: object) -> None:
    pass
