"""Containers with a name that only a recreation gives, of which the journal says nothing: what a
person may do.

A journal that was lost cannot prove them dockmend's, and a person may have given them these names.
So nothing is done about them but to say the commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dockmend.model import Container, aside_name, read_aside
from dockmend.owned import OwnedObject, OwnedObjects


@dataclass(frozen=True, slots=True)
class StrandedContainer:
    """`name`: the one that it had, or was to have; `commands`: what puts it right, to be pasted
    after a look; `proven`: the journal tells of it."""

    container: Container
    name: str
    why: str
    commands: str
    proven: bool = False


def _in_hand(row: OwnedObject) -> bool:
    return True


def stranded(
    containers: Iterable[Container],
    owned: OwnedObjects,
    in_hand: Callable[[OwnedObject], bool] = _in_hand,
) -> list[StrandedContainer]:
    """Those among `containers` that no row of the journal tells of, by name; and those of which one
    does, if what made it has them no longer `in_hand`."""
    by_name = {each.name: each for each in containers}
    found = []
    for container in sorted(by_name.values(), key=lambda each: each.name):
        aside = read_aside(container.name)
        if aside is None or ((row := owned.of(container)) is not None and in_hand(row)):
            continue
        name, is_old = aside.name, aside.what == "old"
        other = by_name.get(aside_name(name, "new" if is_old else "old", aside.incident))
        told = _of_old if is_old else _of_new
        why, commands = told(container, name, other, taken=name in by_name)
        found.append(StrandedContainer(container, name, why, commands, proven=row is not None))
    return found


def _of_old(old: Container, name: str, new: Container | None, taken: bool) -> tuple[str, str]:
    if taken:
        return (
            f"{name} is there: if that is well, this one is not needed",
            f"docker rm {_quoted(old.name)}",
        )
    policy = (
        f"docker update --restart={new.restart_policy} {_quoted(name)}" if new is not None else ""
    )
    start = f"docker start {_quoted(name)}" if old.started_at else ""
    why = (
        f"there is no {name}"
        if policy
        else f"there is no {name}; which restart policy it had is not known"
    )
    return why, " && ".join(
        filter(None, (f"docker rename {_quoted(old.name)} {_quoted(name)}", policy, start))
    )


def _of_new(new: Container, name: str, old: Container | None, taken: bool) -> tuple[str, str]:
    if taken or old is not None:
        kept = name if taken else old.name if old is not None else ""
        return (
            f"{kept} is there: this one was never used",
            f"docker rm --volumes {_quoted(new.name)}",
        )
    return (
        f"there is no {name}",
        f"docker rename {_quoted(new.name)} {_quoted(name)} && docker start {_quoted(name)}",
    )


def _quoted(name: str) -> str:
    return shlex.quote(name)
