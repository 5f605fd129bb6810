"""The tables of docs/rules.md, made from what the rules are checked by, so that the page cannot say
anything else.

`python -m dockmend.rules.reference_tables docs/rules.md` writes them into the page, between its
`<!-- NAME -->` marks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from dockmend.model import LATER_TRANSITIONS, TRANSITIONS
from dockmend.rules.action_catalogue import ACTIONS, ActionSpec
from dockmend.rules.fields import CATALOGUE

_NOT_YET = "not yet in this version"


def fields_table() -> str:
    rows = []
    for field in CATALOGUE.values():
        choices = f" ({', '.join(field.choices)})" if field.choices else ""
        rows.append((f"`{field.path}`", field.type, field.doc + choices, field.absent or "–"))
    return _table(("field", "type", "what it is", "null when"), rows)


def transitions_table() -> str:
    rows = [(f"`{name}`", meaning) for name, meaning in TRANSITIONS.items()]
    later = ", ".join(f"`{name}`" for name in sorted(LATER_TRANSITIONS))
    return _table(("transition", "fires when"), [*rows, (later, _NOT_YET)])


def actions_table() -> str:
    """The actions of this version; the others in one row for each group."""
    rows = [
        (f"`{spec.name}`", _parameters(spec), _done_to(spec))
        for spec in ACTIONS.values()
        if spec.built
    ]
    later = ", ".join(f"`{spec.name}`" for spec in ACTIONS.values() if not spec.built)
    return _table(("action", "takes", "done to"), [*rows, (later, "", _NOT_YET)])


TABLES = {"fields": fields_table, "transitions": transitions_table, "actions": actions_table}


def fill(page: str) -> str:
    """The page with its tables as they should be. Raises ValueError where a table has no place in
    it."""
    for name, table in TABLES.items():
        place = re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", page, re.DOTALL)
        if place is None:
            raise ValueError(f"no place for the table of {name}")
        page = page[: place.start()] + table() + page[place.end() :]
    return page


def _parameters(spec: ActionSpec) -> str:
    fields = spec.params.model_fields.items()
    names = [
        f"`{field.alias or name}`{'' if field.is_required() else '?'}" for name, field in fields
    ]
    return ", ".join(names) if names else "–"


def _done_to(spec: ActionSpec) -> str:
    return " or ".join(sorted(spec.kinds)) if spec.kinds else "–"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def main(path: Path) -> None:
    path.write_text(fill(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
