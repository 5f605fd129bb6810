"""Containers that fall ill: unhealthy, crashed, out of memory, cut off from their network."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.campaign import fleet
from tests.campaign.fleet import Slot
from tests.campaign.ledger import Act
from tests.campaign.plan import Fault

if TYPE_CHECKING:
    from tests.campaign.driver import Driver


def running(slot: Slot, seen: dict[str, Any]) -> bool:
    return bool(seen["State"]["Status"] == "running")


def healthy(slot: Slot, seen: dict[str, Any]) -> bool:
    return slot.checked and running(slot, seen) and fleet.well(slot, seen)


def unhealthy(driver: Driver, fault: Fault, act: Act) -> None:
    """Past the engine: an exec of ours would be one more event."""
    if chosen := driver.choose(fault, act, healthy):
        Path(fleet.root(chosen[1]), "well").unlink(missing_ok=True)


def crash(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, running):
        send(chosen[1]["State"]["Pid"], fault.signal)


def out_of_memory(driver: Driver, fault: Fault, act: Act) -> None:
    def suits(slot: Slot, seen: dict[str, Any]) -> bool:
        return slot.hungry and running(slot, seen) and Path(fleet.root(seen), "eat").exists()

    if chosen := driver.choose(fault, act, suits):
        eat = os.open(Path(fleet.root(chosen[1]), "eat"), os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(eat, b"all\n")
        finally:
            os.close(eat)


def stubborn(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, healthy):
        root = Path(fleet.root(chosen[1]))
        (root / "sick").write_text("again\n" * (1 + len(fault.victims) % 2))
        (root / "well").unlink(missing_ok=True)


def crash_loop(driver: Driver, fault: Fault, act: Act) -> None:
    if chosen := driver.choose(fault, act, running):
        Path(fleet.root(chosen[1]), "die").write_text("again\n" * (1 + len(fault.victims) % 2))
        send(chosen[1]["State"]["Pid"], fault.signal)


def disconnect(driver: Driver, fault: Fault, act: Act) -> None:
    def suits(slot: Slot, seen: dict[str, Any]) -> bool:
        return slot.networked and running(slot, seen) and fleet.placed(slot, seen)

    if chosen := driver.choose(fault, act, suits):
        driver.hands.disconnect(chosen[0])


def send(pid: int, name: str) -> None:
    """Signals a container's first process from the host's side: the engine is not asked and sees
    only the end."""
    if pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.Signals[f"SIG{name}"])


KINDS = {
    "unhealthy": unhealthy,
    "crash": crash,
    "oom": out_of_memory,
    "stubborn": stubborn,
    "crash_loop": crash_loop,
    "disconnect": disconnect,
}
