"""remove, set_limits and exec as rules use them: what they leave in the engine, in the journal and
in the mirror."""

from __future__ import annotations

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents, stories
from tests.integration.test_rules_d import shipped
from tests.lab import PrivateEngine, eventually

ALLOW = """
heal: off
policy: {allow: [restart, start, stop, remove, exec, set_limits, run, wait]}
"""

TIDY = """
version: 1
rules:
  - name: tidy
    when: container.crashed
    match: {name: "job-*"}
    then: remove
  - name: again
    when: container.missing
    match: all
    then: {wait: {time: 10ms}}
"""

RELOADED = """
version: 1
rules:
  - name: reload
    when: container.unhealthy
    match: all
    then:
      - exec: {command: [sh, -c, "cp /given /well; echo mended"], exit_code: [0, 3]}
      - wait: {until: healthy, within: 60s}
"""

SLOW = """
version: 1
rules:
  - name: slow
    when: container.unhealthy
    match: all
    then:
      - exec: {command: [sleep, "4242"]}
        timeout: 1s
    limits: {attempts: 1 per 1h}
"""

FAILING = ("sh", "-c", "sleep 0.3; exit 3")


def test_what_dockmend_removed_is_not_missing(docker: PrivateEngine) -> None:
    docker.run("bystander")
    with daemon(docker, TIDY, config=ALLOW) as one:
        docker.run("job-1", command=FAILING)
        closed(one, rule="tidy", outcome="done")
        # A person's: the mark by which we know that the wait was long enough.
        docker.docker("rm", "--force", "bystander")

        (missing,) = closed(one, rule="again", timeout=60)

        assert missing.object_name == "bystander"
        assert docker.api("GET", "/containers/json?all=1")[1] == []
        all_told(one)


def test_what_dockmend_removed_before_it_was_killed_is_not_missing(docker: PrivateEngine) -> None:
    docker.run("bystander")
    with daemon(docker, TIDY, config=ALLOW) as one:
        docker.run("job-1", command=FAILING)
        eventually(
            lambda: (
                [
                    each
                    for each in docker.api("GET", "/containers/json?all=1")[1]
                    if "job-1" in str(each)
                ]
                == []
            )
        )
        one.kill()
        docker.docker("rm", "--force", "bystander")
        one.start()

        (missing,) = closed(one, rule="again", timeout=60)

        assert missing.object_name == "bystander"
        all_told(one)


def test_without_the_policys_word_nothing_is_removed_and_check_says_so(
    docker: PrivateEngine,
) -> None:
    with daemon(docker, TIDY, config="heal: off\n") as one:
        said = one.command(
            "check", "--config", str(one.config), "--rules", str(one.rules)
        ).stderr.decode()
        docker.run("job-1", command=FAILING)

        (refused,) = closed(one, rule="tidy")

        assert "rule tidy: the settings' policy does not allow remove" in said
        assert (refused.outcome, refused.reason_code) == ("suppressed", "policy")
        assert docker.state("job-1") == "exited"


def test_what_is_protected_or_ignored_is_not_removed(docker: PrivateEngine) -> None:
    config = ALLOW.replace("policy: {", "policy: {protect: {name: [job-p*]}, ")
    with daemon(docker, TIDY, config=config) as one:
        docker.run("job-protected", command=FAILING)
        docker.run("job-ignored", "--label", "dockmend.ignore=true", command=FAILING)

        refused = {each.object_name: each.reason_code for each in closed(one, 2, rule="tidy")}

        assert refused == {"job-protected": "protected", "job-ignored": "ignored"}
        assert docker.state("job-protected") == docker.state("job-ignored") == "exited"


def test_a_command_in_the_container_heals_it(docker: PrivateEngine) -> None:
    docker.patient("web")
    docker.docker("exec", "web", "touch", "/given")
    with daemon(docker, RELOADED, config=ALLOW) as one:
        docker.sicken("web", wait=False)

        (incident,) = closed(one, rule="reload")

        assert incident.outcome in ("healed", "done")
        ((_, done),) = stories(one)
        assert done[0].detail == "exit code 0: mended"
        docker.await_health("web", "healthy")


def test_a_command_that_takes_too_long_is_ended_in_the_container(docker: PrivateEngine) -> None:
    docker.patient("web")
    with daemon(docker, SLOW, config=ALLOW) as one:
        docker.sicken("web", wait=False)

        (incident,) = closed(one, rule="slow")

        assert incident.outcome == "failed"
        assert "not done within 1 s" in incident.reason
        assert "4242" not in docker.docker("exec", "web", "ps")


def test_what_the_kernel_killed_for_memory_gets_more_of_it(docker: PrivateEngine) -> None:
    """Only the raised limit heals: with the old one it is killed again."""
    eats = ("sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=24M count=1000000")
    with daemon(docker, shipped()) as one:
        docker.run(
            "web", "--memory", "20m", "--memory-swap", "20m", "--label",
            "dockmend.raise-memory=true", command=eats, init=False,
        )  # fmt: skip

        (incident,) = closed(one, rule="raise-memory", timeout=60)

        assert incident.outcome == "healed"
        ((_, done),) = [story for story in stories(one) if story[0].rule == "raise-memory"]
        assert done[0].detail == "memory 20 MiB → 30 MiB, memory and swap 20 MiB → 30 MiB"
        assert docker.state("web") == "running"
        assert incidents(one, state="open") == []


def test_a_loop_of_kills_for_memory_is_a_loop(docker: PrivateEngine) -> None:
    """The engine's own restarts never end it; raising the limit does."""
    rule = """
version: 1
rules:
  - name: loop
    when: container.restart_loop
    match: all
    then: [{set_limits: {memory: "+100%", ceiling: 1g}}, restart]
"""
    eats = ("sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=24M count=1000000")
    with daemon(docker, rule, config=ALLOW) as one:
        docker.run(
            "web", "--memory", "20m", "--memory-swap", "20m", "--restart", "always", command=eats,
            init=False
        )  # fmt: skip

        (incident,) = closed(one, rule="loop", timeout=90)

        assert incident.outcome == "healed", incident
        assert docker.inspect("web")["HostConfig"]["Memory"] == 40 << 20
        assert docker.state("web") == "running"
