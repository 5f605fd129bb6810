"""What is known of a container in trouble, for a message: from the mirror, the engine and the
journal.

All of it is collected within two seconds. What takes longer is left out: a late message helps
less than a short one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from dockmend import redaction
from dockmend.engine.engine_api import Engine
from dockmend.errors import EngineError, JournalError
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import ActionRecord, Incident
from dockmend.mirror import Mirror
from dockmend.model import Container, as_written
from dockmend.notify.alarms import AlarmTrouble
from dockmend.notify.message import Kind, cut
from dockmend.notify.wording import Facts, Try
from dockmend.settings.channels import MOST_LINES

WITHIN: Final = 2.0
"""Seconds for everything that is asked."""
LONGEST_LINE: Final = 1000
"""Characters of a line of a log in which secrets are looked for; a message shows fewer."""
LOOKED_THROUGH: Final = 20
"""The newest incidents of a container among which the one is looked for that was given up."""


@dataclass(slots=True)
class MessageFacts:
    """`why_not(container)`: why nothing is done about it; `next_try(rule, target)`: when its rule
    tries again by itself (seconds of dockmend's clock), None if it does not."""

    engine: Engine
    mirror: Mirror
    journal: Journal
    why_not: Callable[[Container], str]
    next_try: Callable[[str, str], float | None]

    async def of(self, trouble: AlarmTrouble) -> Facts:
        """Never raises for what the engine or the journal cannot tell."""
        if trouble.kind not in (Kind.DOWN, Kind.GAVE_UP):
            return Facts()
        container = self.mirror.of_target(trouble.target)
        facts = self._seen(container) if container is not None else Facts()
        # Each is kept as soon as it is there: what cannot be had takes nothing of the others away.
        with contextlib.suppress(TimeoutError, EngineError):
            async with asyncio.timeout(WITHIN):
                if trouble.kind is Kind.GAVE_UP:
                    next_try_at = self.next_try(trouble.rule, trouble.target)
                    facts = replace(facts, reason=trouble.note, next_try_at=next_try_at)
                    with contextlib.suppress(JournalError):
                        facts = await self._tried(trouble, facts)
                if container is not None:
                    raw = await self.engine.inspect_raw(container.id)
                    config = raw.get("Config") or {}
                    known = redaction.known_values(
                        _environment(config), (container.name, container.image)
                    )
                    facts = replace(facts, check=redaction.text(_said_last(raw), known))
                    lines = await self.engine.last_lines(
                        container.id, MOST_LINES, terminal=bool(config.get("Tty"))
                    )
                    facts = replace(facts, lines=_without_secrets(lines, known))
        return facts

    def _seen(self, container: Container) -> Facts:
        image, before = (
            as_written(container.image, container.labels),
            self.mirror.identities.before(container),
        )
        earlier = (
            before.image if before is not None and before.image_id != container.image_id else ""
        )
        # a tag that names another one by now: their ids tell them apart
        if before is not None and earlier == image:
            earlier, image = f"{image} ({_short(before.image_id)})", _short(container.image_id)
        return Facts(
            exit_code=container.exit_code, error=container.error, image=image, image_before=earlier,
            made_at=container.created_at, started_at=container.started_at,
            why_not=self.why_not(container),
        )  # fmt: skip

    async def _tried(self, trouble: AlarmTrouble, facts: Facts) -> Facts:
        for incident in await self.journal.incidents(
            container=trouble.target, limit=LOOKED_THROUGH
        ):
            if incident.rule == trouble.rule and incident.attempts:
                story = await self.journal.story(incident.id)
                return _with_tries(facts, incident, story[1] if story is not None else [])
        return facts


def _said_last(raw: Mapping[str, Any]) -> str:
    """What the health check said last."""
    checks = ((raw.get("State") or {}).get("Health") or {}).get("Log") or []
    return str(checks[-1].get("Output", "")).strip() if checks else ""


def _without_secrets(lines: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """All lines are looked at together: a key is written in several."""
    return tuple(
        redaction.text("\n".join(cut(line, LONGEST_LINE) for line in lines), known).split("\n")
    )


def _with_tries(facts: Facts, incident: Incident, actions: list[ActionRecord]) -> Facts:
    tries = tuple(
        Try(each.action, each.began_at, each.outcome or "", each.detail)
        for each in actions
        if each.part == "then"
    )
    return replace(facts, attempts=incident.attempts, tries=tries, first_at=incident.opened_at)


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    pairs = (str(each).partition("=") for each in config.get("Env") or ())
    return {name: value for name, _, value in pairs}
