"""How many answers may be under way at once, and how many bytes of them may wait to be taken.

An answer stays in memory until its client has taken it, and clients are strangers. So each kind of
answer has a budget of its own: what readers of the API leave lying takes nothing from `/metrics`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass


class ResponseBudgetFull(Exception):
    """The budget is used up: the client is to come back later."""


@dataclass(slots=True)
class ResponseBudget:
    """`most_answers`, `most_bytes`: the bounds; `answers`, `bytes`: what is under way now."""

    most_answers: int
    most_bytes: int
    answers: int = 0
    bytes: int = 0

    @contextlib.contextmanager
    def answer(self) -> Iterator[HeldResponse]:
        """Holds a place for one answer until it was taken or given up. Raises
        ResponseBudgetFull."""
        if self.answers >= self.most_answers:
            raise ResponseBudgetFull
        self.answers += 1
        held = HeldResponse(self)
        try:
            yield held
        finally:
            self.answers -= 1
            self.bytes -= held.bytes


@dataclass(slots=True)
class HeldResponse:
    """The place of one answer, and the bytes that it holds."""

    budget: ResponseBudget
    bytes: int = 0

    def hold(self, size: int) -> None:
        """The answer has this many bytes. Raises ResponseBudgetFull if they would be too many
        beside the others.

        One that is alone is let through, whatever its size: else it could never be had.
        """
        budget = self.budget
        if budget.bytes and budget.bytes + size > budget.most_bytes:
            raise ResponseBudgetFull
        self.bytes += size
        budget.bytes += size
