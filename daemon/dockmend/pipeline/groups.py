"""Groups: the dependents of one owner, treated as one incident: whether any of them is still
broken, and how long the owner is waited for.

An incident of a group waits with a timer, not in its lane: the owner's return wakes it, and after
`within` it is given up, said, and taken up anew should the owner come back after all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dockmend.actions.restart_dependents import UNASKED
from dockmend.decide import Suppress, WaitUntil, span_text
from dockmend.guards import Guards
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.model import UNKNOWN, Container, Object, is_unknown, owner_in, target_of
from dockmend.pipeline.guests import CONSEQUENCES
from dockmend.pipeline.incidents import Incidents
from dockmend.rules.rule import Rule

RESTART_WITHIN = 5.0
"""Seconds in which an owner that a person stopped may turn out to be restarted: its dependents
stand down later."""
OWNER_RETRY = 30.0
"""Seconds after which an incident that waits for an owner looks anyway: mostly the owner wakes
it."""
OWNER_WITHIN = 1800.0
"""Seconds an owner is waited for where the rule says nothing."""
AWAITED_KEPT, GIVEN_UP_KEPT = 4096, 1024
"""Owners remembered whose return wakes an incident, and that were given up: names that never repeat
have no end."""


@dataclass(slots=True)
class GroupState:
    """How it stands with the members of a group: those that should be well, and what was seen of
    the others."""

    to_be_well: list[Container] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    # ids of those that the stream has still to tell of
    unseen: list[str] = field(default_factory=list)

    def told(self) -> str:
        return "; ".join([*self.gone, *self.stopped, *self.paused, *self.left_alone])


@dataclass(slots=True)
class Groups:
    mirror: Mirror
    incidents: Incidents
    guards: Guards
    # targets of owners whose return wakes an incident
    awaited: set[str] = field(default_factory=set)
    # by owner: (rule, trouble)
    given_up: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    # see RulesInForce.asks
    asks: Callable[[Incident, Container], bool] = lambda incident, guest: True

    def broken(self, incident: Incident) -> list[Container]:
        """Members whose trouble stands and to whom something may be done."""
        orphans = self.mirror.orphans(incident.target)
        return [
            each for each in orphans
            if self._may(each) and not self._is_nobodys(incident, each)
            and self.asks(incident, each)
        ]  # fmt: skip

    def halted(self, incident: Incident) -> list[Container]:
        """Members that dockmend itself took down."""
        return [each for each in self.members(incident) if self.mirror.taken_down(each.id)]

    def members(self, incident: Incident) -> list[Container]:
        """Those that should be well in the end: not what a person stopped or paused, or what is
        never touched."""
        return self.standing_of(incident).to_be_well

    def standing_of(self, incident: Incident) -> GroupState:
        """How it stands with each that was treated, or its heir, and with each that shares the
        owner's network now."""
        found, known = GroupState(), self.mirror.identities
        # each attempt may have added some
        members = self.incidents.open.get(incident.id, incident).members
        ids = [known.heir_of(each) for each in members]
        owner = owner_in(incident.target)
        ids += [
            each.id
            for each in (
                self._left_behind(incident) if owner is None else self.mirror.guests(owner)
            )
        ]
        for container_id in dict.fromkeys(ids):
            container = self.mirror.container(container_id)
            if container is None and not self.mirror.is_gone(container_id):
                found.unseen.append(container_id)
            elif container is None:
                found.gone.append(f"{known.name_of(container_id)} is gone")
            elif self.mirror.stopped(container_id):
                found.stopped.append(f"{container.name} was stopped by a person")
            elif container.state == "paused":
                found.paused.append(f"{container.name} was paused by a person")
            elif self._is_nobodys(incident, container):
                found.left_alone.append(f"{container.name} is left alone: it is a Compose one-off")
            elif not self.asks(incident, container):
                found.left_alone.append(f"{container.name} is left alone: {UNASKED}")
            elif forbidden := self.guards.forbids(container):
                found.left_alone.append(f"{container.name} is left alone: {forbidden.reason}")
            else:
                found.to_be_well.append(container)
        return found

    def has_guests(self, incident: Incident) -> bool:
        """Whether an incident of one container has others to answer for: brought back with it, or
        left behind by it."""
        return bool(self.incidents.open.get(incident.id, incident).members) or bool(
            self._left_behind(incident)
        )

    def _left_behind(self, incident: Incident) -> list[Container]:
        """Those that are to live in the network of what was treated, and do not."""
        owner_id = self.mirror.identities.heir_of(incident.object_id)
        living = self.mirror.living_in(owner_id)
        return [each for each in living if self.mirror.standing_of(each.id, ("orphaned",))]

    def _is_nobodys(self, incident: Incident, container: Container) -> bool:
        """Whether it is a Compose one-off, which only a rule that asks for one-offs acts on: its
        incidents are about one."""
        about = self.mirror.container(self.mirror.identities.heir_of(incident.object_id))
        return container.one_off and (about is None or not about.one_off)

    def _may(self, container: Container) -> bool:
        return container.state != "paused" and self.guards.forbids(container) is None

    def answer(self, incident: Incident, rule: Rule) -> None:
        """One attempt answers all that stands of the group."""
        for each in self.broken(incident):
            for change in self.mirror.standing_of(each.id, ("orphaned",)):
                self.incidents.remember_answered(rule.name, change.trouble)

    # --- the owner --------------------------------------------------------------------------------

    def hold(
        self, incident: Incident, rule: Rule, subject: Object | None, now: float
    ) -> WaitUntil | Suppress | None:
        """None where the owner is well; a wait while it may come back; the end of that."""
        owner = owner_in(incident.target)
        if (stands_down := self._stands_down(incident, rule, subject, now)) is not None:
            return stands_down
        if owner is None or not rule.grouped:
            return None
        if is_unknown(owner):
            self.answer(incident, rule)
            return Suppress("unknown_owner", self._unknown(owner, incident))
        found = self.mirror.of_owner(owner)
        if found is not None and ready(found):
            self.awaited.discard(owner)
            self._tell_restart(found, incident)
            return None
        name = found.name if found is not None else self.mirror.identities.name_for(owner)
        why = f"{name}, whose network it shares, {_how(found)}"
        until = incident.opened_at + _within(rule)
        if now >= until:
            self._give_up(owner, incident, rule)
            return Suppress(
                "owner", f"{why}, and did not come back within {span_text(_within(rule))}"
            )
        self._await(owner)
        return WaitUntil(min(until, now + OWNER_RETRY), "owner", f"{why}: it is waited for")

    def _stands_down(
        self, incident: Incident, rule: Rule, subject: Object | None, now: float
    ) -> WaitUntil | Suppress | None:
        """If a person or a rule stopped the owner, what befalls its dependents by that is on
        purpose as well, and over once the owner is back. Whether a person restarts it, shows
        soon."""
        key = owner_in(incident.target)
        if key is not None:
            owner = self.mirror.of_owner(key)
        elif (
            incident.trigger in CONSEQUENCES
            and incident.cause != "stopped"
            and isinstance(subject, Container)
        ):
            owner = self.mirror.stopped_owner(subject)
        else:
            return None
        if owner is None or not self.mirror.down_on_purpose(owner):
            return None
        key = key or target_of(owner)
        by_rule = self.mirror.down_by_rule(owner.id)
        if not by_rule and now < (until := incident.opened_at + RESTART_WITHIN):
            self._await(key)
            why = f"{owner.name}, in whose namespaces it lives, was stopped, or is being restarted"
            return WaitUntil(until, "owner", why)
        self._give_up(key, incident, rule)
        who = "rule" if by_rule else "person"
        why = (
            f"owner stopped by a {who}: {owner.name} does not run; what lives in its "
            "namespaces comes back with it"
        )
        return Suppress("owner_stopped", why)

    def _tell_restart(self, owner: Container, incident: Incident) -> None:
        note = f"{owner.name}, whose network it shares, was restarted by a person"
        if (
            self.mirror.restarted(owner.id)
            and incident.note != note
            and incident.id in self.incidents.open
        ):
            self.incidents.update(incident.id, note=note)

    def _unknown(self, owner: str, incident: Incident) -> str:
        names = (
            ", ".join(sorted(each.name for each in self.mirror.guests(owner)))
            or incident.object_name
        )
        return (
            f"{names}: joined the network of container {owner.removeprefix(UNKNOWN)}, which is "
            "gone and was never seen here, so nobody can tell what took its place; make them "
            "again so that they name the present one (docker compose up --force-recreate, or "
            "docker rm and docker run --network container:NAME)"
        )

    def _await(self, owner: str) -> None:
        if len(self.awaited) >= AWAITED_KEPT:
            # who still waits looks again within OWNER_RETRY, and is back among them
            self.awaited.clear()
        self.awaited.add(owner)

    def _give_up(self, owner: str, incident: Incident, rule: Rule) -> None:
        self.answer(incident, rule)
        told = self.given_up[owner] = self.given_up.pop(owner, set())  # the newest last
        while len(self.given_up) > GIVEN_UP_KEPT:
            self._forget(self.given_up.pop(next(iter(self.given_up))))
        told.add((rule.name, incident.trouble))
        for each in self.mirror.orphans(incident.target):
            told |= {
                (rule.name, change.trouble)
                for change in self.mirror.standing_of(each.id, ("orphaned",))
            }

    def wakes(self, after: Container) -> bool:
        """Whether a container's new state is what an incident waits for. Costs nothing while none
        does."""
        return (
            bool(self.awaited) and ready(after) and not self.awaited.isdisjoint(self._called(after))
        )

    def returns(self, after: Container) -> bool:
        """Whether an owner that was given up is back: then what was answered by that is
        forgotten."""
        if not (self.given_up and ready(after)):
            return False
        back = [owner for owner in self._called(after) if owner in self.given_up]
        for owner in back:
            self._forget(self.given_up.pop(owner))
        return bool(back)

    def _forget(self, told: set[tuple[str, str]]) -> None:
        for rule, trouble in told:
            self.incidents.forget_trouble(rule, trouble)

    def _called(self, owner: Container) -> tuple[str, ...]:
        """What the groups of its dependents may be called after."""
        return self.mirror.identities.keys(owner.id)


def ready(owner: Container) -> bool:
    """Whether its network may be joined for good: it runs and, where it has a check, is healthy."""
    return owner.state == "running" and (owner.check is None or owner.health == "healthy")


def _how(owner: Container | None) -> str:
    if owner is None:
        return "is gone"
    if owner.state == "running":
        return f"is not healthy (it is {owner.health or 'running'})"
    return f"does not run (it is {owner.state})"


def _within(rule: Rule) -> float:
    for step in (*rule.then, *rule.escalate):
        if step.action == "restart_dependents":
            within: float | None = getattr(step.params, "within", None)
            return OWNER_WITHIN if within is None else within
    return OWNER_WITHIN
