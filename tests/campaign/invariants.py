"""What must hold whatever was done: no limit exceeded, nothing left behind, the journal complete,
no fault."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from tests.lab import NeverHappenedError, eventually

from . import fleet
from .cut_off import CutOff
from .driver import Driver
from .fleet import Slot
from .record import Journal, Row
from .relay import Request
from .turns import Turns
from .verdict import Verdict

LIMITED = ("restart", "start")
RECORDED_AS = {"restart": "restart", "start": "start", "reconnect_network": "connect"}
HELPER = "dockmend.helper"
UNFINISHED = (".tmp", ".part", ".partial")
FAULTS = ("Traceback", "internal error", "fault of dockmend")
GIVEN_UP = {"attempts", "breaker", "exhausted"}
PROVES_WITHIN = 300.0
"""Seconds in which dockmend knows of a loop of at most a minute that it is over, a death of
dockmend included."""
POLL = 0.2
"""Seconds between two looks of one who waits until all is calm."""
HELPERS_GO = 20.0
"""Seconds for a helper whose removal was refused: dockmend asks again after 2, 4 and 8 s, and goes
on."""
CLOCKS = 0.5
"""Seconds by which the journal's times and the relay's may differ."""


class Invariants:
    def __init__(
        self, driver: Driver, journal: Journal, effective: Callable[[Request], bool]
    ) -> None:
        self.driver = driver
        self.journal = journal
        self.effective = effective
        self._records_known: set[str] = set()
        self._failures_known: set[str] = set()
        self._requests_known: set[int] = set()
        self._turns = Turns(driver)
        self._second = Journal(driver.second.state / "journal.sqlite3")
        self._cut_off = CutOff(driver, journal, self._second)
        self._log_read = 0
        self._breaches: set[str] = set()
        self._passed: set[int] = set()

    def check(self, verdict: Verdict, calm_at: float) -> None:
        """`calm_at`: when nothing was under way; what began since is judged after the next
        round."""
        while self.driver.ledger.undone:
            verdict.found("touched", self.driver.ledger.undone.pop())
        self._limits(verdict)
        self._leftover_objects(verdict)
        self._leftover_files(verdict)
        self._leftover_work(verdict, calm_at - POLL)
        self._complete(verdict)
        self._owners_stopped(verdict)
        self._faults(verdict)
        self._turns.check(verdict)
        self._told(verdict)
        self._left_alone(verdict)

    def _left_alone(self, verdict: Verdict) -> None:
        """Nothing is done to what nobody asked dockmend to care for: one-offs, and what is only
        there to be removed."""
        for container, what in self.driver.passing.items():
            for request in self.driver.relay.changes(container):
                if id(request) not in self._passed:
                    self._passed.add(id(request))
                    verdict.found("touched", f"{what} ({container[:12]}): {request.operation}")

    def _owners_stopped(self, verdict: Verdict) -> None:
        """For the guests of an owner that a person stopped nothing has failed."""
        for slot in self.driver.slots:
            since = self.driver.ledger.stopped_since(slot.key)
            if since is None or self.driver.ledger.engine_ended(since - 1.0, time.time()):
                continue
            guests = [guest for guest in self.driver.slots if guest.owner is slot]
            for row in (row for guest in guests for row in self.journal.of(guest.id)):
                failed = (
                    row.get("outcome") == "failed" and (row.get("closed_at") or 0.0) > since + 1.0
                )
                if failed and row["id"] not in self._failures_known:
                    self._failures_known.add(row["id"])
                    verdict.found(
                        "journal",
                        f"{slot.key} was stopped by a person, and {row['id']} failed: {row}",
                    )

    # --- limits -----------------------------------------------------------------------------------

    def worn_out(self, slot: Slot) -> bool:
        """Whether as many attempts as are allowed were really made; a half-open breaker tries only
        once more."""
        most, within = _limit(slot)
        # What the relay refused was an attempt, too.
        times = sorted(
            each.sent for container in slot.born for each in self.driver.relay.changes(container)
            if each.operation in {"restart", "start", "connect", "pause"}
        )  # fmt: skip
        return any(
            times[index + most - 1] - times[index] <= within
            for index in range(len(times) - most + 1)
        )

    def _limits(self, verdict: Verdict) -> None:
        """Counted by target, which is the container's name, over all its containers and over deaths
        of dockmend.

        Each of two dockmends has attempts of its own: neither knows of the other's.
        """
        every: list[float] = []
        for slot in self.driver.slots:
            most, within = _limit(slot)
            for operation in LIMITED:
                times: dict[tuple[str, str], list[float]] = {}
                for container in slot.born:
                    for each in self.driver.relay.changes(container):
                        if each.operation == operation and self.effective(each):
                            every.append(each.sent)
                            times.setdefault((slot.called(each.sent), each.by), []).append(
                                each.sent
                            )
                for (name, _), sent in times.items():
                    if name:
                        self._within(verdict, f"{operation} of {name}", sent, most, within)
        self._within(verdict, "actions on the host", every, fleet.BUDGET, fleet.BUDGET_WINDOW)

    def _within(
        self, verdict: Verdict, what: str, times: Iterable[float], most: int, within: float
    ) -> None:
        """One more is allowed for each death of dockmend: what it left half-done is finished at its
        return."""
        deaths = [span.begin for span in self.driver.ledger.dockmend_out if span.death]
        ordered = sorted(times)
        for index in range(len(ordered) - most):
            begin, end = ordered[index], ordered[index] + within - 0.5
            count = (
                sum(1 for each in ordered[index:] if each <= end)
                if ordered[index + most] <= end
                else 0
            )
            if count > most + sum(1 for death in deaths if begin - 5.0 <= death <= end):
                text = f"{what}: {count} within {within:.0f} s from {begin:.3f}"
                if text not in self._breaches:
                    self._breaches.add(text)
                    verdict.found("limit", text)
                return

    # --- leftovers --------------------------------------------------------------------------------

    def _leftover_objects(self, verdict: Verdict) -> None:
        known = {slot.id: slot for slot in self.driver.slots}
        with contextlib.suppress(NeverHappenedError):  # then it is found
            eventually(
                lambda: not self._has_helpers(known),
                HELPERS_GO,
                what="the helpers are gone",
                every=POLL,
            )
        rows = self.driver.engine.api("GET", "/containers/json?all=1")[1]
        holders = {name.removeprefix("/"): row["Id"] for row in rows for name in row["Names"]}
        for row in rows:
            slot = known.get(row["Id"])
            if slot is None and (why := self._cut_off.why(row["Id"], holders)):
                verdict.aside.append(f"{row['Names']}: {why}")
            elif slot is None:
                verdict.found(
                    "leftover", f"container {row['Names']} {row['Labels']} {row['Status']}"
                )
            elif f"/{slot.name}" not in row["Names"]:
                verdict.found(
                    "leftover",
                    f"{slot.key} is called {row['Names']}, where {slot.name} was given last",
                )
        kept: list[str] = []
        for row in self.driver.engine.api("GET", "/images/json")[1]:
            tags = row.get("RepoTags") or ["<none>"]
            kept += [tag for tag in tags if tag.startswith("kept:")]
            if strange := [
                tag
                for tag in tags
                if not tag.startswith(("toolbox:", "dockmend", "kept:", "built-web:"))
            ]:
                verdict.found("leftover", f"image {strange}")
        # As many of each name: a renamed container is another one to `keep`. Each dockmend removes
        # only its own.
        most = fleet.KEEP * sum(
            1 + slot.renamed for slot in self.driver.slots if slot.tier == "kept"
        )
        seconds = {f"kept:{row['incident']}" for row in self._second.actions()}
        for mine in (
            [each for each in kept if each not in seconds],
            [each for each in kept if each in seconds],
        ):
            if len(mine) > most:
                verdict.found("leftover", f"{len(mine)} images where {most} are to be kept: {mine}")
        for row in self.driver.engine.api("GET", "/volumes")[1]["Volumes"] or ():
            if not row["Name"].startswith("data-"):
                verdict.found("leftover", f"volume {row['Name']}")

    def _has_helpers(self, known: Container[str]) -> bool:
        """What bears the label alone: no stranger of the fleet, and nothing that a recreation
        left."""
        rows = self.driver.engine.api("GET", "/containers/json?all=1")[1]
        return any(HELPER in row["Labels"] and row["Id"] not in known for row in rows)

    def _leftover_files(self, verdict: Verdict) -> None:
        state = self.driver.daemon.state
        for path in (state / "snapshots").rglob("*"):
            parts = path.parts[-2:]
            if path.is_file() and any(
                part.startswith((".", "tmp")) or part.endswith(UNFINISHED) for part in parts
            ):
                verdict.found("leftover", f"file {path.relative_to(state)}")
        for zombie in _zombies(self.driver.daemon.pid):
            verdict.found("leftover", f"zombie {zombie} of dockmend's")

    def _leftover_work(self, verdict: Verdict, until: float) -> None:
        for row in self.journal.actions():
            if row.get("ended_at") is None and row["began_at"] < until:
                verdict.found("leftover", f"open action {row['action']} of {row['object_name']}")
        reasons = {slot.id: verdict.suppressed.get(slot.key, "") for slot in self.driver.slots}
        for row in self.journal.unfinished():
            code = reasons.get(row["object_id"], "").partition(":")[0].split()
            if row["state"] == "verifying" and GIVEN_UP.intersection(code):
                continue  # what cannot help goes on for as many attempts as it has
            if row["opened_at"] >= until or _proves_itself(row, until):
                continue
            verdict.found(
                "leftover", f"incident {row['id']} of {row['object_name']} is {row['state']}"
            )

    # --- the journal ------------------------------------------------------------------------------

    def _complete(self, verdict: Verdict) -> None:
        """Every call is in the journal, and nothing is called done that the engine did not see."""
        relay = self.driver.relay
        by_container: dict[str, list[dict[str, Any]]] = {}
        actions = self.journal.actions()
        for row in chain(actions, self._second.actions()):
            by_container.setdefault(row["object_id"], []).append(row)
            by_container.setdefault(row["object_name"], []).append(row)
            if made := (row.get("undo", {}).get("recreate") or {}).get("new"):
                # it may have been taken away again before anybody saw it
                by_container.setdefault(made, []).append(row)
        for request in relay.changes():
            if id(request) in self._requests_known or not self.effective(request):
                continue
            self._requests_known.add(id(request))
            # its record is its predecessor's, by the same name
            made_anew = self._guest(request.container)
            rows = by_container.get(request.container, []) + by_container.get(made_anew, [])
            if not any(_covers(row, request) for row in rows):
                text = (
                    f"{request.operation} of {self._name(request.container)} at "
                    f"{request.sent:.3f} is not in it"
                )
                verdict.found("journal", text)
        for row in actions:
            if row["id"] in self._records_known or row.get("ended_at") is None:
                continue
            self._records_known.add(row["id"])
            operation = RECORDED_AS.get(row["action"])
            if (
                operation is None
                or row.get("outcome") != "done"
                or "already" in row.get("detail", "")
            ):
                continue
            mine = relay.changes(row["object_id"])
            called = any(
                _covers(row, each) and each.operation in {operation, "start"} for each in mine
            )
            if not called and not self._settled(row, operation):
                verdict.found(
                    "journal",
                    f"{row['action']} of {row['object_name']} is called done: {row['detail']}",
                )

    def _settled(self, row: dict[str, Any], operation: str) -> bool:
        """Whether a step lost its dockmend, or that one its connections, and was rightly called
        done, whoever did it.

        What died, or was cut off, before its call left its intent alone; a person may have done the
        same before anybody looked. Neither the engine nor its events say who asked.
        """
        lost = any(
            span.death and row["began_at"] < span.end <= row["ended_at"]
            for span in self.driver.ledger.dockmend_out
        ) or any(span.meets(row["began_at"], row["ended_at"]) for span in self.driver.relay.cuts)
        shown = "connect" if operation == "connect" else "start"  # a restart says `start` as well
        since, until = row["began_at"] - CLOCKS, row["ended_at"] + CLOCKS
        return lost and any(
            self.driver.events.of(row["object_id"], shown, since=since, until=until)
        )

    def _guest(self, container: str) -> str:
        return next(
            (slot.key for slot in self.driver.slots if slot.remade and container in slot.born), "-"
        )

    def _name(self, container: str) -> str:
        return next(
            (slot.key for slot in self.driver.slots if container in slot.born), container[:12]
        )

    # --- dockmend itself --------------------------------------------------------------------------

    def _faults(self, verdict: Verdict) -> None:
        """Whatever happens around it, dockmend itself has no fault: no traceback, no internal error
        in its log."""
        with Path(self.driver.daemon.folder, "log").open("rb") as log:
            log.seek(self._log_read)
            new = log.read()
        self._log_read += len(new)
        for line in new.decode(errors="replace").splitlines():
            if any(word in line for word in FAULTS):
                verdict.found("fault", line[:3000])

    def _told(self, verdict: Verdict) -> None:
        """The broker has dockmend back, whatever became of either."""
        daemon = self.driver.daemon
        try:
            eventually(lambda: daemon.metric("dockmend_mqtt_connected") == 1.0, 30, every=0.2)
        except AssertionError:
            verdict.found("missed", "dockmend is not connected to the broker again")


def _limit(slot: Slot) -> tuple[int, float]:
    tight = slot.tier == "tight"
    return (fleet.TIGHT_ATTEMPTS, fleet.TIGHT_WINDOW) if tight else (fleet.ATTEMPTS, fleet.WINDOW)


def _covers(row: dict[str, Any], request: Request) -> bool:
    """Whether a record of the journal, of the same container, tells of a call: by its time."""
    until = row.get("ended_at") or time.time()
    return bool(row["began_at"] - CLOCKS <= request.sent <= until + CLOCKS)


def _proves_itself(row: Row, now: float) -> bool:
    """Whether what is verified ended by itself before, so that it has to run for longer than it did
    then."""
    return bool(
        row["state"] == "verifying"
        and row["lasted"] > 0.0
        and now < row["opened_at"] + PROVES_WITHIN
    )


def _zombies(parent: int) -> list[int]:
    """Processes of that parent which have ended and were not waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] == "Z" and int(fields[1]) == parent:
                found.append(int(entry.name))
    return found
