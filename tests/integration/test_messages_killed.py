"""dockmend killed between what happened to a real container and the hand-over of its message: it
comes all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import incidents
from tests.lab import Daemon, PrivateEngine
from tests.lab.programs import free_port
from tests.lab.receivers import Web, web
from tests.lab.waiting import eventually

RULE = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: {name: web}
    then: restart
    verify: {within: 5s}
    limits: {attempts: 1 per 1h, backoff: none}
"""


@contextmanager
def telling(engine: PrivateEngine, folder: Path, port: int) -> Iterator[Daemon]:
    urls = folder / "ops.url"
    urls.write_text(f"json://127.0.0.1:{port}/\n")
    urls.chmod(0o600)
    with daemon(engine, RULE, config=f"heal: off\nnotify: {{ops: {{url_file: {urls}}}}}\n") as one:
        yield one


def gave_up(one: Daemon) -> bool:
    return any(each.outcome == "failed" for each in incidents(one, state="closed"))


def titles(hook: Web) -> set[str]:
    return {json.loads(each.body)["title"] for each in hook.got}


def test_what_waits_for_a_receiver_that_is_down_comes_with_the_next_start(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    docker.patient("web", cured_by_restart=False)
    port = free_port()
    with telling(docker, tmp_path, port) as one:
        docker.sicken("web")
        eventually(
            lambda: any("was not accepted" in row["event"] for row in one.log),
            what="nobody took it",
        )
        one.kill()
        with web(port) as hook:
            one.start()
            eventually(
                lambda: titles(hook) == {"🔴 web is unhealthy, gave up after 1 try"}, what="it came"
            )
            one.stop()


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_killed_as_soon_as_the_outcome_is_on_disk(
    docker: PrivateEngine, tmp_path: Path, nth: int
) -> None:
    """Whether the message is in the outbox by then, nobody knows."""
    docker.patient("web", cured_by_restart=False)
    with web() as hook, telling(docker, tmp_path, hook.port) as one:
        hook.held.clear()
        docker.sicken("web")
        eventually(lambda: gave_up(one), every=0.001, what="its outcome is on disk")
        one.kill()
        hook.held.set()
        one.start()
        eventually(
            lambda: titles(hook) == {"🔴 web is unhealthy, gave up after 1 try"}, what="it came"
        )
        one.stop()
