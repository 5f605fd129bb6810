"""Labels of containers' owners that are wrong, or that nothing reads though they look as if it
should: told once in the log; the wrong ones are held for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice

import structlog

from dockmend.model import Container
from dockmend.observer import Observer
from dockmend.rules.label_names import in_vain, seems_ours
from dockmend.rules.owner_labels import MOST_ERRORS, LabelError, wishes

log = structlog.get_logger("dockmend.labels")


class LabelErrors(Observer):
    """`channels`: the names of the channels that there are, which a label may name. `texts`: those
    of the rules in force, and of whatever else may name a label."""

    def __init__(
        self, channels: Collection[str], texts: Callable[[], Iterable[str]] = lambda: ()
    ) -> None:
        self._channels = channels
        self._texts = texts
        # by container id: its name, how many of its labels are wrong
        self._wrong: dict[str, tuple[str, int]] = {}

    def container(self, before: Container | None, after: Container | None) -> None:
        if after is None:
            if before is not None:
                self._wrong.pop(before.id, None)
            return
        if before is not None and before.labels is after.labels and before.name == after.name:
            return  # most changes: labels are as they were
        errors = wishes(after.labels, self._channels).errors
        if before is None or before.labels != after.labels:
            for error in errors:
                _tell(after, error)
            self._tell_vain(
                after,
                {error.label for error in errors} | (before.labels.keys() if before else set()),
            )
        if errors:
            self._wrong[after.id] = after.name, len(errors)
        else:
            self._wrong.pop(after.id, None)

    def _tell_vain(self, container: Container, told: Collection[str]) -> None:
        """Those that nothing reads, MOST_ERRORS at most. What an image brings is none of its
        container's labels."""
        seeming = [
            each for each in sorted(container.labels) if each not in told and seems_ours(each)
        ]
        if not seeming:
            return  # the texts of rules may be large
        texts = list(self._texts())
        found = ((label, vain) for label in seeming if (vain := in_vain(label, texts)) is not None)
        for label, vain in islice(found, MOST_ERRORS):
            log.warning(
                "a label does nothing",
                id="label_without_effect", container=container.name, label=label,
                why=f"it {vain.text}", todo=vain.todo,
                until="the container is made anew with the label set right",
            )  # fmt: skip

    def counts(self) -> Iterator[tuple[str, int]]:
        """(container's name, number of its labels that are wrong)."""
        yield from self._wrong.values()


def _tell(container: Container, error: LabelError) -> None:
    log.warning(
        "a label is wrong",
        id="label_wrong", container=container.name, label=error.label, why=str(error),
        off=error.function.value, until="the container is made anew with the label set right",
    )  # fmt: skip
