"""The commands that talk to the running daemon over its socket."""

from __future__ import annotations

import shlex
import time
from typing import Any

import click

from dockmend.cli.options import options, seconds
from dockmend.cli.places import client
from dockmend.cli.terminal_text import ago, clean, emit, say, show, span, state_text, when
from dockmend.errors import DockmendError
from dockmend.own_faults import OWN_FAULTS


@click.command()
@options("state", "socket", "json")
@click.option(
    "--health",
    is_flag=True,
    help="One line for a container's health check: does dockmend itself work?",
)
def status(as_json: bool, health: bool, **flags: Any) -> int:
    """How the running daemon is; exit 1 if it is degraded or has no engine, or if a container is
    unwell.

    With --health: exit 1 only for what dockmend itself is to blame for: rejected rules, a journal
    that cannot be written, or no answer. An engine that is away, or a container that is unwell, is
    no reason to restart dockmend.
    """
    if health:
        return _tell_health(flags, as_json)
    found = client(flags).ask("status")
    if as_json:
        emit(found)
    else:
        _tell_status(found, time.time())
    return (
        1
        if found["degraded"]
        or found["given_up"]
        or found.get("unwell")
        or not found["engine"]["up"]
        else 0
    )


HEALER = "another_healer"
"""Of the reasons for not acting the one that is none for other rules than `label:heal`."""
SILENT = "daemon"
"""The part that is at fault if dockmend does not answer."""


def _tell_health(flags: dict[str, Any], as_json: bool) -> int:
    """The verdict on one line: the engine keeps it beside the health check's exit code, which is 0
    or 1."""
    try:
        degraded: dict[str, str] = client(flags).ask("status")["degraded"]
    except DockmendError as error:
        degraded = {SILENT: str(error)}
    own = {SILENT, *OWN_FAULTS}
    faults = {part: why for part, why in degraded.items() if part in own}
    others = {part: why for part, why in degraded.items() if part not in own}
    if as_json:
        emit({"healthy": not faults, "faults": faults, "others": others})
    elif faults:
        say(f"unhealthy: {_joined(faults)}")
    else:
        say(f"healthy; no reason to restart dockmend: {_joined(others)}" if others else "healthy")
    return 1 if faults else 0


def _joined(parts: dict[str, str]) -> str:
    return "; ".join(f"{part}: {why}" for part, why in parts.items())


def _tell_status(found: dict[str, Any], now: float) -> None:
    engine = found["engine"]
    up = span(now - found["started_at"])
    say(f"dockmend {found['version']}, process {found['pid']}, up {up}, state in {found['state']}")
    since = f" for {span(now - engine['since'])}" if engine["since"] else ""
    state = f"connected{since}" if engine["up"] else f"NOT CONNECTED{since}"
    say(f"engine     {engine['url']} ({engine['name']}, {engine['version']}): {state}")
    containers = {_state_of(key): count for key, count in found["containers"].items()}
    rules = {RULE_STATES.get(key, key): count for key, count in found["rules"].items()}
    say(f"containers {_counts(containers)}")
    say(f"rules      {_counts(rules)}")
    say(f"incidents  {found['incidents_open']} open")
    given_up = {each["target"] for each in found["given_up"]}
    for each in found.get("unwell", ()):
        if each["target"] not in given_up:
            cause = each["cause"].replace("_", " ")
            say(
                f"UNWELL     {each['object_name']}, {cause} since {when(each['since'])}: "
                f"{each['note']}; {_who_acts(each, found)}"
            )
    for each in found["given_up"]:
        say(
            f"GIVEN UP   {each['object_name']}, by {each['rule']} since {when(each['since'])}: "
            f"{each['reason']}"
        )
        say(
            f"{'':<11}to let it try again: dockmend reset {shlex.quote(each['rule'])} "
            f"{shlex.quote(each['target'])}"
        )
    say(f"mqtt       {found['mqtt']}")
    for why in found["not_acting"].values():
        say(f"NOT ACTING {why}")
    for part, why in found["degraded"].items():
        if why not in found["not_acting"].values():
            say(f"DEGRADED   {part}: {why}")
    for pause in found["pauses"]:
        what = (
            ", ".join(filter(None, (pause["rule"] and f"rule {pause['rule']}", pause["target"])))
            or "everything"
        )
        say(f"paused     {what}, {_until(pause['until'])}, by {pause['actor']}")
    told = {(each["rule"], each["target"]) for each in found["given_up"]}
    for breaker in found["breakers"]:
        if (breaker["rule"], breaker["target"]) in told:
            continue
        since = when(breaker["opened_at"])
        say(
            f"breaker    open for {breaker['rule']} on {breaker['target']} since {since}: "
            f"{breaker['reason']}"
        )


TRIGGER_OF = {
    "unhealthy": "container.unhealthy", "crashed": "container.crashed",
    "oom_killed": "container.oom_killed", "left_down": "container.left_down",
    "unknown": "container.exited", "looping": "container.restart_loop",
}  # fmt: skip
"""By what rules listen to the causes of an unwell container; to the others no rule can listen."""


def _who_acts(each: dict[str, Any], found: dict[str, Any]) -> str:
    """Whether anything is done about an unwell container. Coverage tells of all that can happen to
    it, this only of what did, and of now: so the trigger is named, and what holds dockmend back."""
    if not each["covered"]:
        trigger = TRIGGER_OF.get(each["cause"])
        if trigger is None:
            return "nothing is done about it: no rule can listen to that"
        asked = f"dockmend explain {shlex.quote(each['object_name'])} --trigger {trigger}"
        return f"no rule acts on {trigger} of it: see `{asked}`"
    # beside another healer all rules but label:heal act, and that one covers nothing then
    held = [why for reason, why in found["not_acting"].items() if reason != HEALER]
    if held:
        return f"a rule would act on it, but {'; '.join(held)}"
    pauses = [row for row in found["pauses"] if row["target"] in (None, each["target"])]
    if whole := next((row for row in pauses if row["rule"] is None), None):
        what = "dockmend" if whole["target"] is None else "it"
        return f"a rule acts on it, but {what} is paused {_until(whole['until'])}"
    if pauses:
        rules_ = ", ".join(dict.fromkeys(row["rule"] for row in pauses))
        return f"a rule acts on it, if that is not one that is paused: {rules_}"
    return "a rule acts on it"


def _until(until: float | None) -> str:
    return f"until {when(until)}" if until is not None else "until it is resumed"


RULE_STATES = {"shadow": "dry run (only says what it would do)"}
"""What a person is told in the place of the API's word."""


def _state_of(key: str) -> str:
    state, _, health = key.partition("/")
    return state_text(state, health)


def _counts(counts: dict[str, int]) -> str:
    return "; ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


@click.command()
@options("state", "socket", "json")
def rules(as_json: bool, **flags: Any) -> int:
    """The rules in force, built-in ones too; exit 1 if the last load had errors."""
    found = client(flags).ask("rules")
    if as_json:
        emit(found["rules"])
    else:
        now = time.time()
        headers = ("RULE", "STATE", "WHEN", "MATCH", "THEN", "LAST FIRED", "OPEN", "BREAKERS")
        show(headers, [_row(row, now) for row in found["rules"]], "no rules are in force")
    for problem in found["problems"]:
        click.echo(clean(problem), err=True)
    return 1 if any(": warning: " not in problem for problem in found["problems"]) else 0


def _row(row: dict[str, Any], now: float) -> tuple[object, ...]:
    state = "dry run" if row["state"] == "shadow" else str(row["state"])
    if row["builtin"]:
        state += ", built in"
    when_, then = ", ".join(row["when"]), ", ".join(row["then"])
    fired = ago(row["fired_at"], now)
    return (
        row["name"],
        state,
        when_,
        row["match"],
        then,
        fired,
        row["incidents_open"],
        len(row["breakers"]),
    )


@click.command()
@options("state", "socket")
@click.option("--rule", metavar="R", help="Only this rule.")
@click.option("--container", metavar="NAME", help="Only this container.")
@click.option("--for", "for_", metavar="TIME", help="This long, as in 1h [until resumed].")
def pause(rule: str | None, container: str | None, for_: str | None, **flags: Any) -> int:
    """Nothing is done while the pause lasts, but everything is seen and recorded.

    For work on a container, or on the host, that dockmend is not to undo.
    """
    limit = seconds(for_, "--for")
    return _told(
        client(flags, changes=True).ask("pause", rule=rule, container=container, for_=limit)
    )


@click.command()
@options("state", "socket")
@click.option("--rule", metavar="R", help="Only this rule's.")
@click.option("--container", metavar="NAME", help="Only this container's.")
def resume(rule: str | None, container: str | None, **flags: Any) -> int:
    """Ends a pause; troubles that still stand are treated now."""
    return _told(client(flags, changes=True).ask("resume", rule=rule, container=container))


@click.command()
@options("state", "socket")
@click.argument("rule")
@click.argument("target")
def reset(rule: str, target: str, **flags: Any) -> int:
    """Closes RULE's breaker for TARGET and forgets its attempts.

    TARGET may be a container's name: then also for the group with which it is brought back, and
    the group in its network. Exit 1 if no breaker is open and no attempt is counted.
    """
    return _told(client(flags, changes=True).ask("reset", rule=rule, target=target))


@click.command()
@options("state", "socket")
def reload(**flags: Any) -> int:
    """Reads the rules and the settings' policy again; if one is wrong nothing changes, and every
    error is shown."""
    return _told(client(flags, changes=True).ask("reload"))


@click.command()
@options("state", "socket")
@click.argument("rule")
@click.argument("name")
@click.option(
    "--even-if-stopped", is_flag=True, help="Also on a container that somebody stopped or paused."
)
def trigger(rule: str, name: str, even_if_stopped: bool, **flags: Any) -> int:
    """Lets RULE act on NAME now.

    This stands for the rule's `when`, `for`, `if` and the check that the trouble still stands;
    match, ignore, policy, limits and lanes hold. What somebody stopped is not started and what
    somebody paused does not go on, unless --even-if-stopped is given.
    """
    even = True if even_if_stopped else None  # one of another version knows of no such argument
    return _told(
        client(flags, changes=True).ask("trigger", rule=rule, name=name, even_if_stopped=even)
    )


def _told(done: dict[str, Any]) -> int:
    say(done["text"])
    if done.get("incident"):
        say(
            f"incident {done['incident']}: `dockmend incidents {done['incident']}` tells "
            "how it goes"
        )
    return 0
