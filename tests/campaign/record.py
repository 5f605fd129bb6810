"""dockmend's journal as its rows are, read by sqlite3 alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Journal:
    """Each question opens the file anew: dockmend may have set a broken one aside."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def under_way(self, soon: float) -> list[Row]:
        """Incidents that are acted on or verified, or looked at again before that time; actions
        that have not ended."""
        with self._open() as journal:
            rows = _bodies(journal, "SELECT body FROM incidents WHERE closed_at IS NULL")
            rows = [
                row
                for row in rows
                if row["state"] != "waiting" or (row.get("due_at") or 0.0) <= soon
            ]
            return rows + _bodies(journal, "SELECT body FROM actions WHERE ended_at IS NULL")

    def of(self, container: str) -> list[Row]:
        """A container's incidents, the one that was changed last at the end: also those that were
        opened for its predecessor of the same name, behind whose breaker its own trouble was
        counted."""
        with self._open() as journal:
            rows = _bodies(
                journal,
                "SELECT body FROM incidents WHERE object_id = ? OR instr(CAST(body AS TEXT), ?)",
                container, f'"trouble":"{container[:12]}/',
            )  # fmt: skip
        return sorted(rows, key=lambda row: max(row["opened_at"], row.get("updated_at", 0.0)))

    def unfinished(self) -> list[Row]:
        with self._open() as journal:
            rows = _bodies(journal, "SELECT body FROM incidents WHERE closed_at IS NULL")
            return [row for row in rows if row["state"] in {"acting", "verifying"}]

    def actions(self) -> list[Row]:
        if not self._path.exists():  # a second dockmend that never ran
            return []
        with self._open() as journal:
            return _bodies(journal, "SELECT body FROM actions ORDER BY began_at")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(
            sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=5)
        ) as connection:
            yield connection


def _bodies(journal: sqlite3.Connection, statement: str, *values: object) -> list[Row]:
    return [json.loads(body) for (body,) in journal.execute(statement, values)]
