from __future__ import annotations

import ctypes
import gc
import weakref

import pytest

from dockmend.app import memory_trimming


class Node:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def resting():
    """As in the daemon, where nothing is collected for minutes."""
    gc.disable()
    yield
    gc.enable()


def test_what_only_a_cycle_holds_is_freed():
    held = weakref.ref(Node())
    assert held() is not None
    memory_trimming.give_back()
    assert held() is None


def test_a_c_library_that_cannot_trim_is_no_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    held = weakref.ref(Node())
    memory_trimming.give_back()
    assert held() is None


async def test_it_is_given_back_again_and_again(monkeypatch):
    given: list[None] = []

    class Enough(Exception): ...

    def give_back() -> None:
        given.append(None)
        if len(given) == 3:
            raise Enough

    monkeypatch.setattr(memory_trimming, "GIVEN_BACK_EVERY", 0.0)
    monkeypatch.setattr(memory_trimming, "give_back", give_back)
    with pytest.raises(Enough):
        await memory_trimming.keep_small()
    assert len(given) == 3
