"""`dockmend explain`: what would happen to a container now, or what would have happened over a
recording."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dockmend.cli.command_context import CommandContext, in_force
from dockmend.cli.dependents_view import DependentsView
from dockmend.cli.options import identities_of, options, with_engine
from dockmend.cli.terminal_text import clock, emit, say, show
from dockmend.errors import JournalError, Problem, UsageError
from dockmend.model import (
    LATER_TRANSITIONS,
    TRANSITIONS,
    Actor,
    Change,
    Container,
    Event,
    target_of,
)

if TYPE_CHECKING:
    from dockmend.cli.rule_verdicts import Explainer, RuleVerdict
    from dockmend.decide import History, Host
    from dockmend.mirror import Mirror
    from dockmend.settings import Settings

ENDS = {"stopped", "crashed", "oom_killed", "left_down"}
ASKED_OF = (
    "container.unhealthy", "container.crashed", "container.oom_killed", "container.left_down",
    "container.network_lost", "container.orphaned", "container.missing", "container.stuck",
)  # fmt: skip
"""What `explain NAME` asks about."""
ANSWERS = {"shadow": "dry run"}
"""What a person is told in the place of the API's word."""
LONGEST = 4 * 1024 * 1024  # bytes of a line
# seconds after the last line: a cause waits 0.2 s for the `stop` that may follow a `die`
SETTLE = 1.0


@click.command()
@options("config", "rules", "engine", "state", "socket")
@click.argument("name", required=False, metavar="[CONTAINER]")
@click.option(
    "--events",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE.ndjson",
    help="Of `dockmend record`.",
)
@click.option("--container", metavar="NAME", help="This container as it is now (as the argument).")
@click.option(
    "--trigger", metavar="T", help="What happens to it, as in container.unhealthy [all that can]."
)
@click.option(
    "--all", "everything", is_flag=True, help="Show also rules that do not listen to it at all."
)
@options("json")
def explain(
    name: str | None,
    events: Path | None,
    container: str | None,
    trigger: str | None,
    everything: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """What each rule would do, and why; nothing is touched. Exit code 1 if none would do anything.

    Limits, pauses and breakers are those of the journal in the state folder, if there is one (live
    only).
    """
    if name is not None and container is not None and name != container:
        raise UsageError(f"{name} and --container {container}: say which of them")
    container = container or name
    if (events is None) == (container is None) or (container is None and trigger is not None):
        raise UsageError("say either --events FILE.ndjson, or a container's name (and --trigger T)")
    if trigger is not None:
        trigger = _known(trigger)
    found = in_force(flags)
    if events is not None:
        told = _recorded(found, events)
    else:
        assert container is not None
        told = _live(found, container, trigger)
    rows = [
        (change, [each for each in answers if each.asked or everything]) for change, answers in told
    ]
    if as_json:
        emit([_json(change, answers) for change, answers in rows])
    else:
        _show(rows)
    return 0 if any(each.answer != "no" for _, answers in rows for each in answers) else 1


def _show(rows: Iterable[tuple[Change, list[RuleVerdict]]]) -> None:
    for change, answers in rows:
        if not answers:
            continue
        note = f": {change.note}" if change.note else ""
        what = " ".join(change.triggers) or (
            f"event {change.event.type}.{change.event.action}" if change.event else "?"
        )
        say(f"{clock(change.at)}  {what}  {change.target}{note}")
        show(
            ("  RULE", "ANSWER", "WHY"),
            [
                (f"  {each.rule}", ANSWERS.get(each.answer, each.answer), each.why)
                for each in answers
            ],
            "",
        )
    if not any(answers for _, answers in rows):
        say("no rule listens to any of it (--all shows what they listen to)")


def _live(
    found: CommandContext, name: str, trigger: str | None
) -> list[tuple[Change, list[RuleVerdict]]]:
    """Without a trigger: of each trouble that can befall a container, those that some rule listens
    to."""

    async def look(engine: Any) -> tuple[Container, Any]:
        return await engine.inspect(name), await engine.listing()

    container, listing = with_engine(found.settings, look)
    now = time.time()
    history, host = _limits(found.settings, now)
    explainer = _explainer(found, listing.containers)
    explainer.history, explainer.host, explainer.ties = (
        history,
        host,
        DependentsView(listing.containers, identities_of(found.settings.paths)),
    )
    triggers = (
        [trigger] if trigger is not None else [each for each in ASKED_OF if explainer.heard(each)]
    )
    changes = [change_of(container, each, now) for each in triggers]
    return [(change, explainer.explain(change, now)) for change in changes]


def change_of(container: Container, trigger: str, now: float) -> Change:
    """What the mirror would tell if `trigger` happened to the container at `now`."""
    kind, _, what = trigger.partition(".")
    trouble, target = f"{container.id}/explained", target_of(container)
    if trigger in TRANSITIONS:
        triggers = (trigger, "container.exited") if what in ENDS else (trigger,)
        cause: Any = what if what in ENDS else "removed" if what == "network_lost" else None
        return Change(triggers, "container", container, target, trouble, now, cause=cause)
    said = (
        container.image_labels
        | container.labels
        | {"name": container.name, "image": container.image}
    )
    event = Event(kind, what, Actor(container.id, said))
    return Change((), "container", container, target, trouble, now, event=event)


def _known(trigger: str) -> str:
    """The trigger, where it is one that can happen to a container; UsageError with a hint where it
    is none."""
    if trigger in LATER_TRANSITIONS:
        raise UsageError(f"not yet in this version: {trigger}")
    if trigger in TRANSITIONS and not trigger.startswith("container."):
        raise UsageError(f"{trigger} happens to no container: --trigger wants one of container.…")
    kind, dot, action = trigger.partition(".")
    if trigger in TRANSITIONS or (kind == "container" and dot and action in _actions()):
        return trigger
    names = [each for each in TRANSITIONS if each.startswith("container.")] + [
        f"container.{each}" for each in _actions()
    ]
    near = difflib.get_close_matches(trigger, names, 1)
    raise UsageError(
        "there is no trigger "
        f"{trigger!r}{f': did you mean {near[0]}?' if near else ', as in container.unhealthy'}"
    )


def _actions() -> tuple[str, ...]:
    from dockmend.engine.event_filter import ACTIONS

    return tuple(sorted(ACTIONS.get("container", ())))


def _explainer(found: CommandContext, containers: Iterable[Container]) -> Explainer:
    from dockmend.cli.rule_verdicts import Explainer
    from dockmend.guards import Guards

    return Explainer(
        found.ruleset(containers), Guards(found.settings.policy, found.own), found.host
    )


def _limits(found: Settings, now: float) -> tuple[History, Host]:
    """What the limits ask, read from the journal; nothing where there is none."""
    from dockmend.app.pauses import Pauses
    from dockmend.app.resume import HISTORY
    from dockmend.decide import History, Host
    from dockmend.journal.sqlite import read_only
    from dockmend.rules.action_catalogue import changes_something

    history = History()
    try:
        with read_only(found.paths.journal) as journal:
            for rule, target, began_at in journal.recent_attempts(now - HISTORY):
                history.attempted(rule, target, began_at, actions=0)
            for began_at, action in journal.recent_steps(now - HISTORY):
                if changes_something(action):
                    history.acted(began_at)
            for rule, target, ended_at in journal.cooldowns(now - HISTORY):
                history.of(rule, target).ended_at = ended_at
            for breaker in journal.breakers():
                mine = history.of(breaker.rule, breaker.target)
                mine.breaker_at, mine.healed_at = breaker.opened_at, breaker.healed_at
            pauses = Pauses(lambda: now, pauses=journal.pauses())
    except JournalError:
        return history, Host(found.limits.rate)

    return history, Host(found.limits.rate, pauses.until)


def _recorded(found: CommandContext, path: Path) -> list[tuple[Change, list[RuleVerdict]]]:
    from dockmend.mirror import Mirror

    explainer, mirror, told = _explainer(found, ()), Mirror(), []
    for change in changes_of(_lines(path), str(path), mirror):
        explainer.ties = DependentsView(mirror.containers(), mirror.identities)
        told.append((change, explainer.explain(change, change.at)))
    return told


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with click.open_file(str(path), "rb") as file:
            while line := file.readline(LONGEST + 1):
                yield line
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None


def changes_of(lines: Iterable[bytes], path: str, mirror: Mirror | None = None) -> Iterator[Change]:
    """The changes a mirror derives from a recording, and the raw events. UsageError for a line that
    is neither. `mirror`: one to be used, for who asks about the containers that were there."""
    from dockmend.engine.engine_api import Listing
    from dockmend.mirror import Mirror
    from dockmend.model import Network

    mirror, now = mirror if mirror is not None else Mirror(), 0.0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
            now = max(now, float(row["at"] if "at" in row else row["timeNano"] / 1e9))
            yield from mirror.tick(now)
            if "listing" in row:
                listing = msgspec.convert(row["listing"], Listing)
                yield from mirror.relist(
                    listing.containers, listing.networks, listing.volumes, now, "started"
                )
            elif "inspect" in row:
                yield from mirror.observe(msgspec.convert(row["inspect"], Container), now)
            elif "gone" in row:
                yield from mirror.gone(str(row["gone"]), now)
            elif "networks" in row:
                yield from mirror.observe_networks(
                    msgspec.convert(row["networks"], list[Network]), now
                )
            else:
                event = msgspec.convert(row, Event)
                yield from _raw(mirror, event, now)
                yield from mirror.apply(event, now)
        except (
            msgspec.MsgspecError,
            UnicodeDecodeError,
            TypeError,
            ValueError,
            KeyError,
            OverflowError,
        ):
            problem = Problem(path, number, 1, "is no line of `dockmend record`")
            raise UsageError(str(problem)) from None
    yield from mirror.tick(now + SETTLE)


def _raw(mirror: Any, event: Event, now: float) -> Iterator[Change]:
    """The event itself, for rules that name raw events."""
    container = mirror.container(event.actor.ID) if event.type == "container" else None
    if container is not None:
        trouble = f"{container.id}/{event.action}/{event.time_ns}"
        yield Change((), "container", container, target_of(container), trouble, now, event=event)


def _json(change: Change, answers: list[RuleVerdict]) -> dict[str, Any]:
    return {
        "at": change.at, "triggers": change.triggers, "target": change.target,
        "cause": change.cause, "note": change.note,
        "event": f"{change.event.type}.{change.event.action}" if change.event else None,
        "answers": [{"rule": each.rule, "answer": each.answer, "why": each.why}
            for each in answers],
    }  # fmt: skip
