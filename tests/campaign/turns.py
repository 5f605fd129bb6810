"""Two dockmends on one engine: only the one whose turn it is does anything."""

from __future__ import annotations

from pathlib import Path

from .driver import Driver
from .verdict import Verdict

FAULTS = ("Traceback", "internal error", "fault of dockmend")
UNDER_WAY = 0.5
"""Seconds for which a call may still be on its way to the relay after its dockmend was killed."""


class Turns:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._known: set[int] = set()
        self._log_read = 0

    def check(self, verdict: Verdict) -> None:
        ledger = self.driver.ledger
        for request in self.driver.relay.changes():
            if id(request) in self._known:
                continue
            self._known.add(id(request))
            told = f"{request.operation} of {request.container[:12]} at {request.sent:.3f}"
            if request.by and not (
                ledger.second_may_act(request.sent)
                or ledger.second_may_act(request.sent - UNDER_WAY)
            ):
                verdict.found("touched", f"the second dockmend was not to act: {told}")
            if not request.by and any(
                span.begin <= request.sent <= span.end for span in ledger.second_acts
            ):
                verdict.found(
                    "touched", f"the second dockmend acted, and the first one too: {told}"
                )
        self._faults(verdict)

    def _faults(self, verdict: Verdict) -> None:
        path = Path(self.driver.second.folder, "log")
        if not path.exists():
            return
        with path.open("rb") as log:
            log.seek(self._log_read)
            new = log.read()
        self._log_read += len(new)
        for line in new.decode(errors="replace").splitlines():
            if any(word in line for word in FAULTS):
                verdict.found("fault", f"the second dockmend: {line[:3000]}")
