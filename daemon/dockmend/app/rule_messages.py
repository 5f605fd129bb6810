"""Messages that rules send by the action `notify`, and whose channels a container's messages go
to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from dockmend.actions.action import ActionFailed, ActionResult, Notice
from dockmend.actions.notify_publish_wait import told_to
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.notify import wording
from dockmend.notify.routing import Addressed, Router
from dockmend.notify.wording import Where
from dockmend.rules.owner_labels import wishes


def channels_of(mirror: Mirror, target: str, known: Collection[str]) -> tuple[str, ...] | None:
    """The channels that a container's owner names by its label; None: all."""
    container = mirror.of_target(target)
    # A label that names a channel that there is not, is wrong, and keeps nobody from hearing.
    return wishes(container.labels, known).notify if container is not None else None


@dataclass(frozen=True, slots=True)
class RuleMessages:
    """The messenger of rules. `clock`: wall seconds."""

    router: Router
    mirror: Mirror
    journal: Journal
    where: Where
    clock: Callable[[], float]

    def tell(self, incident: Incident, notice: Notice) -> ActionResult:
        known = self.router.channels
        named = tuple(dict.fromkeys(notice.to)) if notice.to is not None else None
        missing = [each for each in named or () if each not in known]
        if named is not None and len(missing) == len(named):
            raise ActionFailed(
                f"no message was sent: there is no channel {', '.join(missing)} (settings: notify)",
                again=False,
            )
        message = wording.told(
            notice.text, notice.title, notice.fill, incident, self.clock(), self.where
        )
        to = named if named is not None else channels_of(self.mirror, incident.target, known)
        addressed = Addressed(message, to, by_rule=named is not None)
        channels = self.router.takers(addressed)
        with self.journal.together():
            notice.mark(channels)
            self.router.send([addressed])
        less = f"; there is no channel {', '.join(missing)} (settings: notify)" if missing else ""
        return ActionResult(f"{told_to(channels)}{less}", {"channels": channels})
