"""What a recreation set aside whose dockmend ended in its middle, while another dockmend took over
the engine.

Only the journal of the first of the two proves whose the old container is, so the other one leaves
it, and names it.
"""

from __future__ import annotations

import time
from typing import Any

from .driver import Driver
from .record import Journal


class CutOff:
    """`first`, `second`: the journals of the two dockmends."""

    def __init__(self, driver: Driver, first: Journal, second: Journal) -> None:
        self._driver = driver
        self._first, self._second = first, second

    def why(self, container: str, holders: dict[str, str]) -> str | None:
        """Why a container may stay aside; None if it is a leftover. `holders`: ids of the
        containers, by name."""
        for called, journal in (("first", self._first), ("second", self._second)):
            for row in journal.actions():
                undo = row.get("undo", {}).get("recreate") or {}
                if undo.get("old") == container and self._may_stay(row, undo, holders, called):
                    return (
                        f"set aside by the {called} dockmend, which ended meanwhile; "
                        f"{undo['name']} is there"
                    )
        return None

    def _may_stay(
        self, row: dict[str, Any], undo: dict[str, Any], holders: dict[str, str], called: str
    ) -> bool:
        holder = holders.get(undo["name"])
        if holder is None:
            return False  # its name is free: who set it aside has to give it back
        settled = row.get("ended_at") is not None
        if settled and (row.get("outcome") != "interrupted" or holder == undo.get("new")):
            return False  # who settles it goes on to the end if its new one is there
        return self._cut(row["began_at"], row["ended_at"] if settled else time.time(), called)

    def _cut(self, begin: float, end: float, called: str) -> bool:
        """Whether that dockmend ended between the two, and the other one was there then."""
        ledger = self._driver.ledger
        if called == "second":
            return any(begin <= life.end <= end for life in ledger.second_lives)
        died = any(out.death and begin <= out.begin <= end for out in ledger.dockmend_out)
        return died and any(life.meets(begin, end) for life in ledger.second_lives)
