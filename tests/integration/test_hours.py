"""A rule's hours on the real engine: what breaks before them is treated as they begin, after a
restart too."""

from __future__ import annotations

import time

from tests.integration.healing import actions_seen, closed, daemon
from tests.integration.stories import incidents
from tests.lab import PrivateEngine
from tests.lab.waiting import eventually


def next_minute(ahead: float) -> float:
    """The first full minute at least that many seconds away: wall seconds."""
    return (time.time() + ahead) // 60 * 60 + 60


def test_what_broke_before_the_hours_is_treated_as_they_begin_and_a_restart_forgets_nothing(
    docker: PrivateEngine,
):
    for name in ("web", "well-again"):
        docker.patient(name)
    opens = next_minute(25)
    clock = [time.strftime("%H:%M", time.gmtime(at)) for at in (opens, opens + 1800)]
    rules = f"""
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    during: "{clock[0]}-{clock[1]} UTC"
    then: restart
"""
    with daemon(docker, rules) as one:
        began = docker.now()
        docker.sicken("web")
        docker.sicken("well-again")
        eventually(
            lambda: len(incidents(one, waiting_for="window")) == 2, what="both wait for the hours"
        )
        docker.cure("well-again")
        (recovered,) = closed(one, "recovered", name="well-again")
        assert recovered["attempts"] == 0
        one.kill()
        one.start()
        (waiting,) = incidents(one, object_name="web")
        assert "outside its hours" in waiting.reason
        (healed,) = closed(one, "healed", name="web", timeout=120)
        assert healed["id"] == waiting.id
        assert actions_seen(docker, "web", began, "restart") == ["restart"]
        assert actions_seen(docker, "well-again", began, "restart") == []
        (story,) = incidents(one, object_name="web")
        assert story.closed_at is not None
        assert story.closed_at >= opens
