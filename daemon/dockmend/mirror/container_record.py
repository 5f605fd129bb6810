"""What the mirror knows of one container beyond the container itself, and how that outlives
dockmend.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from dockmend.mirror.exit_cause import ContainerRun, RunEnd
from dockmend.mirror.expectations import Expectation
from dockmend.model import Change, Container, Endpoint

EVENTS_WITHIN = 10.0
"""Seconds within which an event comes that was said at all, however far inspect was ahead of it."""

UNKNOWN = -1
"""What had been heard of a container that was not known yet, and of which no event had come."""


class StoredRecord(Struct, omit_defaults=True):
    """The part of an entry that is journalled as last known state."""

    container: Container
    run: ContainerRun
    good: dict[str, Endpoint] = field(default_factory=dict)  # the last known good networks
    # those of them that are missing, since when
    lost: dict[str, float] = field(default_factory=dict)
    mended: dict[str, float] = field(default_factory=dict)  # when dockmend last put one back
    losses: int = 0  # how often a network was lost: tells one trouble from the next
    unhealthy: int = 0  # how often it turned unhealthy in this run: the same
    # since when its health check gives no verdict: wall seconds; 0.0 where it gave one
    unjudged_at: float = 0.0
    # since when its last start is known to have failed: wall seconds; 0.0 where it did not
    failed_at: float = 0.0
    health_at: float = 0.0  # of the last health event: a replay repeats older ones
    # when the engine restarted it after a crash
    restarts: list[float] = field(default_factory=list)
    looping: bool = False  # container.restart_loop fired and no stable while has passed
    removed_at: float = 0.0  # it is gone, and whether something takes its place is waited for
    # troubles that still stand, by what broke
    standing: dict[str, Change] = field(default_factory=dict)
    # `container.labels` are its owner's only; False in what an earlier version wrote
    labels_divided: bool = False


class ContainerRecord:
    """One container in the mirror. `kept` is persisted; the rest is of this moment."""

    __slots__ = (
        "ahead",
        "ahead_until",
        "distrusted",
        "earlier",
        "echo",
        "ends",
        "health_heard",
        "heard",
        "judged",
        "kept",
        "late_until",
        "stuck_at",
        "verdict_due",
    )

    def __init__(self, kept: StoredRecord) -> None:
        self.kept = kept
        kept.labels_divided = True
        # runs before the present one whose events may still come, in order
        self.earlier: list[ContainerRun] = []
        self.heard = 0  # events of it
        # its check gave a verdict in this run
        self.judged = kept.container.health in ("healthy", "unhealthy")
        self.health_heard = 0  # what that was at the last of them that told of its health
        # until then the stream may tell of runs before the one inspect told of first
        self.late_until = 0.0
        self.ends: list[RunEnd] = []  # not settled yet, in order; mostly none
        self.echo: Expectation | None = None
        self.ahead: tuple[str, ...] = ()  # what inspect told of the health before the stream did
        self.ahead_until = 0.0  # then those events are lost
        self.distrusted = 0  # inspect answers in a row that seemed older than what events told
        self.stuck_at: float | None = None
        self.verdict_due = 0.0  # when it is looked at again for a verdict of its health check

    def inherit(self, before: StoredRecord) -> None:
        """What was known of the container whose place this one took, as far as it does not tell so
        itself.

        Addresses in use were that one's. Bears repetition.
        """
        kept = self.kept
        # It is connected plainly when it is made, and taken out again: a look may have told of that
        # place, and no later one of how it is now. A place in which it stays is among the good ones
        # as well.
        missing = before.good.keys() - (self.container.networks.keys() & kept.good.keys())
        places = {
            network: replace(before.good[network], address="", address6="") for network in missing
        }
        kept.good = kept.good | places
        kept.lost = {
            network: at for network, at in before.lost.items() if network in missing
        } | kept.lost
        kept.mended = before.mended | kept.mended
        kept.losses = max(kept.losses, before.losses)
        for network in kept.lost:
            if (change := before.standing.get(what := f"network/{network}")) is not None:
                kept.standing.setdefault(what, change)
        kept.restarts = sorted({*before.restarts, *kept.restarts})
        kept.looping = kept.looping or before.looping

    def inspect_was_ahead(self, health: str, now: float) -> None:
        """Inspect told of a health that no event has told of yet."""
        self.ahead = (*self.ahead[-3:], health)
        self.ahead_until = now + EVENTS_WITHIN

    def clock_set(self, by: float) -> None:
        """Times that are compared with now; those of the engine's events and answers stay what they
        are."""
        kept = self.kept
        kept.mended = {network: at + by for network, at in kept.mended.items()}
        kept.unjudged_at += by if kept.unjudged_at else 0.0
        kept.failed_at += by if kept.failed_at else 0.0
        kept.standing = {
            what: replace(change, at=change.at + by) for what, change in kept.standing.items()
        }
        for end in self.ends:
            end.due += by
        if self.echo is not None and self.echo.until is not None:
            self.echo.until += by
        self.ahead_until += by
        self.late_until += by
        self.verdict_due += by

    @property
    def container(self) -> Container:
        return self.kept.container

    @property
    def joined_at(self) -> float:
        """When it joined another's namespace, at the earliest: the engine lets it join first, and
        says that it runs later, by seconds on a busy host; another start of the owner in between
        leaves it in what is gone."""
        return self.kept.run.asked_at or self.container.started_at

    @property
    def previous(self) -> ContainerRun | None:
        return self.earlier[-1] if self.earlier else None

    def run_at(self, at: float) -> ContainerRun | None:
        """The run an event of time `at` belongs to; None for one before those that are known: a
        replay."""
        run = self.kept.run
        if at >= run.begun:
            return run
        return next((each for each in reversed(self.earlier) if at >= each.begun), None)

    def began_another(self, run: ContainerRun) -> None:
        self.earlier = [*self.earlier[-3:], self.kept.run]
        self.kept.run = run
        self.judged = False

    def began_before(self, run: ContainerRun) -> None:
        """A run that is known to be over: inspect told of a later one."""
        self.earlier = sorted([*self.earlier, run], key=lambda each: each.begun)

    def later(self, seen: Container) -> bool:
        """Whether an inspect answer is of a later run than the one in hand."""
        run = self.kept.run
        if not run.begun and run.over and not seen.running:
            return False  # its end was heard of before anything else
        return seen.started_at > run.begun

    def older_health(self, seen: Container, asked: int) -> bool:
        """Whether an answer, asked for when `heard` was `asked`, tells of a health of before an
        event of this run."""
        events = asked if asked >= 0 else UNKNOWN - asked
        if self.health_heard <= events or seen.health == self.container.health:
            return False
        return seen.running and not self.kept.run.over and not self.later(seen)

    def outdated(self, seen: Container) -> bool:
        """Whether an inspect answer is older than what events told since it was asked for."""
        run, previous = self.kept.run, self.previous
        if run.started_at:
            earlier = seen.started_at < run.started_at
        elif run.announced_at:
            earlier = seen.started_at <= (previous.begun if previous is not None else 0.0)
        else:
            return False
        return earlier or (
            run.over and not self.later(seen) and seen.state in ("running", "paused")
        )


def _not_divided(kept: StoredRecord) -> StoredRecord:
    """What a version wrote that kept the labels of owner and image in one map: whose they are, the
    next look tells."""
    container = replace(
        kept.container, labels={}, image_labels=kept.container.labels, image_unknown=True
    )
    standing = {what: replace(change, subject=container) for what, change in kept.standing.items()}
    return replace(kept, container=container, standing=standing)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(StoredRecord)


def encode(entry: ContainerRecord) -> bytes:
    return _encoder.encode(entry.kept)


def decode(data: bytes) -> ContainerRecord:
    """Raises msgspec.DecodeError or ValidationError where the bytes are of another version: then
    nothing is known."""
    kept = _decoder.decode(data)
    if not kept.labels_divided:
        kept = _not_divided(kept)
    found = ContainerRecord(kept)
    run = found.kept.run
    if run.over and not run.told:  # dockmend died before the cause was settled
        found.ends.append(RunEnd(run=run, at=run.died_at, due=0.0, origin="relisted"))
    return found
