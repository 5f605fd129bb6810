"""What a person does while dockmend waits, acts or verifies: their will holds, and no incident
stays open for it."""

from __future__ import annotations

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents, stories
from tests.lab import Daemon, PrivateEngine, eventually

RULE = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: {{name: web}}
    then:
      - exec: {{command: [sh, -c, "while [ ! -e /go ]; do sleep 0.1; done"]}}
      - restart
    verify: {{within: {within}}}
    limits: {{attempts: 5 per 1h, backoff: {backoff}}}
  - name: witness
    when: container.unhealthy
    match: {{name: witness}}
    then: restart
"""
ALLOW = "heal: off\npolicy: {allow: [restart, exec]}\n"
WITHOUT = "version: 1\nrules: []\n"

State = str
STATES = ("waiting", "acting", "verifying")


def in_state(docker: PrivateEngine, one: Daemon, state: State) -> None:
    """`web` is unhealthy, no restart cures it, and its incident is in that state and stays there.

    Waiting: for the second attempt. Acting: the first step waits for /go. Verifying: the first
    attempt is made.
    """
    if state != "acting":
        docker.docker("exec", "web", "touch", "/go")
    docker.docker("exec", "web", "rm", "-f", "/well")
    eventually(
        lambda: [each for each in incidents(one, rule="heal", state=state) if each.attempts == 1],
        60.0, what=f"the incident is {state}",
    )  # fmt: skip


@pytest.fixture
def rule(request: pytest.FixtureRequest) -> str:
    state = request.getfixturevalue("state")
    return RULE.format(
        within="1s" if state == "waiting" else "10m",
        backoff="30m to 1h" if state == "waiting" else "100ms to 1s",
    )


def patient(docker: PrivateEngine, state: State) -> None:
    """No restart cures it. One that is verified has no verdict of its health check for as long as
    the test lasts."""
    start_period = ["--health-start-period", "10m"] if state == "verifying" else []
    docker.patient("web", *start_period, cured_by_restart=False)


def touch(docker: PrivateEngine, path: str) -> None:
    """In `web`, which may be in the middle of a restart: then once it runs."""
    eventually(
        lambda: docker.docker("exec", "web", "touch", path) == "", 60.0, what=f"{path} is made"
    )


def restarts(one: Daemon) -> int:
    return sum(each.action == "restart" and each.outcome == "done" for _, done in stories(one)
        for each in done
               if each.object_name == "web")  # fmt: skip


def witnessed(docker: PrivateEngine, one: Daemon) -> None:
    """What comes after: once it is done, dockmend has seen all that came before it."""
    docker.sicken("witness", wait=False)
    closed(one, outcome="healed", rule="witness", timeout=60.0)


@pytest.mark.parametrize("state", STATES)
def test_a_stop_ends_it_and_the_container_stays_down(
    docker: PrivateEngine, state: State, rule: str
) -> None:
    patient(docker, state)
    docker.patient("witness")
    with daemon(docker, rule, config=ALLOW) as one:
        in_state(docker, one, state)
        before = restarts(one)

        docker.docker("stop", "--time", "1", "web")

        (incident,) = closed(one, rule="heal", timeout=60.0)
        witnessed(docker, one)
        assert incident.outcome in ("on_purpose", "recovered", "interrupted"), incident
        assert docker.state("web") == "exited"
        assert restarts(one) == before
        all_told(one)


@pytest.mark.parametrize("state", STATES)
def test_a_pause_of_dockmend_holds_what_has_not_begun_and_a_resume_goes_on(
    docker: PrivateEngine, state: State, rule: str
) -> None:
    patient(docker, state)
    docker.patient("witness")
    with daemon(docker, rule, config=ALLOW) as one:
        in_state(docker, one, state)
        before = restarts(one)

        one.cli("pause", "--container", "web")
        one.cli("reset", "heal", "web")  # nothing but the pause holds the next attempt now
        touch(docker, "/go")
        if state == "acting":  # an attempt that was begun is brought to its end
            eventually(lambda: restarts(one) == before + 1, 60.0, what="the attempt ends")
            before += 1
        witnessed(docker, one)
        assert restarts(one) == before

        one.cli("resume", "--container", "web")
        if state == "waiting":
            eventually(lambda: restarts(one) == before + 1, 60.0, what="the next attempt")
        touch(docker, "/well")

        (incident,) = closed(one, rule="heal", timeout=60.0)
        assert incident.outcome == "healed", incident
        all_told(one)


@pytest.mark.parametrize("state", STATES)
def test_a_reset_forgets_the_attempts_and_disturbs_none(
    docker: PrivateEngine, state: State, rule: str
) -> None:
    patient(docker, state)
    with daemon(docker, rule, config=ALLOW) as one:
        in_state(docker, one, state)
        before = restarts(one)

        said = one.cli("reset", "heal", "web")

        assert "reset rule heal for container:web" in said
        touch(docker, "/go")
        more = 0 if state == "verifying" else 1
        eventually(lambda: restarts(one) == before + more, 60.0, what="the attempt that is due")
        touch(docker, "/well")
        (incident,) = closed(one, rule="heal", timeout=60.0)
        assert incident.outcome == "healed", incident
        all_told(one)


@pytest.mark.parametrize("state", STATES)
def test_a_rule_that_is_taken_away_ends_what_is_open(
    docker: PrivateEngine, state: State, rule: str
) -> None:
    patient(docker, state)
    with daemon(docker, rule, config=ALLOW) as one:
        in_state(docker, one, state)
        before = restarts(one)

        (one.rules / "rules.yaml").write_text(WITHOUT)
        one.cli("reload")
        touch(docker, "/go")

        (incident,) = closed(one, rule="heal", timeout=60.0)
        assert incident.outcome in ("interrupted", "failed"), incident
        assert restarts(one) <= before + (state == "acting")
        all_told(one)

        (one.rules / "rules.yaml").write_text(rule)
        one.cli("reload")
        touch(docker, "/well")
        eventually(lambda: not one_is_open(one), 60.0, what="nothing is open")


def one_is_open(one: Daemon) -> bool:
    return any(each.state != "closed" for each in incidents(one))


@pytest.mark.parametrize("state", STATES)
def test_who_asks_for_it_gets_an_answer_and_one_attempt_at_a_time(
    docker: PrivateEngine, state: State, rule: str
) -> None:
    patient(docker, state)
    with daemon(docker, rule, config=ALLOW) as one:
        in_state(docker, one, state)

        said = one.command("trigger", "heal", "web")

        text = (said.stdout + said.stderr).decode()
        assert said.returncode in (0, 1), text
        assert "Traceback" not in text
        assert text.strip()
        assert (
            sum(each.state in ("acting", "verifying") for each in incidents(one, rule="heal")) <= 1
        )
        touch(docker, "/go")
        touch(docker, "/well")
        eventually(lambda: not one_is_open(one), 90.0, what="nothing is open")
        all_told(one)
