"""`dockmend incidents`: what broke and what was done, whether the daemon runs or not.

From the journal itself; whoever may not read that, but may use the command socket, is answered by
the daemon.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import click

from dockmend.cli.options import options, seconds, tell_aside
from dockmend.cli.places import client, found_paths
from dockmend.cli.terminal_text import SHORTEST, clock, emit, say, show, span, timed, when
from dockmend.errors import JournalError, Unreachable, UsageError
from dockmend.journal.records import ActionRecord, Incident

if TYPE_CHECKING:
    from dockmend.control.socket_client import SocketClient

OUTCOMES = {
    "healed": "healed", "done": "done", "failed": "failed", "recovered": "recovered on its own",
    "suppressed": "left alone", "interrupted": "interrupted", "dry_run": "dry run",
    "on_purpose": "on purpose",
}  # fmt: skip


MOST = 100_000
"""Incidents that are listed at most."""


@click.command()
@click.argument("id", required=False, metavar="[ID or CONTAINER]")
@click.option(
    "--container", metavar="NAME", help="Only those of this container (name, id or target)."
)
@click.option("--since", metavar="TIME", help="Only those open within this long, as in 1d.")
@click.option(
    "--limit",
    type=click.IntRange(1, MOST),
    default=100,
    show_default=True,
    help="At most this many.",
)
@options("state", "socket", "json")
def incidents(
    id: str | None,
    container: str | None,
    since: str | None,
    limit: int,
    as_json: bool,
    **flags: Any,
) -> int:
    """What broke and what was done, the newest first; with an ID, one incident's story.

    An ID may be cut to its first characters if they are unique. A container's name lists that
    container's incidents.
    """
    import msgspec

    within = seconds(since, "--since")
    now = time.time()
    with _source(flags) as journal:
        by_name = None
        try:
            one = _found(journal, id) if id is not None else None
        except UsageError:
            if not (container is None and id is not None and journal.incidents(id, None, 1)):
                raise
            one, by_name = None, id
        if one is not None:
            incident, actions = one
            if as_json:
                emit(
                    {
                        "incident": msgspec.to_builtins(incident),
                        "actions": msgspec.to_builtins(actions),
                    }
                )
            else:
                for line in (*story(incident, actions, now), *_earlier(journal, incident)):
                    say(line)
            return 0
        found = journal.incidents(
            container or by_name, now - within if within is not None else None, limit
        )
    if as_json:
        emit(msgspec.to_builtins(found))
    else:
        show(
            ("ID", "OPENED", "OBJECT", "RULE", "TROUBLE", "OUTCOME", "TOOK", "WHY"),
            [_row(each, now) for each in found],
            "no incidents",
        )
    return 0


class _Source(Protocol):
    def incidents(
        self, container: str | None = None, since: float | None = None, limit: int = 100
    ) -> list[Incident]: ...
    def story(self, incident: str) -> tuple[Incident, list[ActionRecord]] | None: ...


class _Daemon:
    """The running daemon, asked as if it were the journal."""

    def __init__(self, client: SocketClient) -> None:
        self._client = client

    def incidents(
        self, container: str | None = None, since: float | None = None, limit: int = 100
    ) -> list[Incident]:
        import msgspec

        from dockmend.control.control_api import MOST_INCIDENTS

        asked = min(limit, MOST_INCIDENTS)
        found = self._client.ask("incidents", container=container, since=since, limit=asked)
        if len(found) == asked < limit:
            tell_aside(
                f"the daemon shows {asked} incidents at most: who may read the journal sees the "
                "older ones"
            )
        return msgspec.convert(found, list[Incident])

    def story(self, incident: str) -> tuple[Incident, list[ActionRecord]] | None:
        import msgspec

        from dockmend.control.socket_client import Refused

        try:
            found = self._client.ask("incident", id=incident)
        except Refused:
            return None
        return msgspec.convert(found["incident"], Incident), msgspec.convert(
            found["actions"], list[ActionRecord]
        )


@contextlib.contextmanager
def _source(flags: dict[str, Any]) -> Iterator[_Source]:
    """The journal, or the daemon where the journal cannot be read. Raises Unreachable where there
    is neither, and JournalError where there is no daemon and the journal is damaged."""
    from dockmend.control.socket_client import NAME_IT
    from dockmend.journal.sqlite import read_only

    where = found_paths(flags)
    with contextlib.ExitStack() as stack:
        source: _Source
        try:
            source = stack.enter_context(read_only(where.journal))
        except (JournalError, PermissionError) as error:
            source = _Daemon(client(flags))
            if not where.socket.exists():
                if isinstance(error, JournalError) and where.journal.exists():
                    raise
                why = (
                    f"{where.journal}: {error.strerror}"
                    if isinstance(error, OSError)
                    else str(error)
                )
                raise Unreachable(
                    f"{why}, and no dockmend answers at {where.socket}: {NAME_IT}"
                ) from None
        yield source


def _found(journal: _Source, id: str) -> tuple[Incident, list[ActionRecord]]:
    found = journal.story(id)
    if found is None and len(id) >= 2:
        near = [each.id for each in journal.incidents(limit=MOST) if each.id.startswith(id)]
        if len(near) > 1:
            raise UsageError(
                f"{len(near)} incidents begin with {id}: the newest are {', '.join(near[:3])}"
            )
        found = journal.story(near[0]) if near else None
    if found is None:
        raise UsageError(f"there is no incident {id}: `dockmend incidents` lists them")
    incident, actions = found
    return incident, actions


def _row(incident: Incident, now: float) -> tuple[object, ...]:
    ended = incident.closed_at or now
    outcome, reason = ending_of(incident)
    count = f" (×{incident.count})" if incident.count > 1 else ""
    return (
        incident.id, when(incident.opened_at), incident.object_name, incident.rule,
        _trouble(incident), f"{outcome}{count}", span(ended - incident.opened_at), reason,
    )  # fmt: skip


def ending_of(incident: Incident) -> tuple[str, str]:
    """How it ended and why, in words; what both would say is said once."""
    outcome, reason = OUTCOMES.get(incident.outcome or "", incident.state), incident.reason
    first, _, rest = reason.partition(": ")
    if first == outcome:
        return outcome, rest
    if incident.outcome == "recovered" and first.startswith("recovered"):
        return first, rest
    return outcome, reason


def _trouble(incident: Incident) -> str:
    """What set the rule off. Of a person's wish an earlier version recorded a trigger of the rule,
    which never was."""
    return f"asked for by {incident.actor}" if incident.actor else incident.trigger


def story(incident: Incident, actions: list[ActionRecord], now: float) -> Iterator[str]:
    """An incident in the order it happened: what was seen, decided, done, verified; each with its
    time and duration."""
    cause = f", cause: {incident.cause}" if incident.cause else ""
    network = f", network {incident.network}" if incident.network else ""
    yield (
        f"Incident {incident.id}: {incident.kind} {incident.object_name}, rule {incident.rule} "
        f"({incident.severity})"
    )
    yield f"{when(incident.opened_at)}, target {incident.target}, object {incident.object_id[:12]}"
    yield ""
    learnt = {
        "live": "",
        "replayed": " (replayed by the engine)",
        "relisted": " (found by listing again)",
        "started": " (found at dockmend's start)",
    }.get(incident.origin, f" ({incident.origin})")
    note = f": {incident.note}" if incident.note else ""
    if incident.actor:
        anyway = ", also if somebody stopped or paused it" if incident.even_if_stopped else ""
        yield f"{clock(incident.opened_at)}  asked for by {incident.actor}{anyway}"
    else:
        yield (
            f"{clock(incident.opened_at)}  seen      "
            f"{incident.trigger}{network}{cause}{learnt}{note}"
        )
    yield from _attempts(incident, actions, now)
    if incident.state == "closed":
        yield from _end(incident)
    else:
        due = f", looked at again {when(incident.due_at)}" if incident.due_at else ""
        why = f" for {incident.waiting_for}" if incident.waiting_for else ""
        reason = f": {incident.reason}" if incident.reason else ""
        yield f"{clock(now)}  now       {incident.state}{why}{due}{reason}"


EARLIER, EARLIER_WITHIN = 5, 3600.0
"""How many earlier incidents of the same rule and target a story ends with, and of how many seconds
before it."""


def _earlier(journal: _Source, incident: Incident) -> Iterator[str]:
    """What the same rule did to the same target shortly before: a single incident does not show a
    crash loop."""
    found = journal.incidents(incident.target, incident.opened_at - EARLIER_WITHIN, 1000)
    before = [
        each
        for each in found
        if each.rule == incident.rule and each.opened_at < incident.opened_at and each.attempts
    ]
    if before:
        count = f", the last {EARLIER} of {len(before)}" if len(before) > EARLIER else ""
        yield ""
        yield f"Earlier tries within the hour before{count}:"
    for each in before[:EARLIER][::-1]:
        outcome = ": ".join(filter(None, ending_of(each)))
        seen = f": {each.note}" if each.note and not each.actor else ""
        yield f"{clock(each.opened_at)}  {each.id}  {_trouble(each)}{seen} → {outcome}"


def _attempts(incident: Incident, actions: list[ActionRecord], now: float) -> Iterator[str]:
    attempt = 0
    for record in actions:
        if record.attempt != attempt:
            attempt = record.attempt
            waited = timed("after", record.began_at - incident.opened_at) if attempt == 1 else ""
            yield f"{clock(record.began_at)}  decided   attempt {attempt}{waited}"
        ended = record.ended_at
        took = (
            timed("in", ended - record.began_at)
            if ended
            else f" (under way for {span(now - record.began_at)})"
        )
        other = f" on {record.object_name}" if record.object_name != incident.object_name else ""
        detail = f": {record.detail}" if record.detail else ""
        word = {"failed": "FAILED", "interrupted": "broke off"}.get(record.outcome or "", "did")
        yield f"{clock(record.began_at)}  {word:<9} {record.action}{other}{took}{detail}"


def _end(incident: Incident) -> Iterator[str]:
    closed = incident.closed_at or incident.opened_at
    outcome, why = ending_of(incident)
    reason = f": {why}" if why else ""
    if incident.outcome == "healed":
        yield f"{clock(closed)}  verified  {incident.reason or 'it is well again'}"
        reason = ""
    tries = f", attempts: {incident.attempts}" if incident.attempts else ""
    again = f"; so {incident.count} times" if incident.count > 1 else ""
    lasted = closed - incident.opened_at
    when_ = f"{span(lasted)} after" if lasted >= SHORTEST else "as soon as"
    yield f"{clock(closed)}  closed    {outcome}, {when_} it was seen{tries}{reason}{again}"
