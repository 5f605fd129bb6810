"""The judge: what the engine shows, what the relay and the event log saw, and what the journal says
must agree.

It shares no code with dockmend. The journal is read with sqlite3, read-only; the engine through its
API; who did what comes from the relay (dockmend's calls) and the ledger (the driver's acts). What
must be true whatever was done is in `invariants`; here is what became of each container.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from . import fleet
from .along import Along
from .driver import Driver
from .fleet import Slot
from .invariants import GIVEN_UP, POLL, Invariants
from .ledger import Act, Intent
from .lost_networks import LostNetworks
from .plan import TROUBLES
from .record import Journal
from .relay import Request
from .verdict import Verdict

QUIET_WITHIN = 60.0
"""Seconds after the last fault within which everything is to be well, or suppressed for a reason
that holds."""
BUSY_FOR, QUIET_AT_LAST = 20.0, 180.0
"""Seconds after a call of dockmend's about a container that is not well in which it is still being
treated: on a machine that is busy three tries take longer than QUIET_WITHIN. Seconds after which
that is no excuse."""
GOES_DOWN = 1.0
"""Seconds before the engine's end within which dockmend may not have looked who stopped a
container."""
CALM = 1.0
"""Seconds for which nothing is under way and nobody unwell before a round is judged."""
RING, CHANNEL = 250, 1000
"""Events after which the engine's memory of 256, its channel of 1,024, may no longer hold what came
before."""
PERSISTED = 1.5
"""Seconds after which what dockmend saw is on its disk."""
BESIDE = 5.0
"""Seconds between an end and what dockerd's log says of it, and more than a run lasts that the
engine tears down."""
BLINK = 1.0
"""Seconds that a look takes, at the most, on a machine that is busy."""
UNHEARD = "there is no incident: it was made as the engine went down"
UNSEEN = "its end was not seen: counted as stopped by its restart policy"
UNKNOWN = (UNHEARD, UNSEEN)
"""Why a container may be left down although nobody stopped it, unless the engine's own record says
that nobody did."""
STARTING = ("start", "restart", "unpause")
OWNERS = (
    "owner_crash", "owner_restart", "owner_recreate", "owner_replace_twice", "owner_replace_down",
    "owner_replace_acting", "owner_start",
)  # fmt: skip
DOING = ("restart", "start", "connect")
DONE = (200, 204)
DONE_WITHIN = 15.0
"""Seconds within which the engine has done what was asked of it, if it does it at all."""
SAID_BY = {"start": ("start", "restart")}
"""Calls that the engine says an event of, where not only the call of that name: a restart says
`start` as well."""


class Oracle:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.ledger = driver.ledger
        self.journal = Journal(driver.daemon.state / "journal.sqlite3")
        self._touches_known: set[int] = set()
        self._doubles_known: set[int] = set()
        self.heal_times: list[float] = []
        self.healed: dict[str, list[Request]] = {}  # effective calls by slot
        self.along = Along(driver, self.effective)
        self.lost_networks = LostNetworks(driver, self.effective, self._could_look)
        self._invariants = Invariants(driver, self.journal, self.effective)

    # --- waiting ----------------------------------------------------------------------------------

    def settle(self) -> dict[str, dict[str, Any]]:
        """Waits until all is well and nothing is under way, or the time is up; returns the last
        look."""
        begun = calm_since = time.monotonic()
        while True:
            looks = {slot.key: self.driver.inspect(slot) for slot in self.driver.slots}
            restless = [slot for slot in self.driver.slots if self._wrong(slot, looks[slot.key])]
            now = time.monotonic()
            if restless or self.journal.under_way(time.time() + CALM):
                calm_since = now
            limit = QUIET_AT_LAST if self._treated(restless, time.time()) else QUIET_WITHIN
            if now - calm_since > CALM or now - begun > limit:
                return looks
            time.sleep(POLL)

    def _treated(self, restless: Sequence[Slot], now: float) -> bool:
        """Whether dockmend is in the middle of doing something about each that is not well."""
        return bool(restless) and all(
            any(
                now - (each.answered or each.sent) < BUSY_FOR
                for each in self.driver.relay.changes(slot.id)[-1:]
            )
            for slot in restless
        )

    def _wrong(self, slot: Slot, seen: dict[str, Any]) -> bool:
        return (
            self._is_judged(slot)
            and not self.driver.well(slot, seen)
            and not self._accepted(slot, seen)[0]
        )

    def _is_judged(self, slot: Slot) -> bool:
        return slot.covered or self.along.demanded(slot)

    # --- the round's verdict ----------------------------------------------------------------------

    def judge(self) -> Verdict:
        looks, calm_at = self.settle(), time.time()
        verdict = Verdict()
        for slot in self.driver.slots:
            seen = looks[slot.key]
            health = (seen["State"].get("Health") or {}).get("Status", "")
            verdict.states[slot.key] = f"{seen['State']['Status']} {health}".strip()
            if self._is_judged(slot) and not self.driver.well(slot, seen):
                accepted, reason = self._accepted(slot, seen)
                if accepted and reason in UNKNOWN and self.driver.signalled(seen) is False:
                    verdict.found(
                        "left_down",
                        f"{slot.key} is {verdict.states[slot.key]}: {reason}, and nobody did",
                    )
                elif accepted:
                    verdict.suppressed[slot.key] = reason
                else:
                    kind = "leftover" if seen["State"]["Status"] == "paused" else "missed"
                    verdict.found(kind, f"{slot.key} is {verdict.states[slot.key]}: {reason}")
        for slot in self.driver.slots:
            for container, born in slot.born.items():
                self._touched(verdict, slot, container)
                self._twice(verdict, slot, container, born)
        self._invariants.check(verdict, calm_at)
        return verdict

    # --- nothing missed ---------------------------------------------------------------------------

    def _accepted(self, slot: Slot, seen: dict[str, Any]) -> tuple[bool, str]:
        """Whether a container that is not well may be as it is, and why (or why not)."""
        status, meant = seen["State"]["Status"], self.ledger.meant(slot.key)
        if status == "paused":
            return (
                meant in {"paused", "either"},
                "paused by a person" if meant != "running" else "nobody paused it",
            )
        if status in {"exited", "dead"} and meant in {"stopped", "either"}:
            return True, "stopped by a person"
        incidents = self.journal.of(slot.id)
        last = incidents[-1] if incidents else None
        if status == "running" and slot.networked and not fleet.placed(slot, seen):
            return self.lost_networks.accepted(slot, seen, last)
        if slot.owner is not None and self._is_down_for_a_reason(slot.owner):
            return True, f"the network of {slot.owner.key} is waited for"
        if self.along.left_by_second(slot):
            return (
                True,
                "only the second dockmend, which ended before it came to it, knows that it is owed",
            )
        if last is None:
            return self._unheard_of(slot), UNHEARD
        told = _told(last)
        if last.get("reason_code") in GIVEN_UP:
            return self._invariants.worn_out(slot), told
        if (
            status == "running"
            and (given_up := self._given_up_since_its_start(seen, incidents)) is not None
        ):
            return self._invariants.worn_out(slot), _told(given_up)
        why = self._by_its_policy(slot, seen)
        return why is not None, why or told

    def _by_its_policy(self, slot: Slot, seen: dict[str, Any]) -> str | None:
        """Why its restart policy leaves it as it is, without a trouble for dockmend; None where it
        does not."""
        state = seen["State"]
        if (
            state["Status"] == "exited"
            and slot.policy in {"always", "unless-stopped"}
            and self._unseen_end(slot)
        ):
            return UNSEEN
        if slot.policy != "no" and self._torn_by_the_engine(slot, state):
            return "the engine ends what its own restart policy starts"
        return None

    def _torn_by_the_engine(self, slot: Slot, state: dict[str, Any]) -> bool:
        """Whether the engine goes on starting it, and says of the run that ended last that it fell
        over it.

        Why it does so is not known. It is over two seconds after each start, also after one by
        hand: who has run for longer, or is not started any more, is not torn.
        """
        if state["Status"] not in {"running", "restarting"}:
            return False
        began = datetime.fromisoformat(state["StartedAt"]).timestamp()
        if state["Status"] == "running" and time.time() - began > BESIDE:
            return False
        ended = max((each.at for each in self.driver.events.of(slot.id, "die")), default=0.0)
        line = rf'^time="(\S+)".*cannot delete running task {slot.id}'
        said = re.finditer(line, self.driver.engine.log, re.MULTILINE)
        return any(
            abs(datetime.fromisoformat(each[1]).timestamp() - ended) < BESIDE for each in said
        )

    def _given_up_since_its_start(
        self, seen: dict[str, Any], incidents: list[dict[str, Any]]
    ) -> dict[str, Any] | None:
        """What was given up of the run that stands; a rule that only starts goes on beside it, and
        cannot help."""
        begun = datetime.fromisoformat(seen["State"]["StartedAt"]).timestamp()
        since = [
            each
            for each in incidents
            if each.get("reason_code") in GIVEN_UP and each["updated_at"] > begun
        ]
        return since[-1] if since else None

    def _is_down_for_a_reason(self, owner: Slot) -> bool:
        seen = self.driver.inspect(owner)
        return seen["State"]["Status"] in {"exited", "dead"} and self._accepted(owner, seen)[0]

    def _unheard_of(self, slot: Slot) -> bool:
        """Whether it was made just before the engine ended, or while dockmend was away until then:
        who never saw it run knows of no trouble."""
        born = slot.born[slot.id]
        return any(
            born <= span.begin
            and (span.begin <= born + BLINK or not self._could_look(born, span.begin))
            for span in self.ledger.engine_out
        )

    def _could_look(self, begin: float, end: float) -> bool:
        """Whether dockmend was there at some time between the two, and not only for the blink of an
        eye."""
        if any(
            span.begin <= begin + BLINK and span.end >= end - BLINK
            for span in self.ledger.dockmend_out
        ):
            return False
        streams = [
            each for each in list(self.driver.relay.streams) if each.answered and each.status == 200
        ]
        return any(
            (each.answered or 0.0) + BLINK < end and (each.closed or float("inf")) > begin + BLINK
            for each in streams
        )

    def _unseen_end(self, slot: Slot) -> bool:
        ends = [each.at for each in self.driver.events.of(slot.id, "die")]
        return bool(ends) and self.blind(slot.id, max(ends)) is not None

    # --- what dockmend could not know -------------------------------------------------------------

    def blind(self, container: str, at: float, by: str = "") -> str | None:
        """Why dockmend (the second one, where that is asked for) could not learn of an event at
        that time; None where it could."""
        relay, log = self.driver.second_relay if by else self.driver.relay, self.driver.events
        if any(each.container == container and abs(each.at - at) < 1.0 for each in relay.spoilt):
            return "its event was made unreadable on the way"
        if self.ledger.engine_ended(at, at + GOES_DOWN):
            return (
                "the engine ended within a second of it: what it stops as it goes down looks "
                "the same"
            )
        late = max((span.end - at for span in relay.late if span.meets(at, at)), default=0.0)
        streams = [each for each in list(relay.streams) if each.answered and each.status == 200]
        for stream in streams:
            held = (stream.answered or 0.0) <= at - 0.05 and at + 0.05 + late <= (
                stream.closed or float("inf")
            )
            if held and (by or not self.ledger.dockmend_missing(at - 0.05, at + PERSISTED + late)):
                return None
            if held and not any(
                span.death and span.meets(at - 0.05, at + PERSISTED + late) for span in self._out()
            ):
                frozen = next(
                    span for span in self._out() if span.meets(at - 0.05, at + PERSISTED + late)
                )
                lost = log.in_channel(frozen.begin, min(frozen.end, time.time())) >= CHANNEL
                return "the engine's channel of 1,024 events had run over" if lost else None
        again = min(
            (
                each.answered
                for each in streams
                if each.answered and each.answered > at + PERSISTED and _lasted(each)
            ),
            default=time.time(),
        )
        if self.ledger.engine_ended(at - 1.0, again):
            return "the engine ended and forgot its events"
        if log.in_ring(log.last_before(at), again) >= RING:
            return "the engine's memory of 256 events had run over"
        return None

    def _out(self) -> list[Any]:
        return self.ledger.dockmend_out

    # --- nobody's will overridden -----------------------------------------------------------------

    def _touched(self, verdict: Verdict, slot: Slot, container: str) -> None:
        for request in self.driver.relay.changes(container):
            if id(request) in self._touches_known:
                continue
            self._touches_known.add(id(request))
            if not slot.covered and not self.along.belongs(slot, request):
                verdict.found("touched", f"{slot.key} is to be ignored: {request.operation}")
            for intent in self.ledger.intents.get(slot.key, ()):
                if intent.since + 0.3 < request.sent < intent.until:
                    self._against(verdict, slot, request, intent)

    def _against(self, verdict: Verdict, slot: Slot, request: Request, intent: Intent) -> None:
        """A call that came while a person's will was known."""
        if intent.act is None or intent.overridden or intent.meant not in {"stopped", "paused"}:
            return
        if request.operation not in STARTING or request.status == 304:
            return
        ended = self.driver.events.of(
            request.container, "die", since=intent.act.begin, until=request.sent
        )
        if intent.meant == "paused" and any(ended):
            return  # it crashed in the same moment: what has ended is not paused any more
        intent.overridden = True
        text = (
            f"{slot.key} was {intent.meant} by a person at {intent.since:.3f} ({intent.act.kind}), "
            f"and dockmend sent {request.operation} {request.sent - intent.since:.1f} s later"
        )
        begin, end = (
            self.blind(request.container, at, request.by)
            for at in (intent.act.begin, intent.act.end)
        )
        why = begin or end
        if why is not None and intent.meant == "stopped" and not intent.act.recorded:
            verdict.excused.append(f"{text}: {why}")
        else:
            verdict.found("touched", text)
        if intent.until == float("inf"):
            intent.meant = "either"

    # --- nothing twice ----------------------------------------------------------------------------

    def effective(self, request: Request) -> bool:
        """Whether the engine did it: it said so, or its answer was lost and an event is left that
        is its own.

        One event tells of one call, and the engine does them one after the other. So from the last
        call on each takes its event: what was cut is tried again, and the event of the second try
        says nothing of the first.
        """
        if request.operation not in DOING:
            return False
        if request.status is not None:
            return request.status in DONE
        told = [
            each.at
            for each in self.driver.events.of(
                request.container, request.operation, since=request.sent
            )
        ]
        saying, taken = SAID_BY.get(request.operation, (request.operation,)), float("inf")
        for call in reversed(self.driver.relay.changes(request.container)):
            if call.operation not in saying:
                continue
            its = [at for at in told if call.sent <= at < min(taken, call.sent + DONE_WITHIN)]
            if call is request:
                return bool(its)
            if call.status is None:
                taken = min(its, default=taken)
            elif call.status in DONE:
                taken = max((at for at in its if at <= (call.answered or taken)), default=call.sent)
        return False

    def _twice(self, verdict: Verdict, slot: Slot, container: str, born: float) -> None:
        """Each thing done needs a trouble of its own: one that came after what was done before was
        begun."""
        done = [each for each in self.driver.relay.changes(container) if self.effective(each)]
        for index, request in enumerate(done):
            if id(request) in self._doubles_known:
                continue
            self._doubles_known.add(id(request))
            # What dockmend made anew answers a trouble of the container before it.
            # A start does not answer a lost network, and a connect does not answer an end.
            network = request.operation == "connect"
            last = next(
                (
                    each
                    for each in reversed(done[:index])
                    if (each.operation == "connect") == network
                ),
                None,
            )
            before = last.sent if last is not None else 0.0 if slot.remade else born
            trouble = self._trouble_between(slot, container, before, request)
            if trouble is None:
                text = (
                    f"{slot.key}: {request.operation} at {request.sent:.3f} answers no "
                    f"trouble after {before:.3f}"
                )
                verdict.found("double", text)
                continue
            self.healed.setdefault(slot.key, []).append(request)
            self.heal_times.append(max(0.0, (request.answered or request.sent) - trouble))
            begun = request.sent - trouble
            verdict.healed.append(
                f"{slot.key} {request.operation} {begun:.2f} + {self.heal_times[-1] - begun:.2f} s"
            )

    def _trouble_between(
        self, slot: Slot, container: str, begin: float, request: Request
    ) -> float | None:
        """When what a request answers came up; None where nothing did."""
        every = self.driver.relay.changes(container)
        own = [
            each for each in every if each is not request and each.operation in {"restart", "stop"}
        ]
        found = [
            act.end
            for act in self.ledger.of(slot.key, *TROUBLES, *OWNERS, since=begin, until=request.sent)
        ]
        for event in self.driver.events.of(container, since=begin, until=request.sent):
            bad = event.action == "health_status: unhealthy" or (
                event.action in {"die", "disconnect"}
                and not any(each.overlaps(event.at, event.at) for each in own)
            )
            if bad:
                found.append(event.at)
        if slot.base is not None:
            found += [
                act.end
                for act in self.ledger.of(slot.base.key, *TROUBLES, since=begin, until=request.sent)
            ]
        if slot.owner is not None:
            found += [
                act.end
                for act in self.ledger.of(slot.owner.key, *OWNERS, since=begin, until=request.sent)
            ]
            lives = [self.driver.events.of(each, "start", since=begin) for each in slot.owner.born]
            found += [event.at for event in chain.from_iterable(lives) if event.at <= request.sent]
        found += [span.end for span in self.ledger.engine_out if span.meets(begin, request.sent)]
        return max(found, default=None)

    # --- the table --------------------------------------------------------------------------------

    def outcome_of(self, act: Act, verdict: Verdict) -> str:
        """What became of a trouble: asked after the round it fell into."""
        slot = self.driver.by_key(act.slot)
        if not slot.covered:
            return "left alone (ignored)"
        if any(request.sent >= act.begin for request in self.healed.get(act.slot, ())):
            return "healed"
        if act.slot in verdict.suppressed:
            return f"suppressed: {_reason(verdict.suppressed[act.slot])}"
        if any(
            each.kind.startswith(("person", "restore"))
            for each in self.ledger.others(act.slot, act)
        ):
            return "ended by a person"
        if self.ledger.engine_ended(act.begin - 5.0, time.time()):
            return "ended by the engine's restart"
        return "recovered by the engine's policy" if slot.policy != "no" else "recovered"


def _lasted(stream: Request) -> bool:
    """Whether a stream was there for so long that what it told is on disk."""
    return (stream.closed or float("inf")) - (stream.answered or 0.0) > PERSISTED


def _told(row: dict[str, Any]) -> str:
    return (
        f"{row['rule']} {row['state']} {row.get('outcome')} {row.get('reason_code', '')}: "
        f"{row.get('reason')}"
    )


def _reason(told: str) -> str:
    """The journal's code, or the sentence before the colon."""
    words = told.partition(":")[0].split()
    return words[3] if len(words) == 4 and words[1] == "closed" else " ".join(words)
