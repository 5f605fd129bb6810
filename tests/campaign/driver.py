"""Does the faults of a plan to a real engine, its containers, dockmend and what is around; keeps
the ledger."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.lab import Broker, Daemon, LabError, PrivateEngine, eventually

from . import disk, faults, fleet, strangers
from .fleet import Slot
from .hands import Hands
from .ledger import Act, Intent, Ledger, Meant
from .plan import Fault
from .projects import Project
from .relay import Relay
from .witness import EventLog

NOTHING = "nothing to do it to"
RECORDED_WITHIN = 1.0
"""Seconds within which the engine has written down what it has answered."""
SECOND = "-2"
"""How the relay calls the second dockmend."""
BROKEN = (LabError, OSError, http.client.HTTPException, AssertionError)
FINISHES = 3
"""How often what is due is done at the end of a round: an engine that is starting may not answer at
once."""
STATE_SIZE, SNAPSHOTS_SIZE = "96m", "16m"
"""Disks of their own under the journal and under the snapshots: small, so that they can be
filled."""


@dataclass
class Later:
    due: float
    then: Callable[[], None]


@dataclass
class Driver:
    """Use as a context manager: everything is started, and ended, by it."""

    live_restore: bool
    ledger: Ledger = field(default_factory=Ledger)
    slots: list[Slot] = field(default_factory=fleet.slots)
    passing: dict[str, str] = field(default_factory=dict)
    """Containers that come and go, by id, and what they are: nobody asked dockmend to do anything
    about them."""

    def __enter__(self) -> Self:
        self.engine = PrivateEngine(live_restore=self.live_restore)
        self.broker = Broker()
        self.hands = Hands(self.engine)
        self._later: list[Later] = []
        self.broker_out = False
        try:
            self.engine.start()
            self.broker.start()
            self.engine.toolbox_image()
            strangers.make_image(self.engine)
            fleet.make_network(self.engine)
            self.project = Project(self.engine, "c1", "composed")
            for slot in self.slots:
                if slot.image != strangers.OWN_IMAGE:
                    self.make(slot)
            self.events = EventLog(self.engine).start()
            self.relay = Relay(self.engine).start()
            self.second_relay = Relay(self.engine, SECOND, beside=self.relay).start()
            self.daemon = self._daemon()
            self.daemon.start()
            self.second = self._second()
            strangers.make_own_image(self.engine, self.daemon.state / "journal.sqlite3")
            for slot in self.slots:
                if slot.image == strangers.OWN_IMAGE:
                    self.make(slot)
        except BaseException:
            self.engine.stop()
            self.broker.stop()
            raise
        return self

    def _daemon(self) -> Daemon:
        daemon = Daemon(
            self.relay.url, rules={"campaign.yaml": fleet.RULES},
            config=fleet.config(self.broker.port)
        )  # fmt: skip
        # below the engine's folder: what is mounted goes with it
        daemon.state = self.engine.folder / "state"
        for path, size in (
            (daemon.state, STATE_SIZE),
            (daemon.state / "snapshots", SNAPSHOTS_SIZE),
        ):
            path.mkdir(mode=0o700)
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(path)],
                check=True
            )  # fmt: skip
        return daemon

    def _second(self) -> Daemon:
        """Another dockmend for the same engine, not started yet: the folder of the locks is the
        same."""
        second = Daemon(
            self.second_relay.url, rules={"campaign.yaml": fleet.RULES}, config=fleet.LIMITS,
            environment={"DOCKMEND_RUNTIME": str(self.daemon.folder / "run")},
        )  # fmt: skip
        second.state = self.engine.folder / "state-2"
        return second

    def __exit__(self, *_: object) -> None:
        self.finish_chaos()
        self.second.close()
        self.daemon.close()
        self.second_relay.stop()
        self.relay.stop()
        self.events.stop()
        self.engine.stop()
        self.broker.stop()

    def size(self) -> str:
        """dockmend's memory and open files."""
        if not self.daemon.running:
            return "ended"
        process = Path(f"/proc/{self.daemon.pid}")
        resident = next(
            line.split()[1]
            for line in (process / "status").read_text().splitlines()
            if "VmRSS" in line
        )
        return f"{int(resident) / 1024:.0f} MiB, {len(list((process / 'fd').iterdir()))} open files"

    # --- one fault --------------------------------------------------------------------------------

    def do(self, fault: Fault) -> Act:
        """Does one fault; what it left for later (the return of dockmend) is done between the
        faults that follow."""
        self.sleep(fault.delay)
        act = Act(fault.number, fault.kind, "", "", time.time())
        try:
            faults.KINDS[fault.kind](self, fault, act)
        except BROKEN as error:
            act.result = f"failed: {str(error)[-300:]}"  # the reason stands at the end
        act.end = time.time()
        self.ledger.note(act)
        return act

    def sleep(self, seconds: float) -> None:
        """Time passes, and what was left for later happens."""
        end = time.monotonic() + seconds
        while True:
            self._run_due()
            rest = end - time.monotonic()
            if rest <= 0:
                return
            time.sleep(min(rest, 0.05))

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        self._later.append(Later(time.monotonic() + seconds, then))

    def _run_due(self) -> None:
        for each in [each for each in self._later if each.due <= time.monotonic()]:
            self._later.remove(each)
            each.then()

    def finish_chaos(self) -> None:
        """Everything that was to happen later happens now: dockmend, the engine and all around them
        run again."""
        for _ in range(FINISHES):  # what the engine did not answer is left for later once more
            for each in self._later:
                each.due = 0.0
            self._run_due()
        self.relay.clear()

    # --- whom it happens to -----------------------------------------------------------------------

    def inspect(self, slot: Slot) -> dict[str, Any]:
        if not slot.remade:
            return self.engine.inspect(slot.id)
        # dockmend makes it anew, and between two names nobody has this one
        seen = eventually(
            lambda: self._called(slot.name), 90, what=f"there is a container {slot.name}"
        )
        if seen["Id"] != slot.id:
            slot.id = seen["Id"]
            slot.born[slot.id] = time.time()
        return seen

    def _called(self, name: str) -> dict[str, Any]:
        status, answer = self.engine.api("GET", f"/containers/{name}/json")
        return dict(answer) if status == 200 else {}

    def well(self, slot: Slot, seen: dict[str, Any]) -> bool:
        """As it is to be; a guest in the namespace of its owner."""
        if not fleet.well(slot, seen):
            return False
        if slot.base is not None and not fleet.tied(slot, seen, self.inspect(slot.base)):
            return False
        return slot.owner is None or fleet.together(seen, self.inspect(slot.owner))

    def choose(
        self, fault: Fault, act: Act, suits: Callable[[Slot, dict[str, Any]], bool]
    ) -> tuple[Slot, dict[str, Any]] | None:
        """The first container, from the drawn one on, that it can happen to."""
        alone = [slot for slot in self.slots if not slot.apart]
        first = int(fault.pick * len(alone))
        for slot in alone[first:] + alone[:first]:
            seen = self.inspect(slot)
            if suits(slot, seen):
                act.slot, act.container, act.begin = slot.key, slot.id, time.time()
                return slot, seen
        act.result = NOTHING
        return None

    def by_key(self, key: str) -> Slot:
        return next(slot for slot in self.slots if slot.key == key)

    def bring_up(self, slot: Slot, *options: str) -> None:
        """By `docker compose up`, which may leave it as it is."""
        begun = time.time()
        slot.id = self.project.up(*options)
        slot.born.setdefault(slot.id, begun)
        if not slot.name:
            slot.call(fleet.COMPOSED)
        self.ledger.means(slot.key, Intent("running", begun))

    def make(self, slot: Slot, name: str = "") -> None:
        if slot.tier == "composed":
            self.bring_up(slot, "--build")
            return
        try:
            fleet.make(self.engine, slot, name)
        except LabError as error:
            there = self._called(name or slot.title or slot.key)
            if "is already in use" not in str(error) or not there or there["Id"] == slot.id:
                raise
            self.ledger.undone.append(
                f"{slot.key} was removed by a person, and {there['Id'][:12]} has its name"
            )
            self.hands.discard(there["Id"])
            fleet.make(self.engine, slot, name)
        self.ledger.means(slot.key, Intent("running", slot.born[slot.id]))

    def means(self, act: Act, slot: Slot, wanted: Meant, *states: str) -> None:
        """A person's will holds from when the engine shows it; where dockmend was at work
        meanwhile, either may be."""
        act.end = time.time()
        seen = self.inspect(slot)
        state = seen["State"]["Status"]
        if wanted == "stopped":
            act.recorded = self._recorded(seen)
        overlapped = any(
            each.overlaps(act.begin, act.end + 0.2) for each in self.relay.changes(slot.id)
        )
        sure = state in states and not overlapped
        self.ledger.means(slot.key, Intent(wanted if sure else "either", act.end, act), act.begin)

    def signalled(self, seen: dict[str, Any]) -> bool | None:
        return disk.signalled(self.engine.folder / "data", seen)

    def _recorded(self, seen: dict[str, Any]) -> bool:
        """Whether the engine's record tells of the stop that it has just done; it is written a
        moment later."""
        with contextlib.suppress(AssertionError):
            return bool(
                eventually(
                    lambda: self.signalled(seen), RECORDED_WITHIN, what="the record tells of a stop"
                )
            )
        return False

    # --- between rounds ---------------------------------------------------------------------------

    def _start_or_remake(self, slot: Slot) -> None:
        """An engine that was killed in the middle of a start leaves a folder of its shim, and
        cannot start that container any more ("file exists"). A guest whose owner was made anew
        cannot start either: dockmend joins it."""
        try:
            self.hands.do(slot, "start")
        except LabError as error:
            if "file exists" in str(error):
                self.hands.remove(slot)
                self.make(slot)

    def restore(self) -> None:
        """A person puts everything back as it was."""
        for slot in self.slots:
            seen = self.inspect(slot)
            if self.well(slot, seen):
                continue
            act = Act(0, "restore", slot.key, slot.id, time.time())
            state = seen["State"]["Status"]
            if slot.tier == "bystander":  # nobody but a person does anything about it
                self.hands.remove(slot)
                self.make(slot)
            elif state == "paused":
                self.hands.do(slot, "unpause")
            elif state != "running":
                self._start_or_remake(slot)
            elif slot.checked and seen["State"]["Health"]["Status"] == "unhealthy":
                self.hands.do(slot, "restart?t=2")
            if slot.networked and not fleet.placed(slot, self.inspect(slot)):
                with contextlib.suppress(LabError):  # dockmend may just have done it
                    self.hands.connect(slot)
            act.end = time.time()
            self.ledger.note(act)
            self.ledger.means(slot.key, Intent("running", act.end), act.begin)
