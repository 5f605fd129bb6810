"""What is told where nobody can be told: publishing is an action all the same, and who wrote it
should know."""

from __future__ import annotations

import structlog

log = structlog.get_logger("dockmend")


class NullPublisher:
    """The teller of actions where no broker is configured."""

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        log.warning(
            "nothing was published: no broker is configured (settings: mqtt)",
            id="nothing_published",
            topic=topic,
        )
