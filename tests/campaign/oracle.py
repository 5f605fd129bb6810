"""The judge: what the engine shows, what the relay and the event log saw, and what the journal says must agree.

It shares no code with dockmend. The journal is read with sqlite3, read-only; the engine through its API; who did what
comes from the relay (dockmend's calls) and the ledger (the driver's acts).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from . import fleet
from .driver import Driver
from .fleet import Slot
from .ledger import Act, Intent
from .plan import TROUBLES
from .witness import Request

QUIET_WITHIN = 60.0
"""Seconds after the last fault within which everything is to be well, or suppressed for a reason that holds."""
RING = 250
"""Events after which the engine's memory of 256 may no longer hold what came before."""
PERSISTED = 1.5
"""Seconds after which what dockmend saw is on its disk."""
ON_PURPOSE = 600.0
STARTING = ("start", "restart", "unpause")
DOING = ("restart", "start", "connect")


@dataclass
class Finding:
    kind: str  # missed, double, touched, leftover, limit, journal, fault
    text: str


@dataclass
class Verdict:
    """What a round came to."""

    findings: list[Finding] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    suppressed: dict[str, str] = field(default_factory=dict)  # slot -> reason
    states: dict[str, str] = field(default_factory=dict)


class Journal:
    """The journal's rows as they are, by sqlite3 alone."""

    def __init__(self, path: str) -> None:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            self.incidents = [json.loads(body) for (body,) in connection.execute("SELECT body FROM incidents")]
            self.actions = [json.loads(body) for (body,) in connection.execute("SELECT body FROM actions")]


class Oracle:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.ledger = driver.ledger
        self._touches_known: set[int] = set()
        self._doubles_known: set[int] = set()
        self._records_known: set[str] = set()
        self._requests_known: set[int] = set()
        self._log_read = 0
        self.heal_times: list[float] = []
        self.healed: list[tuple[Request, str]] = []  # effective calls, and the slot

    # --- waiting ------------------------------------------------------------------------------------------------

    def settle(self) -> tuple[dict[str, dict[str, Any]], Journal]:
        """Waits until all is well and nothing is under way, or the time is up; returns the last look."""
        end = time.monotonic() + QUIET_WITHIN
        calm_since = time.monotonic()
        while True:
            looks = {slot.key: self.driver.inspect(slot) for slot in self.driver.slots}
            journal = self.journal()
            busy = [row for row in journal.incidents if row["state"] in {"acting", "verifying"}]
            busy += [row for row in journal.actions if row.get("ended_at") is None]
            unwell = [slot for slot in self.driver.slots if self._wrong(slot, looks[slot.key], journal)]
            if busy or unwell:
                calm_since = time.monotonic()
            if time.monotonic() - calm_since > 3.5 or time.monotonic() > end:
                return looks, journal
            time.sleep(0.25)

    def journal(self) -> Journal:
        return Journal(str(self.driver.daemon.state / "journal.sqlite3"))

    def _wrong(self, slot: Slot, seen: dict[str, Any], journal: Journal) -> bool:
        return not fleet.well(slot, seen) and slot.covered and not self._accepted(slot, seen, journal)[0]

    # --- the round's verdict ------------------------------------------------------------------------------------

    def judge(self) -> Verdict:
        looks, journal = self.settle()
        verdict = Verdict()
        for slot in self.driver.slots:
            seen = looks[slot.key]
            health = (seen["State"].get("Health") or {}).get("Status", "")
            verdict.states[slot.key] = f"{seen['State']['Status']} {health}".strip()
            if not fleet.well(slot, seen) and slot.covered:
                accepted, reason = self._accepted(slot, seen, journal)
                if accepted:
                    verdict.suppressed[slot.key] = reason
                else:
                    kind = "leftover" if seen["State"]["Status"] == "paused" else "missed"
                    verdict.findings.append(Finding(kind, f"{slot.key} is {verdict.states[slot.key]}: {reason}"))
        self._touched(verdict)
        self._twice(verdict)
        self._limits(verdict)
        self._leftovers(verdict, journal)
        self._complete(verdict, journal)
        self._faults(verdict)
        return verdict

    # --- nothing missed -----------------------------------------------------------------------------------------

    def _accepted(self, slot: Slot, seen: dict[str, Any], journal: Journal) -> tuple[bool, str]:
        """Whether a container that is not well may be as it is, and why (or why not)."""
        status, meant = seen["State"]["Status"], self.ledger.meant(slot.key)
        if status == "paused":
            return (meant in {"paused", "either"}, "paused by a person" if meant != "running" else "nobody paused it")
        if status in {"exited", "dead"} and meant in {"stopped", "either"}:
            return True, "stopped by a person"
        mine = [row for row in journal.incidents if row["object_id"] == slot.id]
        last = max(mine, key=lambda row: max(row["opened_at"], row.get("updated_at", 0.0)), default=None)
        if status == "running" and slot.networked and not fleet.placed(slot, seen):
            return self._disconnected(slot, last)
        if last is None:
            return False, "there is no incident"
        told = (
            f"{last['rule']} {last['state']} {last.get('outcome')} {last.get('reason_code', '')}: {last.get('reason')}"
        )
        if last.get("reason_code") in {"attempts", "breaker", "exhausted"}:
            return self._worn_out(slot), told
        if status == "exited" and slot.policy in {"always", "unless-stopped"} and self._unseen_end(slot):
            return True, "its end was not seen: counted as stopped by its restart policy"
        return False, told

    def _disconnected(self, slot: Slot, last: dict[str, Any] | None) -> tuple[bool, str]:
        """The second disconnect within ten minutes of dockmend's reconnect is a person's will."""
        seen = list(self.driver.events.of(slot.id, "disconnect"))
        if not seen:
            return False, "it was never disconnected"
        at = max(each.at for each in seen)
        mended = [
            each.answered or each.sent
            for each in self.driver.relay.changes(slot.id)
            if each.operation == "connect" and self.effective(each) and each.sent < at
        ]
        if mended and at - max(mended) <= ON_PURPOSE:
            return True, "disconnected on purpose"
        return False, f"its network, lost at {at:.3f}, was not given back: {last}"

    def _worn_out(self, slot: Slot) -> bool:
        """Whether as many attempts as are allowed were really made; a half-open breaker tries only once more."""
        most, within = self._limit(slot)
        times = sorted(each.sent for each in self._of_target(slot) if each.operation in {"restart", "start"})
        return any(times[index + most - 1] - times[index] <= within for index in range(len(times) - most + 1))

    def _limit(self, slot: Slot) -> tuple[int, float]:
        tight = slot.tier == "tight"
        return (fleet.TIGHT_ATTEMPTS, fleet.TIGHT_WINDOW) if tight else (fleet.ATTEMPTS, fleet.WINDOW)

    def _of_target(self, slot: Slot) -> list[Request]:
        return self.driver.relay.changes(slot.id)

    def _unseen_end(self, slot: Slot) -> bool:
        ends = [each.at for each in self.driver.events.of(slot.id, "die")]
        return bool(ends) and self.blind(max(ends)) is not None

    # --- what dockmend could not know ---------------------------------------------------------------------------

    def blind(self, at: float) -> str | None:
        """Why dockmend could not learn of an event at that time; None where it could."""
        streams = [
            each for each in list(self.driver.relay.requests) if each.stream and each.answered and each.status == 200
        ]
        for stream in streams:
            held = (stream.answered or 0.0) <= at - 0.05 and at + 0.05 <= (stream.closed or float("inf"))
            if held and not self._out_between(at - 0.05, at + PERSISTED):
                return None
        again = min(
            (each.answered for each in streams if each.answered and each.answered > at + PERSISTED), default=None
        )
        if again is None:
            again = time.time()
        if self.ledger.engine_ended(at - 1.0, again):
            return "the engine ended and forgot its events"
        before = [each.at for each in list(self.driver.events.events) if each.at <= at]
        marker = max(before[:-1], default=at) if before else at
        if sum(1 for each in list(self.driver.events.all_times) if marker <= each <= again) >= RING:
            return "the engine's memory of 256 events had run over"
        return None

    def _out_between(self, begin: float, end: float) -> bool:
        return any(span.begin <= end and span.end >= begin for span in self.ledger.dockmend_out)

    # --- nobody's will overridden -------------------------------------------------------------------------------

    def _touched(self, verdict: Verdict) -> None:
        for slot in self.driver.slots:
            for request in self._of_target(slot):
                if id(request) in self._touches_known:
                    continue
                self._touches_known.add(id(request))
                if not slot.covered:
                    verdict.findings.append(Finding("touched", f"{slot.key} is to be ignored: {request.operation}"))
                for intent in self.ledger.intents.get(slot.key, ()):
                    if intent.since + 0.3 < request.sent < intent.until:
                        self._against(verdict, slot, request, intent)

    def _against(self, verdict: Verdict, slot: Slot, request: Request, intent: Intent) -> None:
        """A call that came while a person's will was known."""
        if intent.act is None or intent.overridden or intent.meant not in {"stopped", "paused"}:
            return
        if request.operation not in STARTING or request.status == 304:
            return
        intent.overridden = True
        text = (
            f"{slot.key} was {intent.meant} by a person at {intent.since:.3f} ({intent.act.kind}), and dockmend sent "
            f"{request.operation} {request.sent - intent.since:.1f} s later"
        )
        why = self.blind(intent.act.begin) or self.blind(intent.act.end)
        if why is not None and intent.meant == "stopped":
            verdict.excused.append(f"{text}: {why}")
        else:
            verdict.findings.append(Finding("touched", text))
        if intent.until == float("inf"):
            intent.meant = "either"

    # --- nothing twice ------------------------------------------------------------------------------------------

    def effective(self, request: Request) -> bool:
        """Whether the engine did it: it said so, or its caller died and the event came all the same."""
        if request.operation not in DOING:
            return False
        if request.status is not None:
            return request.status in {200, 204}
        until = request.sent + 15.0
        seen = self.driver.events.of(request.container, request.operation, since=request.sent, until=until)
        return next(seen, None) is not None

    def _twice(self, verdict: Verdict) -> None:
        """Each thing done needs a trouble of its own: one that came after what was done before was begun."""
        for slot in self.driver.slots:
            done = [each for each in self._of_target(slot) if self.effective(each)]
            for index, request in enumerate(done):
                if id(request) in self._doubles_known:
                    continue
                self._doubles_known.add(id(request))
                before = done[index - 1].sent if index else slot.born
                trouble = self._trouble_between(slot, before, request)
                if trouble is None:
                    text = (
                        f"{slot.key}: {request.operation} at {request.sent:.3f} answers no trouble after {before:.3f}"
                    )
                    verdict.findings.append(Finding("double", text))
                    continue
                self.healed.append((request, slot.key))
                self.heal_times.append(max(0.0, (request.answered or request.sent) - trouble))
                begun = request.sent - trouble
                verdict.healed.append(
                    f"{slot.key} {request.operation} {begun:.2f} + {self.heal_times[-1] - begun:.2f} s"
                )

    def _trouble_between(self, slot: Slot, begin: float, request: Request) -> float | None:
        """When what a request answers came up; None where nothing did."""
        own = [each for each in self._of_target(slot) if each is not request and each.operation in {"restart", "stop"}]
        found = [act.end for act in self.ledger.of(slot.key, *TROUBLES, since=begin, until=request.sent)]
        for event in self.driver.events.of(slot.id, since=begin, until=request.sent):
            bad = event.action == "health_status: unhealthy" or (
                event.action in {"die", "disconnect"} and not any(each.overlaps(event.at, event.at) for each in own)
            )
            if bad:
                found.append(event.at)
        found += [span.end for span in self.ledger.engine_out if span.end >= begin and span.begin <= request.sent]
        return max(found, default=None)

    # --- limits, leftovers, the journal -------------------------------------------------------------------------

    def _limits(self, verdict: Verdict) -> None:
        deaths = [span.begin for span in self.ledger.dockmend_out if span.death]
        every: list[float] = []
        for slot in self.driver.slots:
            most, within = self._limit(slot)
            for operation in ("restart", "start"):
                times = [
                    each.sent for each in self._of_target(slot) if each.operation == operation and self.effective(each)
                ]
                every += times
                self._within(verdict, f"{operation} of {slot.key}", times, most, within, deaths)
        self._within(verdict, "actions on the host", every, fleet.BUDGET, fleet.BUDGET_WINDOW, deaths)

    def _within(
        self, verdict: Verdict, what: str, times: Iterable[float], most: int, within: float, deaths: list[float]
    ) -> None:
        """One more is allowed for each death of dockmend: what it left half-done is finished at its return."""
        ordered = sorted(times)
        for begin in ordered:
            end = begin + within - 0.5
            count = sum(1 for each in ordered if begin <= each <= end)
            if count > most + sum(1 for death in deaths if begin - 5.0 <= death <= end):
                verdict.findings.append(Finding("limit", f"{what}: {count} within {within:.0f} s from {begin:.3f}"))
                return

    def _leftovers(self, verdict: Verdict, journal: Journal) -> None:
        driver = self.driver
        known = {slot.id for slot in driver.slots}
        for row in driver.engine.api("GET", "/containers/json?all=1")[1]:
            if row["Id"] not in known:
                verdict.findings.append(
                    Finding("leftover", f"container {row['Names']} {row['Labels']} {row['Status']}")
                )
        kept: list[str] = []
        for row in driver.engine.api("GET", "/images/json")[1]:
            tags = row.get("RepoTags") or ["<none>"]
            kept += [tag for tag in tags if tag.startswith("kept:")]
            if strange := [tag for tag in tags if not tag.startswith(("toolbox:", "dockmend", "kept:"))]:
                verdict.findings.append(Finding("leftover", f"image {strange}"))
        if len(kept) > fleet.KEEP:
            verdict.findings.append(
                Finding("leftover", f"{len(kept)} images where {fleet.KEEP} are to be kept: {kept}")
            )
        for path in (driver.daemon.state / "snapshots").rglob("*"):
            if path.is_file() and any(
                part.startswith((".", "tmp")) or part.endswith((".tmp", ".part", ".partial"))
                for part in path.parts[-2:]
            ):
                verdict.findings.append(Finding("leftover", f"file {path.relative_to(driver.daemon.state)}"))
        for row in journal.actions:
            if row.get("ended_at") is None:
                verdict.findings.append(Finding("leftover", f"open action {row['action']} of {row['object_name']}"))
        for row in journal.incidents:
            if row["state"] in {"acting", "verifying"}:
                verdict.findings.append(
                    Finding("leftover", f"incident {row['id']} of {row['object_name']} is {row['state']}")
                )

    def _complete(self, verdict: Verdict, journal: Journal) -> None:
        """Every call is in the journal, and nothing is called done that the engine did not see."""
        relay = self.driver.relay
        for request in relay.changes():
            if id(request) in self._requests_known or not self.effective(request):
                continue
            self._requests_known.add(id(request))
            if not any(_covers(row, request) for row in journal.actions):
                text = f"{request.operation} of {self._name(request.container)} at {request.sent:.3f} is not in it"
                verdict.findings.append(Finding("journal", text))
        for row in journal.actions:
            if row["id"] in self._records_known or row.get("ended_at") is None:
                continue
            self._records_known.add(row["id"])
            operation = {"restart": "restart", "start": "start", "reconnect_network": "connect"}.get(row["action"])
            if operation is None or row.get("outcome") != "done" or "already" in row.get("detail", ""):
                continue
            mine = relay.changes(row["object_id"])
            if not any(_covers(row, each) and each.operation in {operation, "start"} for each in mine):
                verdict.findings.append(
                    Finding("journal", f"{row['action']} of {row['object_name']} is called done: {row['detail']}")
                )

    def _faults(self, verdict: Verdict) -> None:
        """Whatever happens around it, dockmend itself has no fault: no traceback, no internal error in its log."""
        text = self.driver.daemon.text
        new, self._log_read = text[self._log_read :], len(text)
        for line in new.splitlines():
            if "Traceback" in line or "internal error" in line or "fault of dockmend" in line:
                verdict.findings.append(Finding("fault", line[:3000]))

    def _name(self, container: str) -> str:
        return next((slot.key for slot in self.driver.slots if slot.id == container), container[:12])

    # --- the table ----------------------------------------------------------------------------------------------

    def outcome_of(self, act: Act, verdict: Verdict) -> str:
        """What became of a trouble: asked after the round it fell into."""
        if any(key == act.slot and request.sent >= act.begin for request, key in self.healed):
            return "healed"
        if act.slot in verdict.suppressed:
            return f"suppressed: {verdict.suppressed[act.slot].partition(':')[0]}"
        slot = next(slot for slot in self.driver.slots if slot.key == act.slot)
        if not slot.covered:
            return "left alone (ignored)"
        others = [
            each
            for each in self.ledger.acts
            if each.slot == act.slot and each.number != act.number and each.end >= act.begin
        ]
        if any(each.kind.startswith(("person", "restore")) for each in others):
            return "ended by a person"
        if self.ledger.engine_ended(act.begin - 5.0, time.time()):
            return "ended by the engine's restart"
        return "recovered by the engine's policy" if slot.policy != "no" else "recovered"


def _covers(row: dict[str, Any], request: Request) -> bool:
    """Whether a record of the journal tells of a call: the same container, and its time."""
    if row["object_id"] != request.container:
        return False
    return bool(row["began_at"] - 0.5 <= request.sent <= (row.get("ended_at") or float("inf")) + 0.5)
