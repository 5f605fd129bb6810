"""The threads in which the loop has blocking work done.

Python's own pool queues what is to be done and begins a thread for it then. Where the host has no thread left it says
so, and does the work all the same as soon as there is one: a snapshot would be begun that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class WorkerThreads(ThreadPoolExecutor):
    """What could not be given to a thread is not done at all."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Raises RuntimeError where no thread can be begun for it."""
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
                future.set_exception(error)
            else:
                future.set_result(result)

        try:
            super().submit(work)
        except RuntimeError:
            if future.cancel():  # else another thread has it already
                raise
        return future
