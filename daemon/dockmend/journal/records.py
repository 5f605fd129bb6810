"""The rows of the journal as values. Times are seconds since the epoch by dockmend's clock
(timekeeping.py)."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

State = Literal["waiting", "acting", "verifying", "closed"]
Outcome = Literal[
    "healed",  # acted, and the check said it worked
    # acted where there is nothing to verify (a schedule, a snapshot, a rule that only tells)
    "done",
    "failed",
    "recovered",  # "recovered on its own": the trouble was gone before anything was done
    "suppressed",  # decided not to act; `reason` says why
    "interrupted",  # dockmend ended in mid-action; what it had begun was put right
    "dry_run",  # would have acted
    "on_purpose",  # a person did it: stopped, disconnected
]


class AttemptStage(Enum):
    """How far the attempt of an incident is; pipeline/attempt_state.py has the transitions."""

    IDLE = "idle"
    STEPS = "steps"
    MADE = "made"


class Incident(Struct, frozen=True):
    """One trouble of one target as one rule sees it, from its detection to its end."""

    id: str  # "i" + 15 lower-case base-32 characters, sortable by time
    rule: str
    trigger: str  # what set the rule off; model.ASKED if a person did
    target: str
    kind: str
    object_id: str
    object_name: str
    trouble: str
    opened_at: float
    state: State = "waiting"
    outcome: Outcome | None = None
    # what was seen when it was opened, for a person: "it ended by itself with exit code 3"
    note: str = ""
    reason: str = ""  # for a person
    reason_code: str = ""  # for metrics: cooldown, budget, ignored, …; bounded set
    closed_at: float | None = None
    due_at: float | None = None  # waiting: when it is looked at again
    waiting_for: str = ""  # for, backoff, cooldown, rate, budget, …; as `reason_code`
    attempts: int = 0
    # waiting: whether an attempt goes on, or the next one is to be begun
    stage: AttemptStage = AttemptStage.IDLE
    finally_owed: bool = (
        False  # a step was cut short: `finally` is to be run even if its attempt does not go on
    )
    superseded_by: str = ""  # why it is to give way as soon as its step has ended; "" if it is not
    origin: str = "live"
    cause: str | None = None
    network: str | None = None  # the network it is about, where it is about one
    severity: str = "warning"
    dry_run: bool = False
    actor: str = ""  # who asked, where a person did (`dockmend trigger`): "uid 1000"
    # which step of `escalate` comes next, once its attempts are used up; None before
    rung: int | None = None
    # how often it was suppressed for the same reason while open: folded, to keep the journal small
    count: int = 1
    updated_at: float = 0.0
    # of a group: ids of those that were treated, which must be well in the end
    members: tuple[str, ...] = ()
    # seconds of the longest run of it that ended by itself: it is well once it runs for longer
    lasted: float = 0.0
    # rules that lost this trouble to it: they leave it alone, also after a restart
    over: tuple[str, ...] = ()
    # the person who asked knows that somebody stopped or paused it, and wants it to run
    even_if_stopped: bool = False


class ActionRecord(Struct, frozen=True):
    """One step of one attempt. `undo` is what must be put right if dockmend dies before `ended_at`
    is set."""

    id: str  # as Incident.id, with "a"
    incident: str
    rule: str
    target: str
    attempt: int
    action: str
    object_id: str
    object_name: str
    params: dict[str, Any]
    began_at: float
    ended_at: float | None = None
    outcome: Literal["done", "failed", "interrupted"] | None = None
    detail: str = ""  # what was done, or the error; for a person
    undo: dict[str, Any] = field(default_factory=dict)
    part: Literal["then", "finally", "escalate", "after", "member", "guests"] = "then"
    """Where in the rule the step stands; after: it follows from another step, such as a stop that
    was lost in it; member: it is a part of a group's step, done to one of its members; guests: it
    brings back what lives in the namespaces of a container whose run the steps before it ended."""
    untouched: bool = False
    """It ended before anything was asked of the engine: no limit counts it."""


Attempt = tuple[str, str, float]
"""(rule, target, when it began)."""

COUNTED_PARTS = ("then", "finally", "escalate")
"""Parts of a rule whose steps limits count; what is done to members of a group belongs to its
step."""


class ClosedIncident(NamedTuple):
    """What a start asks of an incident that is over: columns, without the record."""

    rule: str
    target: str
    trouble: str
    outcome: Outcome
    reason_code: str
    over: tuple[str, ...]


class Pause(Struct, frozen=True):
    """Maintenance asked for by a person: everything (both None), a rule, a container's target."""

    rule: str | None
    target: str | None
    until: float | None  # None: until resumed
    actor: str
    at: float


class Breaker(Struct, frozen=True):
    """A rule that gave up on a target. `healed_at`: it was healed all the same, and closes if that
    lasts."""

    rule: str
    target: str
    opened_at: float
    reason: str = ""
    healed_at: float | None = None


class OutboxRow(NamedTuple):
    """A message on its way to a channel; see notify/outbox.py."""

    sequence: int
    channel: str
    state: str
    due_at: float
    tries: int
    taken: str  # a JSON list: the marks of the URLs that are done with it
    body: bytes  # the message as JSON
