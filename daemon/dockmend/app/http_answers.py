"""What the HTTP server answers, from the same data as the command socket's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from dockmend.app.acting_state import not_acting
from dockmend.app.daemon_commands import DaemonCommands, container_row
from dockmend.app.given_up import given_up
from dockmend.errors import UsageError
from dockmend.web.paging import Row, place, place_of, unknown_cursor

if TYPE_CHECKING:
    from dockmend.app.daemon import Daemon


class HttpAnswers:
    """Implements web.http_source.HttpSource."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._commands = DaemonCommands(daemon)

    def metrics(self) -> Callable[[], bytes]:
        daemon = self._daemon
        left = given_up(daemon.history, daemon.mirror, daemon.reconciler.rules)
        broken = [(each.object_name, each.rule) for each in left]
        why_not = not_acting(self._daemon)
        wrong = list(self._daemon.label_errors.counts())
        ill = [(each.object_name, each.cause, each.covered) for each in self._daemon.unwell()]
        return partial(
            self._daemon.metrics.render, len(asyncio.all_tasks()), broken, wrong, why_not, ill
        )

    def not_acting(self) -> dict[str, str]:
        return {reason.value: why for reason, why in not_acting(self._daemon).items()}

    def ready(self) -> dict[str, str | None]:
        watch = self._daemon.watch
        degraded = self._daemon.degraded
        return {
            "stream": None
            if watch.up and self._daemon.listed
            else degraded.get("engine", "the engine has not been listed yet"),
            "rules": self._daemon.rules.degraded if self._daemon.rules.observes else None,
            "journal": None
            if self._daemon.journal.healthy
            else degraded.get("journal", "it cannot be written"),
        }

    async def status(self) -> Mapping[str, Any]:
        return await self._commands.status()

    async def rules(self, after: str | None) -> tuple[Mapping[str, Any], Iterator[Row]]:
        rules = [rule.name for rule in self._daemon.rules.current.rules]
        if after is not None and after not in rules:
            raise unknown_cursor()
        left = set(rules[rules.index(after) + 1 :] if after is not None else rules)
        found = await self._commands.rules()
        rows = ((row["name"], row) for row in found["rules"] if row["name"] in left)
        return {"problems": found["problems"], "loaded_at": found["loaded_at"]}, rows

    def containers(self, after: str | None) -> Iterator[Row]:
        """By name; names are unique at the engine, and an id breaks the tie while one is taken
        over."""
        found = sorted(self._daemon.mirror.containers(), key=attrgetter("name", "id"))
        behind = tuple((after or "").partition("~")[::2])
        for each in found:
            if after is None or (each.name, each.id) > behind:
                yield f"{each.name}~{each.id}", container_row(each)

    async def incidents(
        self, container: str | None, since: float | None, after: str | None, limit: int
    ) -> Iterator[Row]:
        await self._daemon.journal.committed()
        found = await self._daemon.journal.incidents(container, since, limit, place_of(after))
        return ((place(each.opened_at, each.id), each) for each in found)

    async def incident(self, id: str, after: str | None, limit: int) -> tuple[Any, Iterator[Row]]:
        await self._daemon.journal.committed()
        story = await self._daemon.journal.story(id, limit, place_of(after))
        if story is None:
            raise UsageError(f"there is no incident {id!r}: `dockmend incidents` lists them")
        rows = ((place(each.began_at, each.id), each) for each in story[1])
        return story[0], rows
