"""Records that the journal could not take: the last value of each is kept and written again.

A full or dead disk must not end the pipeline, and observations must not be lost meanwhile. While
something waits here, dockmend does nothing to any container (invariant 4): see `catch_up`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import structlog

from dockmend.errors import JournalError

log = structlog.get_logger("dockmend.journal")

KEPT = 10_000
"""Records kept; beyond them the oldest is given up, and said so."""


class WriteRetry:
    def __init__(self) -> None:
        self._late: OrderedDict[Hashable, Callable[[], None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._late)

    def write(self, key: Hashable, put: Callable[..., None], *record: Any) -> None:
        """Puts a record into the journal, or keeps it for later; never raises JournalError."""
        if self._late:
            self._late.pop(key, None)
        try:
            put(*record)
        except JournalError:
            self._late[key] = partial(put, *record)
            if len(self._late) > KEPT:
                lost, _ = self._late.popitem(last=False)
                log.error(  # noqa: TRY400 - the reason was logged
                    "a record was given up: the journal takes none",
                    id="record_given_up",
                    record=repr(lost),
                )

    def catch_up(self) -> None:
        """Puts what waits. Raises JournalError where the journal still takes nothing."""
        while self._late:
            key, put = next(iter(self._late.items()))
            put()
            del self._late[key]
