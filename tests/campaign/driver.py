"""Does the faults of a plan to a real engine, its containers and dockmend, and keeps the ledger."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.lab import Daemon, LabError, PrivateEngine, eventually

from . import fleet
from .fleet import Slot
from .ledger import Act, Intent, Ledger, Meant, Span
from .plan import ACTING_AFTER, Fault
from .witness import EventLog, Relay

NOTHING = "nothing to do it to"
BROKEN = (LabError, OSError, http.client.HTTPException, AssertionError)


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

    def __enter__(self) -> Self:
        self.engine = PrivateEngine(live_restore=self.live_restore)
        self._later: list[Later] = []
        try:
            self.engine.start()
            self.engine.toolbox_image()
            fleet.make_network(self.engine)
            for slot in self.slots:
                self._make(slot)
            self.events = EventLog(self.engine).start()
            self.relay = Relay(self.engine).start()
            self.daemon = Daemon(
                self.relay.url, rules={"campaign.yaml": fleet.RULES}, config=fleet.CONFIG
            )  # fmt: skip
            self.daemon.start()
        except BaseException:
            self.engine.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.finish_chaos()
        self.daemon.close()
        self.relay.stop()
        self.events.stop()
        self.engine.stop()

    def size(self) -> str:
        """dockmend's memory and open files."""
        if not self.daemon.running:
            return "ended"
        process = Path(f"/proc/{self.daemon.pid}")
        resident = next(line.split()[1] for line in (process / "status").read_text().splitlines() if "VmRSS" in line)
        return f"{int(resident) / 1024:.0f} MiB, {len(list((process / 'fd').iterdir()))} open files"

    # --- one fault ----------------------------------------------------------------------------------------------

    def do(self, fault: Fault) -> Act:
        """Does one fault; what it left for later (the return of dockmend) is done between the faults that follow."""
        self._sleep(fault.delay)
        act = Act(fault.number, fault.kind, "", "", time.time())
        try:
            getattr(self, f"_{fault.kind}")(fault, act)
        except BROKEN as error:
            act.result = f"failed: {error}"[:300]
        act.end = time.time()
        self.ledger.acts.append(act)
        return act

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self._run_due()
            rest = end - time.monotonic()
            if rest <= 0:
                return
            time.sleep(min(rest, 0.05))

    def _run_due(self) -> None:
        for each in [each for each in self._later if each.due <= time.monotonic()]:
            self._later.remove(each)
            each.then()

    def finish_chaos(self) -> None:
        """Everything that was to happen later happens now: dockmend and the engine run again."""
        for each in self._later:
            each.due = 0.0
        self._run_due()

    def inspect(self, slot: Slot) -> dict[str, Any]:
        return self.engine.inspect(slot.id)

    def _choose(
        self, fault: Fault, act: Act, suits: Callable[[Slot, dict[str, Any]], bool]
    ) -> tuple[Slot, dict[str, Any]] | None:
        """One of the containers it can happen to."""
        found = [(slot, seen) for slot in self.slots if suits(slot, seen := self.inspect(slot))]
        if not found:
            act.result = NOTHING
            return None
        slot, seen = found[int(fault.pick * len(found))]
        act.slot, act.container, act.begin = slot.key, slot.id, time.time()
        return slot, seen

    def _running(self, slot: Slot, seen: dict[str, Any]) -> bool:
        return bool(seen["State"]["Status"] == "running")

    # --- troubles -----------------------------------------------------------------------------------------------

    def _unhealthy(self, fault: Fault, act: Act) -> None:
        def suits(slot: Slot, seen: dict[str, Any]) -> bool:
            return slot.checked and self._running(slot, seen) and seen["State"]["Health"]["Status"] == "healthy"

        if chosen := self._choose(fault, act, suits):
            # Past the engine: an exec of ours would be one more event.
            Path(f"/proc/{chosen[1]['State']['Pid']}/root/well").unlink(missing_ok=True)

    def _crash(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, self._running):
            _signal(chosen[1]["State"]["Pid"], fault.signal)

    def _stubborn(self, fault: Fault, act: Act) -> None:
        def suits(slot: Slot, seen: dict[str, Any]) -> bool:
            return slot.checked and self._running(slot, seen) and seen["State"]["Health"]["Status"] == "healthy"

        if chosen := self._choose(fault, act, suits):
            root = Path(f"/proc/{chosen[1]['State']['Pid']}/root")
            (root / "sick").write_text("again\n" * (1 + len(fault.victims) % 2))
            (root / "well").unlink(missing_ok=True)

    def _crash_loop(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, self._running):
            pid = chosen[1]["State"]["Pid"]
            Path(f"/proc/{pid}/root/die").write_text("again\n" * (1 + len(fault.victims) % 2))
            _signal(pid, fault.signal)

    def _disconnect(self, fault: Fault, act: Act) -> None:
        def suits(slot: Slot, seen: dict[str, Any]) -> bool:
            return slot.networked and self._running(slot, seen) and fleet.placed(slot, seen)

        if chosen := self._choose(fault, act, suits):
            self.engine.docker("network", "disconnect", fleet.NETWORK, chosen[0].id, timeout=90)

    # --- people -------------------------------------------------------------------------------------------------

    def _means(self, act: Act, slot: Slot, wanted: Meant, *states: str) -> None:
        """A person's will holds from when the engine shows it; where dockmend was at work meanwhile, either may be."""
        act.end = time.time()
        state = self.inspect(slot)["State"]["Status"]
        overlapped = any(each.overlaps(act.begin, act.end + 0.2) for each in self.relay.changes(slot.id))
        sure = state in states and not overlapped
        self.ledger.means(slot.key, Intent(wanted if sure else "either", act.end, act), act.begin)

    def _person_stop(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, self._running):
            self.engine.docker("stop", "--time", "2", chosen[0].id, timeout=90)
            self._means(act, chosen[0], "stopped", "exited")

    def _person_kill(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, self._running):
            self.engine.docker("kill", chosen[0].id, timeout=90)
            eventually(lambda: self.engine.state(chosen[0].id) != "running", 5)
            self._means(act, chosen[0], "stopped", "exited")

    def _person_restart(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, self._running):
            self.engine.docker("restart", "--time", "2", chosen[0].id, timeout=90)
            self._means(act, chosen[0], "running", "running")

    def _person_pause(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, self._running):
            self.engine.docker("pause", chosen[0].id, timeout=90)
            self._means(act, chosen[0], "paused", "paused")

    def _person_unpause(self, fault: Fault, act: Act) -> None:
        def suits(slot: Slot, seen: dict[str, Any]) -> bool:
            return seen["State"]["Status"] == "paused" and self.ledger.meant(slot.key) == "paused"

        if chosen := self._choose(fault, act, suits):
            self.engine.docker("unpause", chosen[0].id, timeout=90)
            self._means(act, chosen[0], "running", "running")

    def _person_start(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, lambda slot, seen: seen["State"]["Status"] == "exited"):
            self.engine.docker("start", chosen[0].id, timeout=90)
            self._means(act, chosen[0], "running", "running")

    def _person_rename(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, lambda slot, seen: True):
            slot = chosen[0]
            slot.renamed += 1
            name = f"{slot.key}-{slot.renamed}"
            self.engine.docker("rename", slot.id, name, timeout=90)
            slot.name = name
            slot.names.append(name)

    def _person_recreate(self, fault: Fault, act: Act) -> None:
        if chosen := self._choose(fault, act, self._running):
            self.engine.docker("rm", "--force", chosen[0].id, timeout=90)
            self._make(chosen[0])

    def _person_connect(self, fault: Fault, act: Act) -> None:
        def suits(slot: Slot, seen: dict[str, Any]) -> bool:
            return slot.networked and self._running(slot, seen) and not fleet.placed(slot, seen)

        if chosen := self._choose(fault, act, suits):
            fleet.connect(self.engine, chosen[0])

    def _make(self, slot: Slot) -> None:
        fleet.make(self.engine, slot)
        slot.born = time.time()
        self.ledger.means(slot.key, Intent("running", slot.born))

    # --- dockmend itself ----------------------------------------------------------------------------------------

    def _out(self, act: Act) -> Span | None:
        if any(span.end == float("inf") for span in self.ledger.dockmend_out):
            act.result = NOTHING
            return None
        span = Span(time.time())
        self.ledger.dockmend_out.append(span)
        return span

    def _dockmend_kill(self, fault: Fault, act: Act) -> None:
        if span := self._out(act):
            span.death = True
            self.daemon.kill()
            self._later.append(Later(time.monotonic() + fault.duration, lambda: self._return(span)))

    def _while_acting(self, fault: Fault, act: Act) -> bool:
        """Makes a container ill where none is, and waits for what dockmend does about it."""
        if not self.daemon.running or any(span.end == float("inf") for span in self.ledger.dockmend_out):
            act.result = NOTHING
            return False
        trouble = Act(fault.number, ("crash", "unhealthy")[fault.number % 2], "", "", time.time())

        def suits(slot: Slot, seen: dict[str, Any]) -> bool:
            return slot.tier not in {"none", "tight"} and slot.policy == "no" and fleet.well(slot, seen)

        chosen = self._choose(fault, trouble, suits)
        if chosen is None:
            act.result = NOTHING
            return False
        pid = chosen[1]["State"]["Pid"]
        if chosen[0].checked and trouble.kind == "unhealthy":
            Path(f"/proc/{pid}/root/well").unlink(missing_ok=True)
        else:
            trouble.kind = "crash"
            _signal(pid, "KILL")
        trouble.end = time.time()
        self.ledger.acts.append(trouble)
        if not self.relay.await_change(6.0):
            act.result = "failed: dockmend did nothing in that time"
            return False
        time.sleep(ACTING_AFTER[fault.number % len(ACTING_AFTER)])
        act.slot, act.container, act.begin = trouble.slot, trouble.container, time.time()
        return True

    def _dockmend_kill_acting(self, fault: Fault, act: Act) -> None:
        if self._while_acting(fault, act):
            self._dockmend_kill(fault, act)

    def _engine_kill_acting(self, fault: Fault, act: Act) -> None:
        if self._while_acting(fault, act):
            self._engine_kill(fault, act)

    def _cut(self, fault: Fault, act: Act) -> None:
        self.relay.cut(min(fault.duration, 2.0))

    def _cut_acting(self, fault: Fault, act: Act) -> None:
        if self._while_acting(fault, act):
            self._cut(fault, act)

    def _person_stop_acting(self, fault: Fault, act: Act) -> None:
        """A stop in the middle of what dockmend does about the same container."""
        if self._while_acting(fault, act):
            slot = next(slot for slot in self.slots if slot.key == act.slot)
            self.engine.docker("stop", "--time", "2", slot.id, timeout=90)
            self._means(act, slot, "stopped", "exited")

    def _dockmend_stop(self, fault: Fault, act: Act) -> None:
        if span := self._out(act):
            span.death = True
            self.daemon.stop()
            self._later.append(Later(time.monotonic() + fault.duration, lambda: self._return(span)))

    def _return(self, span: Span) -> None:
        self.daemon.start(ready=False)
        span.end = time.time()

    def _dockmend_freeze(self, fault: Fault, act: Act) -> None:
        if span := self._out(act):
            self.daemon.pause()
            self._later.append(Later(time.monotonic() + fault.duration, lambda: self._thaw(span)))

    def _thaw(self, span: Span) -> None:
        self.daemon.resume()
        span.end = time.time()

    # --- the engine ---------------------------------------------------------------------------------------------

    def _engine_kill(self, fault: Fault, act: Act) -> None:
        self._engine_down(fault, self.engine.kill)

    def _engine_stop(self, fault: Fault, act: Act) -> None:
        self._engine_down(fault, self.engine.terminate)

    def _engine_down(self, fault: Fault, end: Callable[[], None]) -> None:
        pids = [self.inspect(slot)["State"]["Pid"] for slot in self.slots]
        span = Span(time.time())
        self.ledger.engine_out.append(span)
        end()
        for victim in fault.victims:
            _signal(pids[int(victim * len(pids))], fault.signal)
        self._sleep(min(fault.duration, 2.0))
        self.engine.start()
        span.end = time.time()
        for slot in self.slots:
            # Nothing stays paused over the end of an engine; `always` starts what a person had stopped.
            paused = self.ledger.meant(slot.key) == "paused" and not self.live_restore
            if paused or (self.ledger.meant(slot.key) == "stopped" and slot.policy == "always"):
                self.ledger.means(slot.key, Intent("either", span.end), span.begin)

    def _engine_freeze(self, fault: Fault, act: Act) -> None:
        span = Span(time.time())
        self.ledger.engine_frozen.append(span)
        self.engine.pause()
        thaw = threading.Timer(min(fault.duration, 4.0), self._thaw_engine, (span,))
        thaw.start()
        if fault.pick < 0.5:  # else what follows happens to an engine that does not answer
            thaw.join()
        self._later.append(Later(time.monotonic() + fault.duration, thaw.join))

    def _thaw_engine(self, span: Span) -> None:
        with contextlib.suppress(LabError, ProcessLookupError):  # it may have been killed meanwhile
            self.engine.resume()
        span.end = time.time()

    def _burst(self, fault: Fault, act: Act) -> None:
        """Events by the hundred, as health checks of a big host make them: execs that are created and never run."""
        if chosen := self._choose(fault, act, self._running):
            for _ in range(int(200 + 1200 * random.Random(fault.number).random())):
                self.engine.api("POST", f"/containers/{chosen[0].id}/exec", {"Cmd": ["true"]})

    # --- between rounds -----------------------------------------------------------------------------------------

    def restore(self) -> None:
        """A person puts everything back as it was."""
        for slot in self.slots:
            state = self.inspect(slot)["State"]["Status"]
            act = Act(0, "restore", slot.key, slot.id, time.time())
            if state == "paused":
                self.engine.docker("unpause", slot.id, timeout=90)
            elif state != "running":
                self.engine.docker("start", slot.id, timeout=90)
            elif slot.checked and self.inspect(slot)["State"]["Health"]["Status"] == "unhealthy":
                self.engine.docker("restart", "--time", "2", slot.id, timeout=90)
            elif not slot.networked or fleet.placed(slot, self.inspect(slot)):
                continue
            if slot.networked and not fleet.placed(slot, self.inspect(slot)):
                with contextlib.suppress(LabError):  # dockmend may just have done it
                    fleet.connect(self.engine, slot)
            act.end = time.time()
            self.ledger.acts.append(act)
            self.ledger.means(slot.key, Intent("running", act.end), act.begin)


def _signal(pid: int, name: str) -> None:
    """Signals a container's first process from the host's side: the engine is not asked and sees only the end."""
    if pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.Signals[f"SIG{name}"])
