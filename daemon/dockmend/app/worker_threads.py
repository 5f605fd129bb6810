"""The threads in which the event loop has blocking work done.

Python's own pool queues the work first and starts a thread for it afterwards. If the host has no
thread left, it raises, and still does the work as soon as there is a thread: a snapshot would
begin that nobody knows of.
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
