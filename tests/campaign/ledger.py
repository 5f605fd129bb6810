"""What the driver did, and what people therefore mean a container to be: the oracle's source beside
the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Meant = Literal["running", "stopped", "paused", "either"]


@dataclass
class Act:
    """One thing the driver did. `begin`, `end`: wall seconds; `result`: done, nothing to do it to,
    or why it failed."""

    number: int
    kind: str
    slot: str
    container: str
    begin: float
    end: float = 0.0
    result: str = "done"
    recorded: bool = False  # a stop by a person: the engine's own record on its disk tells of it


@dataclass
class Intent:
    """What a person last wanted of a container. `either`: dockmend acted on it in the same moment,
    so both may be."""

    meant: Meant
    since: float
    act: Act | None = None
    until: float = float("inf")
    overridden: bool = False  # told already


@dataclass
class Span:
    begin: float
    end: float = float("inf")
    death: bool = False  # its state in memory was lost

    def meets(self, begin: float, end: float) -> bool:
        return self.begin <= end and self.end >= begin


@dataclass
class Life(Span):
    """Of the second dockmend. `free`: the first one did not have the lock of the engine as it
    began."""

    free: bool = False


@dataclass
class Ledger:
    acts: list[Act] = field(default_factory=list)
    intents: dict[str, list[Intent]] = field(default_factory=dict)  # by slot, the last one in force
    dockmend_out: list[Span] = field(default_factory=list)  # killed, stopped or frozen
    engine_out: list[Span] = field(default_factory=list)  # down, with another engine after it
    # a second dockmend runs on the same engine
    second_lives: list[Life] = field(default_factory=list)
    second_acts: list[Span] = field(default_factory=list)  # it holds the lock of the engine
    # removals of a person's after which the container was there again
    undone: list[str] = field(default_factory=list)
    _by_slot: dict[str, list[Act]] = field(default_factory=dict)

    def note(self, act: Act) -> None:
        self.acts.append(act)
        self._by_slot.setdefault(act.slot, []).append(act)

    def meant(self, slot: str) -> Meant:
        found = self.intents.get(slot)
        return found[-1].meant if found else "running"

    def stopped_since(self, slot: str) -> float | None:
        """Since when a person has wanted it stopped; None where nobody does."""
        found = self.intents.get(slot)
        return found[-1].since if found and found[-1].meant == "stopped" else None

    def means(self, slot: str, intent: Intent, over_at: float | None = None) -> None:
        """A person's (new) will; the one before was over when the act began that changed it."""
        mine = self.intents.setdefault(slot, [])
        if mine:
            mine[-1].until = min(mine[-1].until, intent.since if over_at is None else over_at)
        mine.append(intent)

    def of(
        self, slot: str, *kinds: str, since: float = 0.0, until: float = float("inf")
    ) -> list[Act]:
        """Acts on a slot that were done, and met the time between the two."""
        return [
            act for act in self._by_slot.get(slot, ())
            if act.kind in kinds and act.result == "done" and since <= act.end
            and act.begin <= until
        ]  # fmt: skip

    def others(self, slot: str, act: Act) -> list[Act]:
        """What else was done to a slot from that act on."""
        mine = self._by_slot.get(slot, ())
        return [each for each in mine if each.number != act.number and each.end >= act.begin]

    def engine_ended(self, begin: float, end: float) -> bool:
        """Whether the engine was down at some time between the two."""
        return any(span.meets(begin, end) for span in self.engine_out)

    def second_may_act(self, at: float) -> bool:
        """Whether the second dockmend may have the lock at that time: the first had died while it
        ran, or before.

        A process that is back is out no longer, and has the lock only seconds later: until then the
        second may take it.
        """
        return any(
            life.meets(at, at)
            and (
                life.free
                or any(
                    out.death and out.end >= life.begin and out.begin <= at
                    for out in self.dockmend_out
                )
            )
            for life in self.second_lives
        )

    def dockmend_missing(self, begin: float, end: float) -> bool:
        return any(span.meets(begin, end) for span in self.dockmend_out)
