"""Time that cannot be set: within a run, across runs, across boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockmend import timekeeping
from dockmend.timekeeping import Clock, Stamp

NOON = 1_767_268_800.0
HOUR = 3600.0


class Machine:
    """A machine's clocks: time passes, and the one on the wall can be set."""

    def __init__(self, up: float = 500.0, boot: str = "b1") -> None:
        self.wall, self.up, self.boot = NOON, up, boot

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.up += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.up, self.boot)


@pytest.mark.parametrize("by", [HOUR, -HOUR, 86400.0])
def test_a_clock_that_is_set_changes_nothing_within_a_run(by: float):
    machine = Machine()
    clock = machine.clock()
    machine.passes(10)
    machine.wall += by
    assert clock() == NOON + 10
    assert clock.wall() == NOON + 10 + by
    assert clock.at(machine.wall + 5) == NOON + 15
    assert clock.wall_at(NOON + 10) == machine.wall
    machine.passes(HOUR)
    assert clock() == NOON + 10 + HOUR


def test_that_it_was_set_is_told_once_and_drift_never():
    machine = Machine()
    clock = machine.clock()
    assert clock.set_by() == 0.0
    machine.wall += HOUR
    assert clock.set_by() == HOUR
    assert clock.set_by() == 0.0
    for _ in range(1000):
        machine.wall += 0.5
        assert clock.set_by() == 0.0
    machine.wall -= HOUR
    assert clock.set_by() == -HOUR


@pytest.mark.parametrize(
    ("passed", "set_by", "moved"),
    [
        (60.0, 0.0, 0.0),
        (60.0, 0.4, 0.0),  # NTP at work
        (60.0, HOUR, HOUR),
        (60.0, -HOUR, -HOUR),
        (2 * HOUR, -HOUR, -HOUR),  # back by less than has passed: only what elapsed tells
    ],
)
def test_across_runs_of_one_boot_it_is_known_by_how_much(
    passed: float, set_by: float, moved: float
):
    machine = Machine()
    stamp = machine.clock().stamp()
    machine.passes(passed)
    machine.wall += set_by
    assert machine.clock().moved_since(stamp) == pytest.approx(moved)


def test_a_clock_set_within_a_run_is_known_to_the_next():
    machine = Machine()
    clock = machine.clock()
    machine.wall -= HOUR
    machine.passes(60)
    stamp = clock.stamp()  # by the run's own time, an hour ahead of the wall
    assert machine.clock().moved_since(stamp) == pytest.approx(-HOUR)


@pytest.mark.parametrize(("later", "moved"), [(60.0, 0.0), (86400.0, 0.0), (-HOUR, -HOUR)])
def test_after_another_boot_only_a_clock_that_went_back_is_known(later: float, moved: float):
    stamp = Machine().clock().stamp()
    machine = Machine(up=20.0, boot="b2")
    machine.wall += later
    assert machine.clock().moved_since(stamp) == moved


def test_a_machine_taken_back_to_an_earlier_moment_counts_as_another_boot():
    machine = Machine(up=100.0)
    machine.wall -= 60
    assert machine.clock().moved_since(Stamp("b1", 900.0, NOON)) == -60.0


def test_where_the_kernel_names_no_boot_nothing_is_taken_for_the_same():
    machine = Machine(boot="")
    stamp = machine.clock().stamp()
    machine.wall += HOUR
    assert machine.clock().moved_since(stamp) == 0.0


def test_the_machines_own_clocks():
    clock = Clock()
    assert clock() == pytest.approx(clock.wall(), abs=0.5)
    assert clock.moved_since(clock.stamp()) == 0.0


def test_what_an_action_waits_for_is_not_moved_by_a_clock_that_is_set():
    machine = Machine()
    clock = machine.clock()
    machine.wall += HOUR
    here = clock.from_here()
    # compared with the engine's stamps, which follow the wall
    assert here() == pytest.approx(machine.wall)
    machine.wall -= 2 * HOUR
    machine.passes(5)
    assert here() == pytest.approx(NOON + HOUR + 5)


def test_the_boot_is_told_by_systemd_or_read_from_the_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    file = tmp_path / "boot_id"
    file.write_text("0123abcd-4567-89ef-0123-456789abcdef\n")
    monkeypatch.setattr(timekeeping, "_BOOT_ID", file)
    monkeypatch.delenv(timekeeping.BOOT_VARIABLE, raising=False)
    read = Clock().stamp().boot
    monkeypatch.setattr(timekeeping, "_BOOT_ID", tmp_path / "hidden")
    assert Clock().stamp().boot == ""
    # as the specifier %b is written
    monkeypatch.setenv(timekeeping.BOOT_VARIABLE, "0123abcd456789ef0123456789abcdef")
    assert Clock().stamp().boot == read == "0123abcd456789ef0123456789abcdef"
