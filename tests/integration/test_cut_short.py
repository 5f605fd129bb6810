"""Attempts that were cut short between two steps, with no intent open: they go on there, and
nothing is done again."""

from __future__ import annotations

from collections.abc import Callable

from dockmend.journal.records import AttemptStage
from tests.integration.healing import daemon
from tests.integration.stories import closed, incidents, stories
from tests.integration.test_ends import kill_main
from tests.lab import Daemon, PrivateEngine, eventually

Makes = Callable[..., PrivateEngine]

BETWEEN = """
version: 1
rules:
  - name: heal
    when: container.crashed
    match: all
    then:
      - commit_image: {repository: kept, tag: "{container.name}"}
      - wait: {time: 5s}
      - start
    verify: {within: 5s}
"""
LAST = """
version: 1
rules:
  - name: heal
    when: container.crashed
    match: all
    then: start
    finally:
      - wait: {time: 5s}
      - commit_image: {repository: kept, tag: "{container.name}"}
      - kill: {signal: CONT}
    verify: {within: 5s}
"""


def waits(one: Daemon) -> bool:
    """Whether it is in the step that waits."""
    return any(
        each.action == "wait" and each.outcome is None
        for _, actions in stories(one)
        for each in actions
    )


def parked(one: Daemon) -> bool:
    return bool(incidents(one, state="waiting", waiting_for="engine", stage=AttemptStage.STEPS))


def done(one: Daemon, *which: str) -> list[str]:
    """What was done, of these actions, in its order."""
    [(_, actions)] = stories(one)
    return [each.action for each in actions if each.outcome == "done" and each.action in which]


def test_a_death_while_an_attempt_waits_for_the_engine(own_engine: Makes):
    engine = own_engine()
    engine.run("web")
    with daemon(engine, {"rules.yaml": BETWEEN}) as one:
        kill_main(engine, "web")
        eventually(lambda: waits(one), 30.0, what="the second step is under way")
        engine.kill()
        eventually(lambda: parked(one), 30.0, what="the attempt waits for the engine")
        one.kill()
        engine.start()

        one.start()

        (incident,) = closed(one, timeout=60.0)
        assert (incident.outcome, incident.attempts) == ("healed", 1)
        assert done(one, "commit_image", "wait", "start") == ["commit_image", "wait", "start"]


def test_finally_is_gone_on_with_when_the_engine_is_back(own_engine: Makes):
    engine = own_engine(live_restore=True)
    engine.run("web")
    with daemon(engine, {"rules.yaml": LAST}) as one:
        kill_main(engine, "web")
        eventually(lambda: waits(one), 30.0, what="the first step of `finally` is under way")
        engine.kill()
        eventually(lambda: parked(one), 30.0, what="`finally` waits for the engine")

        engine.start()

        (incident,) = closed(one, timeout=60.0)
        assert (incident.outcome, incident.attempts) == ("healed", 1)
        assert done(one, "start", "wait", "commit_image", "kill") == [
            "start",
            "wait",
            "commit_image",
            "kill",
        ]
        assert engine.docker("images", "--format", "{{.Tag}}", "kept") == "web"
