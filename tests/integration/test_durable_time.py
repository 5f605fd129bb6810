"""A daemon on a machine on which the wall clock and what elapsed disagree: in a time namespace of
its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.stories import all_told, closed, incidents
from tests.lab import Daemon, PrivateEngine, Recorder, eventually

HOUR = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    for: 1h
    match: all
    then: restart
"""


@contextmanager
def elapsed(one: Daemon, seconds: int) -> Iterator[Daemon]:
    """The daemon started where that many seconds more have elapsed since boot, and the wall clock
    shows no more."""
    one.wrapper = ("unshare", "--time", "--boottime", str(seconds), "--monotonic", str(seconds))
    try:
        yield one.start()
    finally:
        one.wrapper = ()
        one.stop()


def test_what_the_machine_slept_counts_as_elapsed() -> None:
    """In a namespace where that clock is ahead of the other: on a machine that never slept they are
    the same."""
    ask = (
        "from dockmend.timekeeping import SINCE_BOOT; import time; print(SINCE_BOOT() - "
        "time.monotonic())"
    )
    command = ("unshare", "--time", "--boottime", "100000", "--fork", sys.executable, "-c", ask)
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert float(done.stdout) > 99_999


def test_a_clock_set_back_while_it_was_down_keeps_nothing_waiting(docker: PrivateEngine) -> None:
    """An hour has passed; the wall clock, set back by that hour, does not show it."""
    for name in ("web", "api"):
        docker.patient(name)
    one = Daemon(docker.url, rules={"heal.yaml": HOUR})
    try:
        one.start()
        for name in ("web", "api"):
            docker.sicken(name)
        eventually(lambda: len([each for each in incidents(one) if each.waiting_for == "for"]) == 2)
        one.stop()
        docker.cure("api")
        docker.await_health("api", "healthy")
        with Recorder(docker) as events, elapsed(one, 3601):
            told = {each.object_name: each.outcome for each in closed(one, 2)}
            assert told == {"web": "healed", "api": "recovered"}
            assert events.actions("api", "restart") == []
        assert "the clock was set since dockmend last ran" in one.text
        all_told(one)
    finally:
        one.close()
