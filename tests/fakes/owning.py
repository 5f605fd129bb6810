"""What dockmend made, written down nowhere but in memory: the rows of a journal that a test can
look into."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from dockmend.owned import OwnedObject, OwnedObjects
from dockmend.ownership import Ownership

INSTANCE = "0test00000"


@dataclass
class Rows:
    """The part of the journal that `Ownership` writes; `kept` is what is on disk."""

    kept: dict[str, OwnedObject] = field(default_factory=dict)

    def put_owned(self, row: OwnedObject) -> None:
        self.kept[row.id] = row

    def remove_owned(self, row: str) -> None:
        self.kept.pop(row, None)

    async def committed(self) -> None:
        return


class FileRows(Rows):
    """The same in a file, for one that is killed and another that comes after it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if path.exists():
            self.kept = msgspec.json.decode(path.read_bytes(), type=dict[str, OwnedObject])

    def put_owned(self, row: OwnedObject) -> None:
        super().put_owned(row)
        self._write()

    def remove_owned(self, row: str) -> None:
        super().remove_owned(row)
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")  # whoever writes may be killed in the middle
        temporary.write_bytes(msgspec.json.encode(self.kept))
        temporary.replace(self.path)


def owning(
    engine: Any, rows: Rows | None = None, clock: Callable[[], float] = time.time
) -> Ownership:
    """What a dockmend with this journal has made on an engine."""
    rows = rows or Rows()
    return Ownership(cast("Any", engine), rows, clock, OwnedObjects(INSTANCE, rows.kept.values()))
