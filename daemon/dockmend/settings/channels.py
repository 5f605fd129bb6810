"""What the section `notify` of the settings comes to: channels, the kinds of messages, how grave
one is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from dockmend.settings.secrets import Secret


class Kind(StrEnum):
    """Why a message is sent. `TOLD` is the action `notify`'s own: a rule names its channel, so no
    channel lists it."""

    DOWN = "down"
    GAVE_UP = "gave_up"
    FLAPPING = "flapping"
    RESOLVED = "resolved"
    DEGRADED = "degraded"
    NEEDS_YOU = "needs_you"
    HEALED = "healed"
    TOLD = "told"


class Severity(IntEnum):
    """How grave it is; a channel takes what is at least as grave as it says."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


MOST_LINES: Final = 50
"""Of a container's log that a message may hold."""
LISTED: Final = tuple(kind for kind in Kind if kind is not Kind.TOLD)
"""The kinds that `at_once` and `digest` of a channel may name."""
AT_ONCE: Final[frozenset[Kind]] = frozenset(LISTED) - {Kind.HEALED}
"""What a channel that does not say gets at once."""
DIGEST: Final[frozenset[Kind]] = frozenset({Kind.HEALED})
"""What it gets in its digest."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of `notify:`.

    `urls`: for apprise; `repr` does not show them. A kind that is neither in `at_once` nor in
    `digest` is off. `quiet`: start and end in minutes of the local day, end excluded, over midnight
    if the start is later; what is not critical waits for its end. None: never. `logs`: lines of a
    container's log that a message may hold. `digest_at`: in minutes of the local day.
    """

    name: str
    urls: tuple[Secret, ...] = field(default=(), repr=False)
    at_once: frozenset[Kind] = AT_ONCE
    digest: frozenset[Kind] = DIGEST
    severity: Severity = Severity.INFO
    quiet: tuple[int, int] | None = None
    logs: int = 5
    digest_at: int = 8 * 60
