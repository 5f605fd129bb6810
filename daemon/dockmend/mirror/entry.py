"""What the mirror keeps of one container beyond the container itself, and how that outlives dockmend."""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

from dockmend.mirror.echo import Echo
from dockmend.mirror.ends import End, Run
from dockmend.model import Change, Container, Endpoint


class Kept(Struct, omit_defaults=True):
    """The part of an entry that is journalled as last known state."""

    container: Container
    run: Run
    good: dict[str, Endpoint] = field(default_factory=dict)  # the last known good networks
    lost: dict[str, float] = field(default_factory=dict)  # those of them that are missing, since when
    mended: dict[str, float] = field(default_factory=dict)  # when dockmend last put one back
    unhealthy: int = 0  # how often it turned unhealthy in this run: tells one trouble from the next
    restarts: list[float] = field(default_factory=list)  # when the engine restarted it after a crash
    looping: bool = False  # container.restart_loop fired and no stable while has passed
    standing: dict[str, Change] = field(default_factory=dict)  # troubles that still stand, by what broke


class Entry:
    """One container in the mirror. `kept` is persisted; the rest is of this moment."""

    __slots__ = ("echo", "end", "kept", "previous", "ran_before_loss", "stuck_at")

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.previous: Run | None = None
        self.end: End | None = None
        self.echo: Echo | None = None
        self.ran_before_loss = False
        self.stuck_at: float | None = None

    @property
    def container(self) -> Container:
        return self.kept.container

    def run_at(self, at: float) -> Run:
        """The run an event of time `at` belongs to: the one before, where this one began later."""
        run = self.kept.run
        if run.started_at and at < run.started_at and self.previous is not None:
            return self.previous
        return run


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Kept)


def encode(entry: Entry) -> bytes:
    return _encoder.encode(entry.kept)


def decode(data: bytes) -> Entry:
    """Raises msgspec.DecodeError or ValidationError where the bytes are of another version: then nothing is known."""
    return Entry(_decoder.decode(data))
