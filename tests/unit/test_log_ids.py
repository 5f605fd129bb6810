"""Every line of the log has an id that stays the same, and docs/logs.md lists them all."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "daemon/dockmend"
PAGE = TOP / "docs/logs.md"
LEVELS = {"debug", "info", "warning", "error", "exception"}


def _calls() -> list[tuple[str, ast.Call]]:
    """Every call that writes a line, with where it stands."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                not isinstance(node, ast.Call)
                or not isinstance(node.func, ast.Attribute)
                or node.func.attr not in LEVELS
            ):
                continue
            if ast.unparse(node.func.value) in ("log", "self._log"):
                found.append((f"{path.relative_to(PACKAGE)}:{node.lineno}", node))
    return found


def _ids(call: ast.Call) -> set[str]:
    (given,) = [each.value for each in call.keywords if each.arg == "id"]
    return {
        each.value
        for each in ast.walk(given)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def test_every_line_has_an_id():
    assert [
        where for where, call in _calls() if "id" not in {each.arg for each in call.keywords}
    ] == []


def test_the_page_lists_every_id_and_no_other():
    code = {each for _, call in _calls() for each in _ids(call)}
    # These have no level of their own.
    code |= {
        "change",
        "incident_state",
        "incident_waits",
        "incident_closed",
        "library",
    }
    listed = re.findall(r"^\| `([a-z_]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == code


def test_an_id_is_a_name():
    form = re.compile(r"[a-z]+(?:_[a-z]+)*")
    assert [each for _, call in _calls() for each in _ids(call) if not form.fullmatch(each)] == []
