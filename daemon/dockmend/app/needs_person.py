"""What only a person can put right, as it stands now.

That is an owner that nobody knows, a container that a recreation left, or an undo that cannot be
finished.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dockmend.journal.records import ActionRecord, Incident
from dockmend.mirror import Mirror
from dockmend.model import UNKNOWN, Container, is_unknown, target_of
from dockmend.notify.alarms import AlarmTrouble
from dockmend.notify.message import Kind
from dockmend.owned import OwnedObjects
from dockmend.set_aside import stranded

AFTER: Final = 30.0
"""Seconds for which one has to stand. Who makes the guests of an owner anew, as Compose does, has
done so by then; a recreation of dockmend's own has its names for a moment, and an engine that
refuses for a moment is asked again."""
_PATH = re.compile(r"/[A-Za-z0-9_./-]*", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
"""What of a label may stand in a command that a person is to paste."""


@dataclass(slots=True)
class PersonNeeds:
    """`open`: the incidents that are not closed, by id; `unsettled()`: by incident, intents of
    which nobody knows yet what became of them; `wall(at)`: wall seconds of a time of dockmend's
    clock; `now`: wall seconds."""

    mirror: Mirror
    owned: OwnedObjects
    open: Mapping[str, Incident]
    unsettled: Callable[[], Mapping[str, list[ActionRecord]]]
    wall: Callable[[float], float]
    now: Callable[[], float]

    def __call__(self) -> Iterator[AlarmTrouble]:
        """Each has its next step to paste; none is held."""
        yield from self._of_unknown_owners()
        yield from self._of_recreations()
        yield from self._of_undoing()

    def _of_unknown_owners(self) -> Iterator[AlarmTrouble]:
        for each in self.mirror.containers():
            if (
                not each.joined
                or not self._is_wanted(each)
                or not is_unknown(owner := self.mirror.owner_key(each))
            ):
                continue
            why = (
                f"it joined the network of container {owner.removeprefix(UNKNOWN)}, which is gone "
                "and was never seen here: nobody can tell what took its place, and its network "
                "leads nowhere; make it again, so that it names the present one (docker compose "
                "up --force-recreate, or docker run --network container:NAME)"
            )
            yield self._trouble(
                "owner", each, "nobody knows the owner of its network", why, _made_again(each)
            )

    def _is_wanted(self, container: Container) -> bool:
        """What was stopped, or had ended before dockmend knew it, is nobody's trouble."""
        if container.one_off or self.owned.hides(container):
            return False
        return container.running or bool(self.mirror.standing_of(container.id, ("orphaned",)))

    def _of_recreations(self) -> Iterator[AlarmTrouble]:
        for each in stranded(
            self.mirror.containers(), self.owned, lambda row: row.incident in self.open
        ):
            cause = "an undo failed" if each.proven else "it was left by a recreation"
            known = (
                "dockmend could not put it back"
                if each.proven
                else "the journal does not know it: it is left as it is"
            )
            why = (
                f"its name is one that a recreation gives, and {known}; {each.why}; look at it "
                "before you paste"
            )
            yield self._trouble("aside", each.container, cause, why, each.commands)

    def _of_undoing(self) -> Iterator[AlarmTrouble]:
        for incident_id, records in self.unsettled().items():
            for record in records:
                container = self.mirror.container(record.object_id)
                if container is None:
                    continue
                why = (
                    f"dockmend was cut short while it did this to it: {record.action}; what was "
                    "begun could not be put right yet, and is tried again"
                )
                step = f"dockmend incidents {shlex.quote(incident_id)}"
                yield self._trouble(
                    "undo", container, "an undo failed", why, step, self.wall(record.began_at)
                )

    def _trouble(
        self,
        what: str,
        container: Container,
        cause: str,
        why: str,
        step: str,
        since: float | None = None,
    ) -> AlarmTrouble:
        return AlarmTrouble(
            key=f"{Kind.NEEDS_YOU}/{what}/{container.id[:12]}", kind=Kind.NEEDS_YOU,
            target=target_of(container), object_name=container.name, object_id=container.id,
            since=self.now() if since is None else since, cause=cause, note=why, step=step,
            grace=AFTER,
        )  # fmt: skip


def _made_again(container: Container) -> str:
    """By Compose, where its labels tell how; else what tells a person how it was made."""
    labels = container.labels
    folder = labels.get("com.docker.compose.project.working_dir", "")
    files = [
        each
        for each in labels.get("com.docker.compose.project.config_files", "").split(",")
        if each
    ]
    made = container.compose_service
    words = made is not None and all(map(_WORD.fullmatch, made))
    if made is not None and words and files and all(map(_PATH.fullmatch, (folder, *files))):
        named = " ".join(f"-f {each}" for each in files)
        up = f"up -d --force-recreate {made.service}"
        return f"docker compose -p {made.project} --project-directory {folder} {named} {up}"
    return (
        f"docker inspect {shlex.quote(container.name)}" if _WORD.fullmatch(container.name) else ""
    )
