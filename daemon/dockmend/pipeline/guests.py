"""Guests: what lives in the namespaces of a container that an attempt restarts, starts, stops or
makes anew.

They are part of that attempt: what befalls them by it is its consequence and nobody else's trouble,
and they are brought back at its end. So are the other members of a Compose project that an attempt
restarts: what is wrong with them waits for what becomes of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dockmend.action_traits import ENDS_RUN, PROJECT
from dockmend.decide import Suppress
from dockmend.guards import Guards
from dockmend.journal.records import ActionRecord
from dockmend.mirror import Mirror
from dockmend.model import COMPOSE_PROJECT, COMPOSE_SERVICE, Change, Container, Object
from dockmend.rules.rule import Rule, Step

TOUCHES = ENDS_RUN | {"start", "run"}
"""Actions after which guests are looked after."""
CONSEQUENCES = frozenset({
    "container.orphaned", "container.unhealthy", "container.crashed", "container.oom_killed",
    "container.exited", "container.left_down",
})  # fmt: skip
"""What befalls a guest because its owner's run ended."""
_OF_RULE = ("then", "finally", "escalate")


@dataclass(slots=True)
class Guests:
    """`touched`, by incident: ids of containers whose run its attempt ended or began, and whose
    guests are still to be brought back; the oldest first. `together`, by incident: ids of the
    containers beside its own that its attempt takes with it, as they are of one Compose project."""

    mirror: Mirror
    guards: Guards
    touched: dict[str, dict[str, None]] = field(default_factory=dict)
    together: dict[str, set[str]] = field(default_factory=dict)

    # --- what an attempt touches ------------------------------------------------------------------

    def begins(self, incident_id: str, steps: Iterable[Step], subject: Object | None) -> None:
        """An attempt begins. What was wrong with the others of its project when it began is to wait
        from then on, and not from its step on: else a project is restarted once for each of
        them."""
        if isinstance(subject, Container):
            ended = (
                self._ended(step, subject)
                for step in steps
                if step.action in PROJECT and step.target is None
            )
            if mine := {each.id for found in ended for each in found} - {subject.id}:
                self.together[incident_id] = mine

    def note(self, incident_id: str, step: Step, subject: Object | None) -> None:
        """A step is about to be taken."""
        if step.action in TOUCHES and isinstance(subject, Container):
            mine = self.touched.setdefault(incident_id, {})
            mine.update(dict.fromkeys(each.id for each in self._ended(step, subject)))

    def take_up(self, incident_id: str, attempt: int, records: Iterable[ActionRecord]) -> None:
        """What the attempt that a dockmend before this one was at had touched."""
        mine, looked_after = dict[str, None](), False
        for record in sorted(
            (each for each in records if each.attempt == attempt), key=lambda each: each.began_at
        ):
            if record.part == "guests":
                looked_after = True
                if record.outcome == "done":
                    mine.clear()
            elif record.part in _OF_RULE:
                looked_after = False
            if record.action in TOUCHES and not looked_after and record.part != "after":
                mine[record.object_id] = None
        if mine:
            self.touched[incident_id] = mine

    def over(self, incident_id: str) -> None:
        self.touched.pop(incident_id, None)
        self.together.pop(incident_id, None)

    def to_bring_back(self, incident_id: str) -> list[str]:
        """Ids of the containers that have guests whom an attempt may have cut off. Asks the engine
        nothing."""
        touched = self.touched.get(incident_id)
        if not touched:
            return []
        # they came back by the steps themselves
        mine = {*touched, *map(self.mirror.identities.heir_of, touched)}
        return [
            each for each in touched
            if any(self._is_wanted(guest) for guest in self.mirror.living_in(each)
                if guest.id not in mine)
            or any(self._has_lost_its_link(guest, each)
                for guest in self.mirror.linked_to_dead(each)
                   if guest.id not in mine)
        ]  # fmt: skip

    def _has_lost_its_link(self, guest: Container, dead: str) -> bool:
        """Whether one that links to a container whose place another took has to be made anew: it is
        to run."""
        heir = self.mirror.container(self.mirror.identities.heir_of(dead))
        return heir is not None and self.mirror.is_to_run(guest, heir.created_at)

    def _is_wanted(self, guest: Container) -> bool:
        """Whether it may have to be brought back: it runs, or went because of its owner."""
        if guest.running:
            return True
        went = (
            guest.state == "exited" and guest.exit_code != 0 and not self.mirror.stopped(guest.id)
        )
        return (
            went
            or bool(self.mirror.standing_of(guest.id, ("orphaned",)))
            or self.mirror.taken_down(guest.id)
        )

    def _ended(self, step: Step, subject: Container) -> list[Container]:
        """Those whose run a step ends or begins: of Compose's actions the project's, or those of
        the services that it names. `compose up` leaves alone what runs, and makes again what is
        missing."""
        project = subject.labels.get(COMPOSE_PROJECT) if step.action in PROJECT else None
        if project is None:
            return [subject]
        services, up = getattr(step.params, "services", None), step.action == "compose_up"
        found = [
            each for each in self.mirror.containers()
            if each.labels.get(COMPOSE_PROJECT) == project and not each.one_off
            and self.guards.forbids(each) is None
            and (services is None or each.labels.get(COMPOSE_SERVICE) in services)
            and not (up and each.running)
        ]  # fmt: skip
        return [*found, subject] if up and self.mirror.container(subject.id) is None else found

    # --- what follows from it ---------------------------------------------------------------------

    def origin(self, change: Change) -> str | None:
        """The incident whose attempt a change is a consequence of."""
        if CONSEQUENCES.isdisjoint(change.triggers) or change.cause == "stopped":
            return None
        subject = change.subject
        return (
            self.treated_with(subject)
            or self.restarted_with(subject)
            or self.links_to_treated(subject)
        )

    def restarted_with(self, subject: Object | None) -> str | None:
        """The incident whose attempt takes a container with it, as one of a Compose project."""
        if not self.together or not isinstance(subject, Container):
            return None
        for incident_id, mine in self.together.items():
            if subject.id in mine or subject.id in map(self.mirror.identities.heir_of, mine):
                return incident_id
        return None

    def links_to_treated(self, subject: Object | None) -> str | None:
        """The incident whose attempt has in hand what a container that is down links to: meanwhile
        the engine refuses to start it, and its attempts would be used up by that."""
        if (
            not self.touched
            or not isinstance(subject, Container)
            or not subject.links
            or subject.running
        ):
            return None
        for incident_id, touched in self.touched.items():
            mine = filter(
                None,
                map(
                    self.mirror.container, {*touched, *map(self.mirror.identities.heir_of, touched)}
                ),
            )
            if any(each.id != subject.id and each.plain_name in subject.linked for each in mine):
                return incident_id
        return None

    def treated_with(self, subject: Object | None) -> str | None:
        """The incident whose attempt is to bring a container back with its owner."""
        if (
            not self.touched
            or not isinstance(subject, Container)
            or not (subject.owners or subject.links)
        ):
            return None
        owners = subject.owners.union(each.id for each in self.mirror.owners(subject))
        for incident_id, touched in self.touched.items():
            ids = {*touched, *map(self.mirror.identities.heir_of, touched)}
            if subject.id in ids:
                continue
            if not owners.isdisjoint(ids) or any(
                self.mirror.link_died(subject, each) for each in touched
            ):
                return incident_id
        return None

    def cut_off(self, rule: Rule, steps: Iterable[Step], subject: Object | None) -> Suppress | None:
        """Why these steps are not taken: they would cut off whom nothing may be done to."""
        if rule.cut_off or not isinstance(subject, Container):
            return None
        for step in steps:
            if step.action not in ENDS_RUN or step.target is not None:
                continue
            for owner in self._ended(step, subject):
                living = [
                    each for each in self.mirror.living_in(owner.id) if not self._is_cut_off(each)
                ]
                if step.action == "recreate":
                    living += self.mirror.linked_to(owner)
                if why := self.guards.cuts_off(rule, (step,), owner, living):
                    return Suppress("cut_off", why)
        return None

    def _is_cut_off(self, guest: Container) -> bool:
        return guest.joined is not None and not self.mirror.shares(guest)
