"""A container that crashes again and again is one incident that is given up, on the real engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.healing import closed, daemon
from tests.lab import PrivateEngine
from tests.lab.waiting import eventually

LOOP = """
version: 1
rules:
  - name: revive
    when: container.crashed
    match: all
    then: ACTION
    limits: {attempts: 3 per 15m, backoff: 100ms to 200ms}
"""
CRASHES = ("sh", "-c", "sleep 3; exit 7")
HOLDS_THE_SECOND = (
    "sh",
    "-c",
    """
    echo run >> /ctl/runs
    case "$(wc -l < /ctl/runs)" in
    1) sleep 15 ;;
    2) while [ -e /ctl/hold ]; do sleep 0.1; done ;;
    *) sleep 3 ;;
    esac
    exit 7
    """,
)
"""The same, but its second run lasts until the test lets it go: that is at most as long as the
verification, which asks for half as much again as the first run."""
AGAIN = re.compile(r"it ended with exit code 7 again, after \d+ s; given up after 3 attempts")


@pytest.mark.parametrize("action", ["start", "recreate"])
@pytest.mark.parametrize("killed", [False, True], ids=["", "dockmend dies"])
def test_a_crash_loop_is_one_incident_that_is_given_up(
    docker: PrivateEngine, action: str, killed: bool, tmp_path: Path
):
    """It runs for longer than the 2 s for which any container has to."""
    with daemon(docker, LOOP.replace("ACTION", action)) as one:
        if killed:
            (tmp_path / "hold").touch()
            docker.run("sick", "--volume", f"{tmp_path}:/ctl", command=HOLDS_THE_SECOND)
            eventually(
                lambda: one.incidents(state="verifying"), what="its first attempt is being verified"
            )
            one.kill()
            (tmp_path / "hold").unlink()
            one.start()
        else:
            docker.run("sick", command=CRASHES)
        (incident,) = closed(one, name="sick")
        assert (incident["outcome"], incident["reason_code"], incident["attempts"]) == (
            "failed",
            "exhausted",
            3,
        )
        assert AGAIN.fullmatch(incident["reason"]) is not None
        assert incident["lasted"] >= 2.5
        assert one.metric("dockmend_heals_total", rule="revive", outcome="healed") == 0
        assert docker.state("sick") == "exited"


def test_one_whose_check_passes_at_once_is_in_a_loop_all_the_same(docker: PrivateEngine):
    with daemon(docker, LOOP.replace("ACTION", "start")) as one:
        checked = ("--health-cmd", "true", "--health-interval=500ms", "--health-timeout=10s")
        docker.run("sick", *checked, command=CRASHES)
        (incident,) = closed(one, name="sick")
        assert (incident["outcome"], incident["attempts"]) == ("failed", 3)
        assert AGAIN.fullmatch(incident["reason"]) is not None
