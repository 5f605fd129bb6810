"""Last known definitions: what it takes to make a removed container again.

They are kept only for containers that a rule would make again (`run` without an image under
`container.missing`). They hold the environment with its secrets. So they are in the journal
alone, which only its owner may read, and in no log and no record. In memory there are only their
names.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from dockmend.actions.definition import OWNER_LABELS
from dockmend.decide import makes_again
from dockmend.engine.engine_api import Engine
from dockmend.errors import EngineError, JournalError, NotFound
from dockmend.journal.journal_api import Journal
from dockmend.mirror import Mirror
from dockmend.model import Container
from dockmend.rules.rule import Rule, RuleSet

log = structlog.get_logger("dockmend")

KEY = "definition/"
REMOVED = "definition-removed/"
"""Beside it, once its container is gone: since when, in seconds of the journal's clock."""
EVERY = 1.0
"""Seconds between two looks at what may have been defined anew."""
LARGEST = 256 * 1024
"""Bytes of a definition; a larger one is not kept, and said so."""
AFTER_REMOVAL = 86400.0
"""Seconds for which the definition of a container that is gone is kept."""
PARTS = ("Id", "Name", "Image", "Config", "HostConfig", "Mounts")
"""What of an inspect answer defines a container, beside its networks."""


class LastDefinitions:
    """`clock`: what the journal's times are by."""

    def __init__(
        self, engine: Engine, journal: Journal, mirror: Mirror, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._mirror = mirror
        self._rules: tuple[Rule, ...] = ()
        self._clock = clock
        # by id: since when it is gone (seconds of the clock)
        self._kept: dict[str, float | None] = {}

    def use(self, rules: RuleSet) -> None:
        """Which containers matter is another question now."""
        self._rules = tuple(
            rule for rule in rules.rules
            if rule.enabled and any(makes_again(step) for step in (*rule.then, *rule.escalate))
        )  # fmt: skip
        self._mirror.redefined.update(self._mirror.entries if self._rules else self._kept)

    async def run(self) -> None:
        """Runs until cancelled."""
        await self.take_up()
        while True:
            await asyncio.sleep(EVERY)
            await self.keep()

    async def take_up(self) -> None:
        """What is kept already, and since when its containers are gone."""
        self._kept = dict.fromkeys(
            key.removeprefix(KEY) for key in await self._journal.known_keys(KEY)
        )
        for key in await self._journal.known_keys(REMOVED):
            container_id, value = key.removeprefix(REMOVED), await self._journal.known_value(key)
            if container_id in self._kept and value is not None:
                self._kept[container_id] = min(
                    msgspec.msgpack.decode(value, type=float), self._clock()
                )

    async def keep(self) -> None:
        """Keeps what is new; what could not be is tried again the next time."""
        redefined, self._mirror.redefined = self._mirror.redefined, set()
        for container_id in redefined:
            try:
                await self._look(container_id)
            except NotFound:
                continue
            except (EngineError, JournalError):
                self._mirror.redefined.add(container_id)
        with contextlib.suppress(JournalError):
            self._forget()

    async def of(self, container_id: str) -> Mapping[str, Any] | None:
        """What inspect told of it, as far as another one needs it; None where that is not kept.

        Of an heir that went before it was looked at, what its predecessor was made from.
        """
        value = await self._journal.known_value(KEY + container_id)
        for before in self._mirror.identities.predecessors(container_id) if value is None else ():
            value = value or await self._journal.known_value(KEY + before)
        found: dict[str, Any] | None = (
            None if value is None else msgspec.json.decode(zlib.decompress(value))
        )
        return found

    async def _look(self, container_id: str) -> None:
        container = self._mirror.container(container_id)
        if container is None:
            return
        if any(_is_for(rule, container) for rule in self._rules):
            await self._keep(container)
        elif container_id in self._kept:
            self._drop(container_id)  # it holds secrets, and no rule wants it any more

    async def _keep(self, container: Container) -> None:
        raw = await self._engine.inspect_raw(container.id)
        cut = {part: raw[part] for part in PARTS if part in raw}
        cut["NetworkSettings"] = {"Networks": (raw.get("NetworkSettings") or {}).get("Networks")}
        if not container.image_unknown:  # its image may be gone when this is needed
            cut[OWNER_LABELS] = sorted(container.labels)
        text = msgspec.json.encode(cut)
        if len(text) > LARGEST:
            log.warning(
                "its definition is too large to be kept: it cannot be made again",
                id="definition_too_large",
                container=container.name,
            )
            return
        self._journal.put_known(KEY + container.id, zlib.compress(text, 1))
        self._is_back(container.id)

    def _forget(self) -> None:
        """What is of a container that has been gone for long; how long counts over restarts."""
        if not self._mirror.listed:
            return
        now = self._clock()
        for container_id, gone_at in list(self._kept.items()):
            if container_id in self._mirror.entries:
                self._is_back(container_id)
            elif gone_at is None:
                self._journal.put_known(REMOVED + container_id, msgspec.msgpack.encode(now))
                self._kept[container_id] = now
            elif now - gone_at > AFTER_REMOVAL:
                self._drop(container_id)

    def _is_back(self, container_id: str) -> None:
        if self._kept.get(container_id) is not None:
            self._journal.put_known(REMOVED + container_id, None)
        self._kept[container_id] = None

    def _drop(self, container_id: str) -> None:
        self._journal.put_known(KEY + container_id, None)
        self._journal.put_known(REMOVED + container_id, None)
        del self._kept[container_id]


def _is_for(rule: Rule, container: Container) -> bool:
    return rule.match.test(container) and not (
        rule.exclude is not None and rule.exclude.test(container)
    )
