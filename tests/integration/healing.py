"""What the end-to-end tests share: a running daemon, its incidents, and what the engine saw it
do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.lab import Daemon, PrivateEngine
from tests.lab.waiting import LIMIT, eventually

UNHEALTHY = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
    limits: {backoff: 100ms to 1s}
"""

CRASHED = """
version: 1
rules:
  - name: crashed
    when: [container.crashed, container.oom_killed, container.left_down]
    match: all
    then: start
    # Else one that ran for a while has to run for longer than that before it is healed.
    verify: {within: 5s}
    limits: {backoff: 100ms to 1s}
"""


@contextmanager
def daemon(
    engine: PrivateEngine, rules: Mapping[str, str] | str, *, ready: bool = True, **options: Any
) -> Iterator[Daemon]:
    """A daemon that is ready, or only begun; its log is in the report where the test fails."""
    files = {"rules.yaml": rules} if isinstance(rules, str) else rules
    one = Daemon(engine.url, rules=files, **options)
    try:
        yield one.start(ready=ready)
    except BaseException:
        print(one.text[-12000:])
        raise
    finally:
        one.close()


def closed(
    one: Daemon,
    outcome: str | None = None,
    *,
    name: str | None = None,
    count: int = 1,
    timeout: float = LIMIT,
) -> list[dict[str, Any]]:
    """Waits for closed incidents (of an outcome, about an object), the oldest first."""

    def look() -> list[dict[str, Any]]:
        rows = [
            row for row in one.incidents()
            if row["state"] == "closed" and (outcome is None or row["outcome"] == outcome)
            and (name is None or row["object_name"] == name)
        ]  # fmt: skip
        return sorted(rows, key=lambda row: str(row["id"])) if len(rows) >= count else []

    return eventually(
        look, timeout, what=f"{count} incident(s) {outcome or 'closed'} for {name or 'anything'}"
    )


def actions_seen(engine: PrivateEngine, container: str, since: float, *actions: str) -> list[str]:
    """The engine's own account of what happened to a container."""
    return [
        row["Action"]
        for row in engine.events(
            since=since, type="container", container=container, event=list(actions)
        )
    ]
