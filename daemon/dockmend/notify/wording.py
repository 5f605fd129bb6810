"""What a message says: what is wrong, since when, what was tried, what to do. Pure.

A message says only what was observed. Everything in it that a stranger may have written is defused,
and a command to paste names only what may stand in a command: else it is left out.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from dockmend.decide import span_text
from dockmend.journal.records import Incident
from dockmend.notify import defusing
from dockmend.notify.alarms import CALM, OFTEN, AlarmEnding, AlarmTrouble
from dockmend.notify.message import LARGEST_BODY, LONGEST_TITLE, Kind, Message, Severity, bounded
from dockmend.tell.sanitize import shown

LOG_TAIL: Final = 50
"""Lines that the command asks for which shows a container's log."""
LONGEST_REASON: Final = 400
"""Characters of a reason or an error."""
TENTHS_BELOW: Final = 10.0
"""Seconds of a heal that are told with tenths."""
TRIES_SHOWN: Final = 5
"""Tries that are listed; of more the newest."""


@dataclass(slots=True)
class Where:
    """The host's name as people know it, and its clock: `local` makes local time of wall
    seconds."""

    host: str
    local: Callable[[float], datetime]

    def time(self, at: float, now: float) -> str:
        """`03:05`; with its day if that is not today."""
        then, today = self.local(at), self.local(now)
        return f"{then:%H:%M}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M}"


class Try(Struct, frozen=True):
    """One try of a rule's to put it right. `at`: wall seconds; `outcome`: what came of the
    action."""

    action: str
    at: float
    outcome: str = ""
    detail: str = ""


class Facts(Struct, frozen=True):
    """What is known of a container in trouble; all of it may be missing. Times are wall seconds.

    `image_before`: that of the container whose place it took, if it was another one.

    `check`: what its health check said last; `made_at`: when it was made; `reason`: why its rule
    gave up; `why_not`: why nothing is done about it; `attempts`: how many tries there were, which
    are not all listed in `tries`; `first_at`: when what its rule gave up on was first seen.
    """

    exit_code: int | None = None
    error: str = ""
    check: str = ""
    image: str = ""
    image_before: str = ""
    made_at: float = 0.0
    started_at: float = 0.0
    lines: tuple[str, ...] = ()
    tries: tuple[Try, ...] = ()
    attempts: int = 0
    reason: str = ""
    why_not: str = ""
    next_try_at: float | None = None
    first_at: float = 0.0


def alarm(trouble: AlarmTrouble, facts: Facts, now: float, where: Where, nth: int = 1) -> Message:
    """Something is wrong, and a person is to know. `nth`: the how manyth alarm about it within an
    hour."""
    write = {
        Kind.DOWN: _down,
        Kind.GAVE_UP: _gave_up,
        Kind.DEGRADED: _degraded,
        Kind.NEEDS_YOU: _needs_you,
    }
    title, sentences, step = write[trouble.kind](trouble, facts, now, where)
    if nth >= OFTEN:
        calm = f"its end is told once that has lasted for {span_text(CALM)}"
        sentences.append(
            f"It is the {_ordinal(nth)} alarm about it within an hour: {calm}, and nothing before."
        )
    return _message(trouble, trouble.kind, title, sentences, now, where, step, facts.lines)


def resolved(trouble: AlarmTrouble, ending: AlarmEnding, now: float, where: Where) -> Message:
    """What was told is over. It is as grave as what it ends: whoever was woken by that is to sleep
    again."""
    lasted = (
        f"It lasted {span_text(max(1.0, now - trouble.since))}, since "
        f"{where.time(trouble.since, now)}."
    )
    if trouble.kind is Kind.DEGRADED:
        part = PARTS.get(trouble.target, defusing.name(trouble.target))
        title = f"✅ dockmend on {defusing.name(where.host)} works again: {part}"
        return _message(trouble, Kind.RESOLVED, title, [lasted], now, where)
    name = defusing.name(trouble.object_name)
    well = "needs you no more" if trouble.kind is Kind.NEEDS_YOU else "is well again"
    title = {
        AlarmEnding.WELL: f"✅ {name} {well}",
        AlarmEnding.STOPPED: f"✅ {name} was stopped by a person",
        AlarmEnding.REMOVED: f"✅ {name} was removed",
        AlarmEnding.COMPLETED: f"✅ {name} ended with exit code 0",
    }[ending]
    return _message(trouble, Kind.RESOLVED, title, [f"It {_was(trouble)}.", lasted], now, where)


def over_before_told(told: Message, ending: Message) -> Message:
    """One message of two: what had not gone out when it was over."""
    body = f"{ending.body}\n\nIt had not been told yet:\n{told.title}\n{told.body}"
    return bounded(replace(ending, body=body, last_lines=told.last_lines))


def healed(incident: Incident, nth: int, now: float, where: Where) -> Message:
    """What dockmend put right. `nth`: the how manyth time today."""
    seconds = max(0.1, (incident.closed_at or now) - incident.opened_at)
    took = f"{seconds:.1f} s" if seconds < TENTHS_BELOW else span_text(seconds)
    again = f" ({_ordinal(nth)} time today)" if nth > 1 else ""
    name = defusing.name(incident.object_name or incident.target)
    note = defusing.defused(incident.note or incident.trigger, LONGEST_REASON)
    reason = f": {defusing.defused(incident.reason, LONGEST_REASON)}" if incident.reason else ""
    body = [
        f"{where.time(incident.opened_at, now)}: {note}.",
        f"Rule {defusing.name(incident.rule)}, {_times(max(1, incident.attempts))}{reason}.",
    ]
    return _of_incident(
        Kind.HEALED, Severity.INFO, f"✅ {name} healed in {took}{again}", body, incident, now, where
    )


def flapping(incident: Incident, heals: Sequence[float], now: float, where: Where) -> Message:
    """One that is healed again and again. `heals`: when, wall seconds."""
    name = defusing.name(incident.object_name or incident.target)
    times = ", ".join(where.time(at, now) for at in heals)
    note = defusing.defused(incident.note or incident.trigger, LONGEST_REASON)
    body = [
        f"Healed at {times}. Each time it works for a while and breaks again.",
        f"The last time: {note}.",
    ]
    title = f"🟠 {name} was healed {len(heals)} times within an hour"
    step = ""
    if defusing.pastable(incident.object_name):
        step = f"dockmend incidents --container {shlex.quote(incident.object_name)}"
    return _of_incident(Kind.FLAPPING, Severity.WARNING, title, body, incident, now, where, step)


def told(
    text: str,
    title: str | None,
    fill: Callable[[str, Callable[[str], str]], str],
    incident: Incident,
    now: float,
    where: Where,
) -> Message:
    """A rule's own message. What its owner wrote stands as it is, links and mentions too; what is
    filled into it may be a stranger's. `title` None: the text's first line; `fill(text, quoted)`:
    fills in fields, each as `quoted` makes it.
    """
    lines = [shown(line, LARGEST_BODY) for line in fill(text, _filled).strip().split("\n")]
    heading = shown(fill(title, _filled).strip(), LONGEST_TITLE) if title is not None else ""
    body = lines if heading or len(lines) > 1 or len(lines[0]) > LONGEST_TITLE else []
    name, subject = (
        defusing.name(incident.rule),
        defusing.name(incident.object_name or incident.target),
    )
    # all of its fields may be empty
    heading = heading or shown(lines[0], LONGEST_TITLE) or f"Rule {name}"
    body = [*body, f"Rule {name}, {subject}"]
    message = _of_incident(
        Kind.TOLD, SEVERITIES[incident.severity], heading, body, incident, now, where
    )
    # What two rules tell of one container is not about one thing: a list that has no room names
    # both.
    return replace(message, key=f"{message.key}/{incident.rule}")


def _filled(value: str) -> str:
    return defusing.defused(value, LONGEST_REASON)


SEVERITIES: Final = {
    "info": Severity.INFO,
    "warning": Severity.WARNING,
    "critical": Severity.CRITICAL,
}
"""How grave a rule says its incidents are."""
PARTS: Final = {
    "engine": "the engine answers",
    "journal": "the journal can be written",
    "record": "the journal is whole",
    "rules": "the rules are accepted",
    "acting": "it acts",
    "mqtt": "the broker answers",
}
"""What a part of dockmend does that works again."""
_ILL: Final = {
    "engine": "the engine does not answer",
    "journal": "the journal cannot be written",
    "record": "the journal was damaged",
    "rules": "rules are rejected",
}
_LOOK_AT: Final = {
    "engine": "systemctl status docker",
    "journal": "dockmend doctor",
    "record": "dockmend status",
    "rules": "dockmend check",
}

_Parts = tuple[str, list[str], str]


def _down(trouble: AlarmTrouble, facts: Facts, now: float, where: Where) -> _Parts:
    name = defusing.name(trouble.object_name)
    title = f"🔴 {name} is {'unhealthy' if trouble.cause == 'unhealthy' else 'down'}"
    sentences = [*_what_happened(trouble, facts, now, where), *_before(trouble, facts, now, where)]
    sentences.append(
        f"Nothing is done about it: {defusing.defused(facts.why_not or 'no rule acts on it')}."
    )
    return title, sentences, _logs(trouble)


def _gave_up(trouble: AlarmTrouble, facts: Facts, now: float, where: Where) -> _Parts:
    name = defusing.name(trouble.object_name)
    tried = f" after {_times(facts.attempts)}" if facts.attempts else ""
    title = (
        f"🔴 {name} is {'unhealthy' if trouble.cause == 'unhealthy' else 'down'}, gave up{tried}"
    )
    sentences = [*_what_happened(trouble, facts, now, where), *_tried(facts, now, where)]
    if facts.reason:
        sentences.append(f"The last one: {defusing.quoted(facts.reason, LONGEST_REASON)}.")
    sentences += _before(trouble, facts, now, where)
    subject = trouble.object_name if defusing.pastable(trouble.object_name) else trouble.target
    if defusing.pastable(subject):
        again = f"dockmend reset {shlex.quote(trouble.rule)} {shlex.quote(subject)}"
        sentences.append(f"To let it try again: {again}")
    if facts.next_try_at is not None and facts.next_try_at > now:
        sentences.append(f"Next try by itself: {where.time(facts.next_try_at, now)}.")
    return title, sentences, _logs(trouble)


def _degraded(trouble: AlarmTrouble, facts: Facts, now: float, where: Where) -> _Parts:
    ill = _ILL.get(trouble.target, f"{defusing.name(trouble.target)} does not work")
    since = where.time(trouble.since, now)
    title = f"🟠 dockmend on {defusing.name(where.host)} cannot work: {ill} since {since}"
    why = defusing.defused(trouble.note, LONGEST_REASON)
    return (
        title,
        [f"{why}." if why else "", "A message follows when it works again."],
        _LOOK_AT.get(trouble.target, ""),
    )


def _needs_you(trouble: AlarmTrouble, facts: Facts, now: float, where: Where) -> _Parts:
    title = f"✋ {defusing.name(trouble.object_name)} needs you: {defusing.defused(trouble.cause)}"
    return title, [f"{defusing.defused(trouble.note, 2 * LONGEST_REASON)}."], trouble.step


def _what_happened(trouble: AlarmTrouble, facts: Facts, now: float, where: Where) -> list[str]:
    since, code = where.time(facts.first_at or trouble.since, now), facts.exit_code
    said = f": {defusing.quoted(facts.check, LONGEST_REASON)}" if facts.check else ""
    what = {
        "unhealthy": f"Its health check fails since {since}{said}.",
        "crashed": f"Exit code {code} at {since}; not stopped by anyone, not out of memory.",
        "oom_killed": f"The kernel killed it at {since} for want of memory.",
        "left_down": "It ran before the engine was lost and was not started again; down since "
        f"{since}.",
        "unknown": f"It ended unseen with exit code {code}, noticed at {since}.",
        "not_started": f"Its start failed; it does not run since {since}.",
        "looping": f"It ends and is restarted by the engine again and again since {since}; exit "
        f"code {code}.",
    }.get(trouble.cause, f"Since {since}.")
    error = (
        f"The engine says: {defusing.quoted(facts.error, LONGEST_REASON)}." if facts.error else ""
    )
    return [what, error]


def _tried(facts: Facts, now: float, where: Where) -> list[str]:
    if not facts.tries:
        return []
    shown = [
        f"{each.action} {where.time(each.at, now)}"
        + (f" ({each.outcome})" if each.outcome not in ("", "done") else "")
        for each in facts.tries[-TRIES_SHOWN:]
    ]
    more = f" (the last {len(shown)})" if facts.attempts > len(shown) else ""
    return [f"Tried{more}: {', '.join(shown)}."]


DAY: Final = 86400.0


def _before(trouble: AlarmTrouble, facts: Facts, now: float, where: Where) -> list[str]:
    """What changed in the day before, as far as the engine and the journal tell."""
    if not facts.made_at or not 0 <= trouble.since - facts.made_at < DAY:
        return []
    at = where.time(facts.made_at, now)
    if facts.image and facts.image_before:
        before, after = map(defusing.defused, (facts.image_before, facts.image))
        return [f"Changed before: image {before} → {after} at {at}."]
    image = f" from image {defusing.defused(facts.image)}" if facts.image else ""
    return [f"Changed before: it was made anew at {at}{image}."]


def _was(trouble: AlarmTrouble) -> str:
    if trouble.kind is Kind.NEEDS_YOU:
        return "needed you"
    return "was unhealthy" if trouble.cause == "unhealthy" else "was down"


def _times(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def _logs(trouble: AlarmTrouble) -> str:
    name = trouble.object_name if defusing.pastable(trouble.object_name) else trouble.object_id[:12]
    return f"docker logs --tail {LOG_TAIL} {shlex.quote(name)}" if name else ""


def _of_incident(
    kind: Kind,
    severity: Severity,
    title: str,
    body: Sequence[str],
    incident: Incident,
    now: float,
    where: Where,
    step: str = "",
) -> Message:
    return bounded(
        Message(
            kind=kind,
            severity=severity,
            key=f"{kind}/{incident.target}",
            target=incident.target,
            object_name=incident.object_name,
            title=title,
            body="\n".join([*body, _host(where)]),
            next_step=step,
            at=now,
            host=where.host,
        )
    )


def _ordinal(number: int) -> str:
    ending = (
        {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        if number % 100 not in (11, 12, 13)
        else "th"
    )
    return f"{number}{ending}"


def _message(
    trouble: AlarmTrouble,
    kind: Kind,
    title: str,
    sentences: Sequence[str],
    now: float,
    where: Where,
    step: str = "",
    lines: Sequence[str] = (),
) -> Message:
    return bounded(
        Message(
            kind=kind,
            severity=trouble.severity,
            key=trouble.key,
            target=trouble.target,
            object_name=trouble.object_name,
            title=title,
            body="\n".join([*filter(None, sentences), _host(where)]),
            last_lines=defusing.lines(lines),
            next_step=step,
            at=now,
            host=where.host,
        )
    )


def _host(where: Where) -> str:
    """The last line: which host it is about. A link to its page follows here once there is a
    page."""
    return f"Host: {defusing.name(where.host)}"
