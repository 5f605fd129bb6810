"""Running one command line in this process: its exit code, what it printed, what it complained
about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from dockmend.cli import execute


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def dockmend(capfd: pytest.CaptureFixture[str]) -> Run:
    """`dockmend("check", "x.yaml")`; fails the test where a person would have seen a traceback."""

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        code = execute([str(each) for each in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Ran(code, out, err)

    return run
