"""What the command socket asks of the daemon, answered from the same parts that everything else is
told from."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from dockmend import __version__, redaction
from dockmend.app.acting_state import not_acting
from dockmend.app.channel_commands import channels_of, tried
from dockmend.app.given_up import given_up
from dockmend.control.control_api import (
    MOST_INCIDENTS,
    BreakerRow,
    CommandDone,
    GivenUpRow,
    PauseRow,
    RuleRow,
    RulesAnswer,
    RulesInForceAnswer,
    Status,
    Tried,
    UnwellRow,
)
from dockmend.decide import Suppress, held_by_person, span_text
from dockmend.errors import DockmendError, UsageError
from dockmend.journal.records import Incident, Pause
from dockmend.model import ASKED, Change, Container, Object, group_of, target_of
from dockmend.rules.durations import LONGEST
from dockmend.rules.label_rules import PREFIX
from dockmend.rules.language_error import did_you_mean
from dockmend.rules.rule import Rule
from dockmend.triggers.schedule import selected

if TYPE_CHECKING:
    from dockmend.app.daemon import Daemon

FIRED_WITHIN = 7 * 86400.0
"""Seconds back in which it is looked up when a rule last fired."""


class DaemonCommands:
    """Implements control.control_api.ControlApi."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def status(self) -> Status:
        daemon = self._daemon
        info = daemon.watch.info
        containers = Counter(
            f"{each.state}/{each.health}" if each.health else each.state
            for each in daemon.mirror.containers()
        )
        rules = Counter(
            _state(rule, daemon.settings.dry_run) for rule in daemon.rules.current.rules
        )
        mqtt = (
            "off"
            if daemon.mqtt is None
            else "connected"
            if daemon.mqtt.connected_to_broker
            else "disconnected"
        )
        return Status(
            version=__version__,
            pid=os.getpid(),
            started_at=daemon.started_at,
            state=str(daemon.settings.paths.state.absolute()),
            engine={
                "url": daemon.engine.url,
                "up": daemon.watch.up,
                "name": info.name if info else "",
                "version": info.version if info else "",
                "since": daemon.watch.since,
            },
            containers=dict(containers),
            rules=dict(rules),
            incidents_open=len(daemon.incidents.open),
            given_up=[
                GivenUpRow(
                    rule=each.rule,
                    target=each.target,
                    object_name=each.object_name,
                    since=each.since,
                    reason=each.reason,
                )
                for each in given_up(daemon.history, daemon.mirror, daemon.reconciler.rules)
            ],
            unwell=[
                UnwellRow(
                    target=each.target,
                    object_name=each.object_name,
                    cause=each.cause,
                    since=each.since,
                    covered=each.covered,
                    note=each.note,
                )
                for each in daemon.unwell()
            ],
            breakers=self._breakers(),
            pauses=[self._pause_row(pause) for pause in daemon.pauses.in_force()],
            degraded=dict(daemon.degraded),
            dry_run=daemon.settings.dry_run,
            not_acting={reason.value: why for reason, why in not_acting(daemon).items()},
            mqtt=mqtt,
            healers=list(daemon.rules.healers),
        )

    async def rules(self) -> RulesAnswer:
        daemon = self._daemon
        fired = await daemon.journal.last_opened(daemon.clock() - FIRED_WITHIN)
        of_rule: Counter[str] = Counter()
        for incident in daemon.incidents.open.values():
            fired[incident.rule] = max(fired.get(incident.rule, 0.0), incident.opened_at)
            of_rule[incident.rule] += 1
        breakers: dict[str, list[BreakerRow]] = {}
        for each in self._breakers():
            breakers.setdefault(each["rule"], []).append(each)
        rows = [
            self._rule_row(
                rule, fired.get(rule.name), of_rule[rule.name], breakers.get(rule.name, [])
            )
            for rule in daemon.rules.current.rules
        ]
        return RulesAnswer(
            rules=rows, problems=list(daemon.rules.problems), loaded_at=daemon.rules.loaded_at
        )

    async def in_force(self) -> RulesInForceAnswer:
        daemon = self._daemon
        own = daemon.settings
        return RulesInForceAnswer(
            config=str(own.paths.config.absolute()) if own.paths.config is not None else None,
            rules=str(own.paths.rules.absolute()),
            state=str(own.paths.state.absolute()),
            engine=daemon.engine.url,
            engine_found=own.engine_found.model_dump(mode="json")
            if own.engine_found is not None
            else None,
            engine_root=str(own.engine_root) if own.engine_root is not None else None,
            heal=own.heal,
            policy=daemon.guards.policy.model_dump(mode="json", exclude_defaults=True),
            rate=own.limits.rate,
            reserve=own.snapshots.reserve,
            texts=dict(await daemon.rules.shown()),
            channels=list(own.notify),
            host=daemon.host,
            own=sorted(daemon.guards.own),
            healers=list(daemon.rules.healers),
            observes=daemon.rules.observes,
            dry_run=own.dry_run,
        )

    def _rule_row(
        self, rule: Rule, fired_at: float | None, incidents_open: int, breakers: list[BreakerRow]
    ) -> RuleRow:
        return RuleRow(
            name=rule.name,
            state=_state(rule, self._daemon.settings.dry_run),
            builtin=rule.builtin,
            description=rule.description,
            when=[trigger.name for trigger in rule.triggers],
            match=rule.match.text,
            then=[step.action for step in rule.then],
            path=rule.path,
            line=rule.line,
            fired_at=fired_at,
            incidents_open=incidents_open,
            breakers=breakers,
        )

    async def incidents(
        self, container: str | None = None, since: float | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        if not 1 <= limit <= MOST_INCIDENTS:
            raise UsageError(f"limit is a number from 1 to {MOST_INCIDENTS}")
        await self._daemon.journal.committed()
        found = await self._daemon.journal.incidents(container, since, limit)
        return [msgspec.to_builtins(each) for each in found]

    async def incident(self, id: str) -> dict[str, Any]:
        await self._daemon.journal.committed()
        story = await self._daemon.journal.story(id)
        if story is None:
            raise UsageError(f"there is no incident {id!r}: `dockmend incidents` lists them")
        return {
            "incident": msgspec.to_builtins(story[0]),
            "actions": [msgspec.to_builtins(each) for each in story[1]],
        }

    async def containers(self) -> list[dict[str, Any]]:
        found = sorted(self._daemon.mirror.containers(), key=lambda each: each.name)
        return [container_row(each) for each in found]

    async def channels(self) -> list[dict[str, Any]]:
        return channels_of(self._daemon)

    async def notify_test(self, actor: str, channel: str, url: int, kind: str) -> Tried:
        return await tried(self._daemon, channel, url, kind)

    async def pause(
        self,
        actor: str,
        rule: str | None = None,
        container: str | None = None,
        for_: float | None = None,
    ) -> CommandDone:
        daemon = self._daemon
        if for_ is not None and not 0 < for_ <= LONGEST:
            raise UsageError(
                "a pause lasts more than no time and ten years at most; without a time, until "
                "`resume`"
            )
        if rule is not None:
            rule = self._rule(rule).name
        target = self._target(container) if container is not None else None
        now = daemon.clock()
        pause = Pause(
            rule=rule,
            target=target,
            until=now + for_ if for_ is not None else None,
            actor=actor,
            at=now,
        )
        daemon.journal.put_pause(pause)  # first: what cannot be kept is refused
        daemon.pauses.put(pause)
        await daemon.journal.committed()
        until = f"for {span_text(for_)}" if for_ is not None else "until it is resumed"
        return CommandDone(text=f"paused {_what(rule, target)} {until}", incident=None)

    async def resume(
        self, actor: str, rule: str | None = None, container: str | None = None
    ) -> CommandDone:
        daemon = self._daemon
        target = self._target(container) if container is not None else None
        rule = self._whole_name(rule) if rule is not None else None
        if all((each.rule, each.target) != (rule, target) for each in daemon.pauses.in_force()):
            raise DockmendError(
                f"there is no pause of {_what(rule, target)}: `dockmend status` lists what is"
            )
        daemon.journal.remove_pause(rule, target)
        daemon.pauses.remove(rule, target)
        await daemon.journal.committed()
        daemon.reconciler.look_again("paused")
        left = [_what(each.rule, each.target) for each in daemon.pauses.in_force()]
        more = f"; still paused: {', '.join(left)}" if left else ""
        return CommandDone(text=f"resumed {_what(rule, target)}{more}", incident=None)

    async def reset(self, actor: str, rule: str, target: str) -> CommandDone:
        daemon = self._daemon
        rule = self._rule(rule).name
        asked = self._to_reset(target)
        names = [each for each in asked if self._is_counted(rule, each)]
        if not names:
            raise DockmendError(
                f"there is nothing to reset: rule {rule} has no open breaker and no counted "
                f"attempt for {' or '.join(asked)}; `dockmend status` lists the open breakers"
            )
        for name in names:
            daemon.journal.put_breaker(None, rule, name)
            daemon.journal.put_reset(rule, name, daemon.clock())
            daemon.history.forget(rule, name)
            daemon.reconciler.breakers.drop(rule, name)
        await daemon.journal.committed()
        for name in names:
            daemon.observer.breaker(rule, name, opened=False)
        for reason in ("breaker", "cooldown", "backoff"):
            daemon.reconciler.look_again(reason)
        daemon.incidents.forget_answered(rule)
        daemon.hub.reoffering.ask()
        return CommandDone(text=f"reset rule {rule} for {' and '.join(names)}", incident=None)

    def _to_reset(self, name: str) -> list[str]:
        """The targets that a person means: a container's name means its own, that of the group
        with which it is brought back, and that of the group which lives in its network. Raises
        DockmendError."""
        container = self._daemon.mirror.container_named(name)
        if container is None:
            return [self._target(name)]
        mirror, own = self._daemon.mirror, target_of(container)
        known = {target for _, target in self._daemon.history.targets}
        known |= {each.target for each in self._daemon.incidents.open.values()}
        groups = [mirror.group_of(container.id), group_of(own)]
        # a trouble that stands keeps the group that it was seen with, whoever the owner is now
        groups += [
            change.group
            for change in mirror.standing()
            if isinstance(change.subject, Container) and change.subject.id == container.id
        ]
        return [own, *sorted(known.intersection(groups) - {"", own})]

    def _is_counted(self, rule: str, target: str) -> bool:
        """Whether there is anything that a reset forgets: a breaker, attempts, or an incident that
        waits for its next one."""
        mine = self._daemon.history.targets.get((rule, target))
        if mine is not None and (mine.breaker_at is not None or mine.attempts or mine.ended_at):
            return True
        return self._daemon.incidents.of(rule, target) is not None

    async def reload(self, actor: str) -> CommandDone:
        rules = await self._daemon.reloading.now()
        waits = "".join(f"; {each}" for each in self._daemon.reloading.waits)
        return CommandDone(text=f"{len(rules.rules)} rules in force{waits}", incident=None)

    async def trigger(
        self, actor: str, rule: str, name: str, even_if_stopped: bool = False
    ) -> CommandDone:
        daemon = self._daemon
        found = self._rule(rule)
        if not found.enabled:
            raise UsageError(f"rule {rule} is disabled")
        subject = self._subject(found, name)
        found = found.tailored(subject) or found
        owner = daemon.mirror.owner(subject) if isinstance(subject, Container) else None
        if not found.wanted(subject, owner):
            raise DockmendError(
                f"rule {found.name} does not match {name}: wants {found.match.text}"
            )
        change = Change(
            triggers=(ASKED,),
            kind=found.match.kind,
            subject=subject,
            target=target_of(subject),
            trouble=f"asked/{daemon.clock():.3f}",
            at=daemon.clock.wall(),
            note=f"asked for by {actor}",
            group=daemon.mirror.group_of(subject.id) if isinstance(subject, Container) else "",
        )
        incident = daemon.dispatcher.asked(found, change, actor, even_if_stopped=even_if_stopped)
        if isinstance(incident, Suppress):
            way_out = self._way_out(incident, subject)
            raise DockmendError(f"rule {rule} does nothing to {name}: {incident.reason}{way_out}")
        return CommandDone(text=self._what_begins(found, incident), incident=incident.id)

    # ----------------------------------------------------------------------------------------------

    def _whole_name(self, name: str) -> str:
        """A rule's name; `heal` stands for `label:heal` if no rule of a file is called so."""
        short = self._daemon.rule(name) is None and self._daemon.rule(PREFIX + name) is not None
        return PREFIX + name if short else name

    def _rule(self, name: str) -> Rule:
        found = self._daemon.rule(self._whole_name(name))
        if found is None:
            near = did_you_mean(name, (each.name for each in self._daemon.rules.current.rules))
            raise DockmendError(f"there is no rule {name!r}{near}: `dockmend rules` lists them")
        return found

    def _target(self, name: str) -> str:
        """A container's name, or a target as it stands in an incident. Raises DockmendError."""
        container = self._daemon.mirror.container_named(name)
        if container is not None:
            return target_of(container)
        known = self._targets()
        if name in known:
            return name
        near = did_you_mean(
            name, {*known, *(each.name for each in self._daemon.mirror.containers())}
        )
        what = "nothing of the target" if ":" in name else "no container"
        raise DockmendError(f"dockmend knows {what} {name!r}{near}")

    def _targets(self) -> set[str]:
        """Every target that is there, that something is remembered of, or that is paused."""
        daemon = self._daemon
        mirror = daemon.mirror
        gone = (each.container for each in mirror.leaving.values())
        there: list[Object] = [
            *mirror.containers(),
            *gone,
            *mirror.networks.values(),
            *mirror.volumes.values(),
        ]
        known = {target_of(each) for each in there}
        known |= {group for each in mirror.containers() if (group := mirror.group_of(each.id))}
        known |= {each.target for each in daemon.incidents.open.values()}
        known |= {target for _, target in daemon.history.targets}
        return known | {each.target for each in daemon.pauses.in_force() if each.target is not None}

    def _way_out(self, refusal: Suppress, subject: Object) -> str:
        """What a person who asked for a rule can do about its refusal."""
        name = shlex.quote(subject.name)
        if refusal.code == "stopped":
            return f": `docker start {name}` starts it, and with --even-if-stopped the rule does"
        if refusal.code == "paused":
            return f": `docker unpause {name}` lets it, and with --even-if-stopped the rule does"
        if refusal.code == "owner" and isinstance(subject, Container):
            down = [each.name for each in self._daemon.mirror.owners(subject) if not each.running]
            return f": `docker start {shlex.join(down)}` first"
        return ""

    def _what_begins(self, rule: Rule, incident: Incident) -> str:
        """What comes of a wish that was not refused."""
        daemon = self._daemon
        if incident.dry_run:
            what = f"what it would do to {incident.object_name} is recorded, and nothing is done"
            return f"rule {rule.name} is a dry run: {what}"
        held = held_by_person(rule, incident.target, daemon.reconciler.host, daemon.clock())
        waits = f" as soon as it may: {held.reason}" if held is not None else ""
        return f"rule {rule.name} treats {incident.object_name}{waits}"

    def _subject(self, rule: Rule, name: str) -> Object:
        subjects = [each for each in selected(rule, self._daemon.mirror) if each.name == name]
        if not subjects:
            known = (
                self._daemon.mirror.container_named(name)
                if rule.match.kind == "container"
                else None
            )
            why = ""
            if known is not None and known.one_off and not rule.match.one_off:
                why = (
                    ": it is a one-off of Compose, which only a rule with `match: {oneoff: "
                    "true}` is about"
                )
            raise DockmendError(
                f"rule {rule.name} does not match a {rule.match.kind} named {name!r}{why}"
            )
        return next(
            (each for each in subjects if isinstance(each, Container) and each.running), subjects[0]
        )

    def _pause_row(self, pause: Pause) -> PauseRow:
        shown = self._daemon.clock.wall_at
        until = shown(pause.until) if pause.until is not None else None
        return PauseRow(
            rule=pause.rule, target=pause.target, until=until, actor=pause.actor, at=shown(pause.at)
        )

    def _breakers(self) -> list[BreakerRow]:
        return [
            BreakerRow(
                rule=rule, target=target, opened_at=each.breaker_at, reason=each.breaker_reason
            )
            for (rule, target), each in self._daemon.history.targets.items()
            if each.breaker_at is not None
        ]


def container_row(container: Container) -> dict[str, Any]:
    """A container as it is shown to people and programs."""
    row = {**msgspec.to_builtins(container), "target": target_of(container)}
    row.pop("made_as", None)  # a digest of its environment too
    for place in row.get("networks", {}).values():
        if "driver_opts" in place:
            place["driver_opts"] = redaction.labels(place["driver_opts"])
    shown = {key: redaction.labels(row[key]) for key in ("labels", "image_labels") if key in row}
    return row | shown


def _state(rule: Rule, dry_run: bool) -> str:
    if not rule.enabled:
        return "disabled"
    return "shadow" if rule.dry_run or dry_run else "enabled"


def _what(rule: str | None, target: str | None) -> str:
    parts = [f"rule {rule}" if rule else "", f"{target}" if target else ""]
    return " for ".join(part for part in parts if part) or "everything"
