"""What was left for later and becomes due in the middle of an engine's end: the engine runs again,
and it is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from .driver import Driver
from .faults import engine, passing
from .ledger import Act
from .plan import Fault


class Engine:
    def __init__(self) -> None:
        self.running = True

    def kill(self) -> None:
        self.running = False

    def start(self) -> None:
        self.running = True

    def inspect(self, container: str) -> dict[str, Any]:
        return {"State": {"Pid": 0}}


class Hands:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.gone: list[str] = []

    def create(self, name: str, labels: object, command: object) -> str:
        return name

    def start(self, container: str) -> None:
        pass

    def discard(self, container: str) -> None:
        if not self.engine.running:
            raise ConnectionRefusedError(111, "Connection refused")
        self.gone.append(container)


def driver_of(engine: Engine) -> Driver:
    driver = Driver(live_restore=False, slots=[])
    there: Any = SimpleNamespace(
        engine=engine, hands=Hands(engine), relay=SimpleNamespace(clear=lambda: None)
    )
    driver.engine, driver.hands, driver.relay, driver._later = (
        there.engine,
        there.hands,
        there.relay,
        [],
    )
    return driver


def fault(kind: str, duration: float) -> Fault:
    return Fault(7, kind, 0.0, 0.0, duration)


def test_a_one_off_that_is_to_go_while_the_engine_is_down_goes_once_it_is_back():
    """Its removal was refused, and so the engine that had been killed stayed down (seed 11)."""
    driver = driver_of(there := Engine())
    passing.one_off(driver, fault("one_off", 0.0), Act(7, "one_off", "", "", 0.0))
    engine.kill(driver, fault("engine_kill", 0.0), Act(8, "engine_kill", "", "", 0.0))
    assert there.running
    driver.finish_chaos()
    assert [*driver.passing] == driver.hands.gone  # type: ignore[attr-defined]


def test_an_engine_runs_again_whatever_fails_while_it_is_down():
    driver = driver_of(there := Engine())

    def fails() -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    driver.later(0.0, fails)
    with pytest.raises(ConnectionRefusedError):
        engine.kill(driver, fault("engine_kill", 0.0), Act(8, "engine_kill", "", "", 0.0))
    assert there.running
