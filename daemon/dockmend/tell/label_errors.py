"""Labels of containers' owners that are wrong: told once in the log, and held for the metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import structlog

from dockmend.model import Container
from dockmend.observer import Observer
from dockmend.rules.owner_labels import LabelError, wishes

log = structlog.get_logger("dockmend.labels")


class LabelErrors(Observer):
    """`channels`: the names of the channels that there are, which a label may name."""

    def __init__(self, channels: Collection[str]) -> None:
        self._channels = channels
        self._wrong: dict[str, tuple[str, int]] = {}  # by container id: its name, how many of its labels are wrong

    def container(self, before: Container | None, after: Container | None) -> None:
        if after is None:
            if before is not None:
                self._wrong.pop(before.id, None)
            return
        if before is not None and before.labels is after.labels and before.name == after.name:
            return  # most changes: labels are as they were
        errors = wishes(after.labels, self._channels).errors
        if not errors:
            self._wrong.pop(after.id, None)
            return
        if before is None or before.labels != after.labels:
            for error in errors:
                _tell(after, error)
        self._wrong[after.id] = after.name, len(errors)

    def counts(self) -> Iterator[tuple[str, int]]:
        """(container's name, number of its labels that are wrong)."""
        yield from self._wrong.values()


def _tell(container: Container, error: LabelError) -> None:
    log.warning(
        "a label is wrong", container=container.name, label=error.label, why=str(error), off=error.function.value,
        until="the container is made anew with the label set right",
    )  # fmt: skip
