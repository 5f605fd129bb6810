"""Messages and a journal's part for the tests of messages."""

from __future__ import annotations

from typing import Any

import msgspec

from dockmend.journal.records import OutboxRow
from dockmend.notify.message import Kind, Message, Severity

NOW = 1_800_000_000.0


def a_message(number: int = 0, **changed: Any) -> Message:
    told = Message(
        kind=Kind.DOWN, severity=Severity.WARNING, key=f"down/container:web{number}",
        target=f"container:web{number}", object_name=f"web{number}", title=f"web{number} is down",
        body="Exit code 1.", at=NOW, host="nas",
    )  # fmt: skip
    return msgspec.structs.replace(told, **changed)


class Disk:
    """What the outbox wrote: it outlives the outbox, as the journal does."""

    def __init__(self) -> None:
        self.rows: dict[int, OutboxRow] = {}
        self.last = 0

    def put_outbox(self, row: OutboxRow) -> None:
        self.rows[row.sequence] = row
        self.last = max(self.last, row.sequence)

    def remove_outbox(self, sequence: int) -> None:
        self.rows.pop(sequence, None)
