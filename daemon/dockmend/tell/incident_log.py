"""What dockmend sees and does as lines for a person: "web is unhealthy → restart (rule heal)", "web
healed in 2 s"."""

from __future__ import annotations

import shlex
from collections import OrderedDict, deque
from collections.abc import Callable

import structlog

from dockmend.decide import span_text
from dockmend.journal.records import ActionRecord, Incident
from dockmend.model import Change
from dockmend.observer import Observer
from dockmend.tell.sanitize import shown

WORDS = {
    "container.unhealthy": "is unhealthy",
    "container.healthy": "is healthy again",
    "container.started": "was started",
    "container.exited": "ended",
    "container.stopped": "was stopped",
    "container.crashed": "crashed",
    "container.oom_killed": "was killed for want of memory",
    "container.left_down": "was left down by the engine",
    "container.missing": "is missing",
    "container.restart_loop": "restarts again and again",
    "container.network_lost": "lost a network",
    "container.address_changed": "has another address",
    "container.orphaned": "lost the container whose network it joined",
    "container.stuck": "is stuck",
    "network.missing": "is missing",
    "volume.missing": "is missing",
    "schedule": "is due",
    "every": "is due",
    "startup": "is looked at as dockmend starts",
}
"""What happened to an object, to be read after its name."""

QUIET = {"container.healthy", "container.started", "container.exited", "engine.lost", "engine.back"}
"""Transitions that are no news (or are told by `connected`): debug."""

REMOVED = frozenset({"container.missing", "network.missing", "volume.missing"})
"""News only of what a rule is about."""

SHORTEST = 0.05
"""Seconds that are told: less would read as "0.0 s"."""
_SAID_ONCE = {"budget", "rate"}  # for all that wait for it, where it begins
_REMEMBERED = 2048  # incidents and suppressions whose last line is remembered
_CLOSED = 256  # of those incidents, how many that are closed
_FOLD = 600.0  # seconds in which the same suppression is said once
_CHANGES = 50  # lines about changes in a second
_TENS = frozenset(10**power for power in range(1, 9))


class LogTeller(Observer):
    """One line for each thing worth knowing; raw events and matches are not.

    `is_covered`: whether a rule is about a change's object. What strangers make and remove is no
    news on a host where others build and try things.
    """

    def __init__(self, is_covered: Callable[[Change], bool] = lambda change: True) -> None:
        self._is_covered = is_covered
        self._log = structlog.get_logger("dockmend.incident")
        self._told: OrderedDict[str, Incident] = OrderedDict()
        self._over: deque[str] = deque()  # of those told, the closed ones
        self._suppressed: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._degraded: dict[str, str] = {}
        self._engine: bool | None = None
        self._second = 0
        self._in_second = 0

    def connected(self, up: bool) -> None:
        if up != self._engine:
            if up:
                if self._engine is None:
                    self._log.info("connected to the engine", id="engine_connected")
                else:
                    self._log.info("the engine is back", id="engine_back")
            else:
                self._log.warning("the engine is lost: connecting again", id="engine_lost")
        self._engine = up

    def gap(self, cause: str) -> None:
        if cause != "self_check":  # which says itself what it found
            self._log.warning(
                "events may have been lost: everything was listed again",
                id="events_lost",
                cause=cause,
            )

    def change(self, change: Change) -> None:
        trigger = next(
            (name for name in change.triggers if name != "container.exited"), "container.exited"
        )
        if self._too_many(change.at):
            return
        quiet = trigger in QUIET or change.recovered or change.event is not None
        quiet = quiet or (trigger in REMOVED and not self._is_covered(change))
        say = self._log.debug if quiet else self._log.info
        name = getattr(change.subject, "name", "") or change.target
        about = {
            "triggers": list(change.triggers),
            "target": change.target,
            "origin": change.origin,
        }
        note = f": {shown(change.note)}" if change.note else ""
        words = _words(trigger, change.network)
        # a restart that takes its time looks like a stop as it is told
        if change.cause == "stopped":
            words = "was restarted" if change.runs_again else "ended"
        say(f"{shown(name, 128)} {words}{note}", id="change", about=about)

    def incident(self, incident: Incident) -> None:
        before = self._told.get(incident.id)
        self._remember(incident)
        if incident.state == "closed":
            self._closed(incident, before)
        elif (
            incident.state == "waiting"
            and incident.waiting_for
            and incident.waiting_for not in _SAID_ONCE
        ):
            if before is None or (before.waiting_for, before.due_at) != (
                incident.waiting_for,
                incident.due_at,
            ):
                self._waits(incident)
        else:
            self._say(
                "debug", "incident_state", incident, f"{_subject(incident)}: {incident.state}"
            )

    def action(self, record: ActionRecord) -> None:
        incident = self._told.get(record.incident)
        name = shown(record.object_name or record.target, 128)
        about = {
            "rule": record.rule,
            "target": record.target,
            "action": record.action,
            "attempt": record.attempt,
        }
        if record.outcome is None:
            same = incident is not None and record.object_name in ("", incident.object_name)
            what = (
                _subject(incident)
                if incident is not None and same and record.attempt <= 1
                else name
            )
            nth = f", attempt {record.attempt}" if record.attempt > 1 else ""
            text = f"{what} → {record.action} (rule {shown(record.rule, 128)}{nth})"
            self._log.info(text, id="action_started", incident=record.incident, about=about)
            return
        took = _took((record.ended_at or record.began_at) - record.began_at)
        detail = f": {shown(record.detail)}" if record.detail else ""
        if record.outcome == "done":
            text = f"{name}: {record.action} done{took}{detail}"
            self._log.info(text, id="action_done", incident=record.incident, about=about)
        else:
            text = f"{name}: {record.action} {record.outcome}{took}{detail}"
            self._log.warning(text, id="action_failed", incident=record.incident, about=about)

    def breaker(self, rule: str, target: str, opened: bool) -> None:
        rule, target = shown(rule, 128), shown(target, 128)
        if opened:
            again = f"dockmend reset {shlex.quote(rule)} {shlex.quote(target)}"
            self._log.error(
                f"rule {rule} gives up on {target}; to let it try again: {again}",
                id="breaker_opened",
            )
        else:
            self._log.info(f"rule {rule} treats {target} again", id="breaker_closed")

    def paused(self, pauses: int) -> None:
        self._log.info("pauses in force", id="pauses_in_force", pauses=pauses)

    def degraded(self, part: str, why: str | None) -> None:
        if why == self._degraded.get(part):
            return
        if why is None:
            del self._degraded[part]
            self._log.info(f"{part} works again", id="part_works_again")
        else:
            self._degraded[part] = why
            self._log.warning(f"{part} does not work", id="part_does_not_work", error=why)

    def snapshot(self, volume: str, size: int, at: float) -> None:
        self._log.info(
            f"snapshot of volume {shown(volume, 128)} completed", id="snapshot_done", bytes=size
        )

    # ---------------------------------------------------------------------------------- from within

    def _too_many(self, at: float) -> bool:
        """A host on which everything breaks at once brings thousands of changes a second: some of
        them are enough."""
        second = int(at)
        if second != self._second:
            self._second, before = second, self._in_second
            self._in_second = 0
            if before > _CHANGES:
                self._log.info(
                    "and more changes than are worth a line each",
                    id="changes_omitted",
                    changes=before - _CHANGES,
                )
        self._in_second += 1
        return self._in_second > _CHANGES

    def _waits(self, incident: Incident) -> None:
        seconds = incident.due_at - incident.updated_at if incident.due_at is not None else None
        waits = (
            ": waits"
            if seconds is None
            else f": waits {span_text(seconds)}"
            if seconds >= SHORTEST
            else ""
        )
        reason = (
            incident.reason
            if incident.waiting_for != "for"
            else "if it still is then, it is treated"
        )
        self._say(
            "info",
            "incident_waits",
            incident,
            f"{_subject(incident)}{waits}: {shown(reason or incident.waiting_for)}",
        )

    def _closed(self, incident: Incident, before: Incident | None) -> None:
        if before is not None and before.state == "closed" and incident.count == before.count:
            return
        if incident.outcome == "suppressed" and not self._worth_saying(incident):
            return
        seconds = (incident.closed_at or incident.opened_at) - incident.opened_at
        what = _subject(incident)
        name = shown(incident.object_name or incident.target, 128)
        reason = shown(incident.reason)
        times = f" ({incident.count} times)" if incident.count > 1 else ""
        because = f": {reason}" if reason else ""
        level, text = {
            "healed": ("info", f"{name} healed{_took(seconds)}"),
            "done": ("info", f"{name}: done{_took(seconds)}"),
            "failed": ("error", f"{name} did not heal{because}"),
            "recovered": (
                "info",
                f"{name} {reason if reason.startswith('recovered') else f'recovered{because}'}",
            ),
            "suppressed": ("info", f"{what}: nothing is done{because}{times}"),
            "interrupted": ("warning", f"{what}: interrupted{because}"),
            "dry_run": ("info", f"{what}{because or ': dry run'}"),
            "on_purpose": ("info", f"{name}: left alone{because}"),
        }[incident.outcome or "done"]
        self._say(level, "incident_closed", incident, f"{text} (rule {shown(incident.rule, 128)})")

    def _worth_saying(self, incident: Incident) -> bool:
        """The first of its kind, then once in a while: the same suppression can come a thousand
        times a minute."""
        if incident.count in _TENS:
            return True
        key = (incident.rule, incident.target, incident.reason_code)
        now = incident.updated_at or incident.opened_at
        last = self._suppressed.get(key)
        if last is not None and 0 <= now - last < _FOLD:
            return False
        self._suppressed[key] = now
        self._suppressed.move_to_end(key)
        if len(self._suppressed) > _REMEMBERED:
            self._suppressed.popitem(last=False)
        return True

    def _remember(self, incident: Incident) -> None:
        if incident.state == "closed" and (
            incident.id not in self._told or self._told[incident.id].state != "closed"
        ):
            self._over.append(incident.id)
            if len(self._over) > _CLOSED:
                self._told.pop(self._over.popleft(), None)
        self._told[incident.id] = incident
        self._told.move_to_end(incident.id)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)

    def _say(self, level: str, event_id: str, incident: Incident, text: str) -> None:
        about = {
            "rule": incident.rule,
            "target": incident.target,
            "trigger": incident.trigger,
            "state": incident.state,
            "outcome": incident.outcome,
            "reason_code": incident.reason_code or None,
            "attempts": incident.attempts,
            "origin": incident.origin,
            "severity": incident.severity,
        }
        getattr(self._log, level)(text, id=event_id, incident=incident.id, about=about)


def _subject(incident: Incident) -> str:
    """The object and what happened to it; if a person asked for it, nothing has to have
    happened."""
    name = shown(incident.object_name or incident.target, 128)
    if incident.actor:
        return f"{name} (asked for by {shown(incident.actor, 64)})"
    return f"{name} {_words(incident.trigger, incident.network)}"


def _took(seconds: float) -> str:
    return f" in {seconds:.1f} s" if seconds >= SHORTEST else ""


def _words(trigger: str, network: str | None) -> str:
    if trigger == "container.network_lost" and network:
        return f"lost network {shown(network, 128)}"
    return WORDS.get(trigger, f"({shown(trigger, 128)})")
