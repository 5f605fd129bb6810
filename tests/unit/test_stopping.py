"""The end: the second signal, or time, ends the process at once, whatever hangs."""

from __future__ import annotations

import os
import threading
from typing import cast

import pytest

from dockmend.app import shutdown
from dockmend.journal import writer
from dockmend.tell.log_sink import LogSink


class Lines:
    def flush(self, timeout: float) -> None:
        assert timeout < 1


class Exits:
    """Stands in for `os._exit`, which would end the tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.codes: list[int] = []
        self.ended = threading.Event()
        monkeypatch.setattr(os, "_exit", self)

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.ended.set()


def one() -> shutdown.Shutdown:
    return shutdown.Shutdown(cast("LogSink", Lines()))


def test_the_first_signal_asks_and_the_second_ends(monkeypatch: pytest.MonkeyPatch):
    # its thread outlives the test, and must not end the others
    monkeypatch.setattr(shutdown, "AT_MOST", 1e6)
    exits, asked = Exits(monkeypatch), one()
    asked.asked()
    assert asked.event.is_set()
    assert exits.codes == []
    asked.asked()
    assert exits.codes == [1]


def test_it_ends_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch):
    """Nobody runs a loop here: it hangs."""
    monkeypatch.setattr(shutdown, "AT_MOST", 0.01)
    exits = Exits(monkeypatch)
    one().asked()
    assert exits.ended.wait(30)
    assert exits.codes == [1]


def test_all_of_it_is_within_the_ten_seconds_that_docker_stop_gives():
    assert shutdown.ACTIONS + writer.CLOSING < shutdown.AT_MOST
    assert shutdown.AT_MOST + shutdown.LAST_WORDS < 10
