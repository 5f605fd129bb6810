"""One sample of each kind of message, in the words of the real ones, and marked as a test. Pure."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from dockmend.journal.records import Incident
from dockmend.notify import wording
from dockmend.notify.alarms import AlarmEnding, AlarmTrouble
from dockmend.notify.message import Kind, Message, Severity, bounded
from dockmend.notify.wording import Facts, Try, Where

MARK: Final = "TEST "
"""How the title of a sample begins."""
SAYS_SO: Final = (
    "This is a test by `dockmend notify --test`. Nothing has happened. A real message reads:"
)
"""How the body of a sample begins."""
_NAME: Final = "example"
_TARGET: Final = f"container:{_NAME}"
_RULE: Final = "label:heal"


def sample(kind: Kind, now: float, where: Where) -> Message:
    """What a channel would get of one kind, about a container `example`. `now`: wall seconds.

    `kind`: one that channels list; what a rule of its owner tells has no sample, and is a
    ValueError.
    """
    message = _real(kind, now, where)
    return bounded(
        replace(
            message,
            key=f"test/{kind}",
            title=f"{MARK}{message.title}",
            body=f"{SAYS_SO}\n\n{message.body}",
        )
    )


def _real(kind: Kind, now: float, where: Where) -> Message:
    match kind:
        case Kind.DOWN | Kind.GAVE_UP | Kind.DEGRADED | Kind.NEEDS_YOU:
            return wording.alarm(_trouble(kind, now), _facts(kind, now), now, where)
        case Kind.RESOLVED:
            return wording.resolved(_trouble(Kind.GAVE_UP, now), AlarmEnding.WELL, now, where)
        case Kind.FLAPPING:
            return wording.flapping(_incident(now), (now - 2400, now - 1200, now), now, where)
        case Kind.HEALED:
            return wording.healed(_incident(now), 2, now, where)
        case Kind.TOLD:
            raise ValueError("what a rule tells is its owner's own text")


def _trouble(kind: Kind, now: float) -> AlarmTrouble:
    """The severities are those of real ones (app/open_troubles.py)."""
    since = now - 240
    if kind is Kind.DEGRADED:
        return AlarmTrouble(
            key="degraded/engine", kind=kind, target="engine", object_name="", since=since,
            severity=Severity.CRITICAL, note="connection refused",
        )  # fmt: skip
    needs_you = kind is Kind.NEEDS_YOU
    return AlarmTrouble(
        key=f"{kind}/{_TARGET}", kind=kind, target=_TARGET, object_name=_NAME, since=since,
        rule=_RULE, cause="its network's owner is unknown" if needs_you else "crashed",
        note="the container that it shares its network with does not exist any more" if needs_you
            else "",
        step=f"docker inspect {_NAME}" if needs_you else "",
    )  # fmt: skip


def _facts(kind: Kind, now: float) -> Facts:
    if kind in (Kind.DEGRADED, Kind.NEEDS_YOU):
        return Facts()
    tries = tuple(Try("restart", now - before, "failed") for before in (220, 150, 60))
    return Facts(
        exit_code=1, lines=("SQLite: database is locked",), why_not="no rule acts on it",
        tries=tries if kind is Kind.GAVE_UP else (),
        attempts=len(tries) if kind is Kind.GAVE_UP else 0,
        reason="it ended with exit code 1 again" if kind is Kind.GAVE_UP else "",
    )  # fmt: skip


def _incident(now: float) -> Incident:
    return Incident(
        id="test", rule=_RULE, trigger="container.unhealthy", target=_TARGET, kind="container",
        object_id="", object_name=_NAME, trouble="unhealthy", opened_at=now - 1.4, closed_at=now,
        state="closed", outcome="healed", note="its health check failed", reason="healthy again",
        attempts=1,
    )  # fmt: skip
