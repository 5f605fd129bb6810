"""The list of quick tests names tests that exist: one that was renamed would silently leave `make
test`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.quick import QUICK, is_quick

TOP = Path(__file__).resolve().parents[2]


def test_every_name_in_the_list_is_that_of_a_test():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "--every-death",
        *QUICK,
    ]
    done = subprocess.run(command, cwd=TOP, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        path, colons, name = line.partition("::")
        if colons:
            found.setdefault(path, []).append(name)
    unknown = [
        f"{path}::{name}"
        for path, names in QUICK.items()
        for name in names or [""]
        if not any(each.startswith(name) for each in found.get(path, ()))
    ]
    assert unknown == []


def test_unit_and_contract_are_quick_and_a_file_that_is_not_named_is_not():
    assert is_quick("tests/unit/test_x.py::test_y")
    assert is_quick("tests/contract/test_x.py::test_y")
    assert is_quick("tests/integration/test_ends.py::test_an_end_has_one_cause[stopped-late]")
    assert not is_quick("tests/integration/test_ends.py::test_a_hup_an_hour_ago_excuses_nothing")
    assert not is_quick("tests/integration/test_no_such_file.py::test_y")
