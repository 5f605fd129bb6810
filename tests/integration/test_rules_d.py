"""The rules that come with dockmend, each from end to end; reloading; and the commands that steer
the daemon."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.integration.healing import UNHEALTHY, daemon
from tests.integration.stories import all_told, closed, incidents
from tests.lab import Daemon, PrivateEngine, Recorder, eventually

SHIPPED = Path(__file__).resolve().parents[2] / "rules.d"
WRONG = (
    "version: 1\nrules:\n  - name: wrong\n    when: container.unhealhty\n    match: all\n    "
    "then: restart\n"
)
OTHER = UNHEALTHY.replace("name: heal", "name: other")


def shipped() -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(SHIPPED.glob("*.yaml"))}


def rule_names(one: Daemon) -> set[str]:
    return {
        row["name"]
        for row in json.loads(one.command("rules", "--json").stdout)
        if not row["builtin"]
    }


def crash(docker: PrivateEngine, name: str) -> None:
    os.kill(int(docker.inspect(name)["State"]["Pid"]), signal.SIGKILL)


# ---------------------------------------------------------------------------------------- rules.d
def test_each_rule_that_is_shipped_heals_what_asks_for_it_and_nothing_else(
    docker: PrivateEngine,
) -> None:
    docker.docker("network", "create", "lane")
    docker.docker("volume", "create", "--label", "dockmend.snapshot=true", "data")
    docker.docker("volume", "create", "plain")
    docker.patient("sick", "--label", "dockmend.restart-unhealthy=true")
    docker.patient("sick-plain")
    docker.run(
        "apart",
        "--label",
        "dockmend.reconnect=true",
        "--network",
        "lane",
        "--network-alias",
        "till",
    )
    docker.run("apart-plain", "--network", "lane")
    docker.run("peer", "--network", "lane")
    with daemon(docker, shipped()) as one:
        for name in ("sick-plain", "sick"):
            docker.sicken(name, wait=False)
        # Right after their start: what ended by itself has to run for longer than it did before it
        # is healed.
        for name, *label in (
            ("broken-plain",),
            ("broken", "--label", "dockmend.keep-crashed=true"),
        ):
            docker.run(name, *label)
            crash(docker, name)
        for name in ("apart-plain", "apart"):
            docker.docker("network", "disconnect", "lane", name)
        one.cli("trigger", "nightly-snapshot", "data")

        told = {(each.rule, each.object_name): each.outcome for each in closed(one, 4)}
        assert told == {
            ("restart-unhealthy", "sick"): "healed",
            ("keep-crashed", "broken"): "healed",
            ("reconnect-network", "apart"): "healed",
            ("nightly-snapshot", "data"): "done",
        }
        assert docker.health("sick") == "healthy"
        docker.await_health("sick-plain", "unhealthy")
        assert docker.state("broken") == "running"
        assert docker.state("broken-plain") == "exited"
        (image,) = docker.docker(
            "images", "--format", "{{.Repository}}:{{.Tag}}", "dockmend/crashed"
        ).splitlines()
        assert re.fullmatch(r"dockmend/crashed:broken-[0-9]{8}T[0-9]{6}", image)
        assert "till" in docker.docker("exec", "peer", "ping", "-c", "1", "-W", "2", "till")
        assert "lane" not in docker.inspect("apart-plain")["NetworkSettings"]["Networks"]
        assert [row["volume"] for row in json.loads(one.cli("snapshots", "list", "--json"))] == [
            "data"
        ]
        refused = one.command("trigger", "nightly-snapshot", "plain")
        assert refused.returncode == 1
        assert b"does not match" in refused.stderr
        all_told(one)


# ---------------------------------------------------------------------------------------- reloading
@pytest.mark.parametrize("how", ["the file changes", "SIGHUP", "dockmend reload"])
def test_rules_are_read_again_all_or_nothing(docker: PrivateEngine, how: str) -> None:
    docker.patient("web")
    with daemon(docker, {"a.yaml": UNHEALTHY}) as one:

        def again() -> int:
            if how == "SIGHUP":
                one.reload()
            return one.command("reload").returncode if how == "dockmend reload" else 0

        (one.rules / "b.yaml").write_text(OTHER)
        again()
        eventually(lambda: rule_names(one) == {"heal", "other"}, what="the new rule is in force")

        (one.rules / "b.yaml").write_text(WRONG)
        assert again() == (2 if how == "dockmend reload" else 0)
        eventually(
            lambda: one.metric("dockmend_rules_reload_success") == 0,
            what="the metric says that it failed",
        )
        assert rule_names(one) == {"heal", "other"}
        shown = one.command("rules")
        assert shown.returncode == 1
        assert re.search(
            rb"b\.yaml:4:11: rule wrong: .*did you mean .*container\.unhealthy", shown.stderr
        )
        if how != "dockmend reload":  # there the person who asked is told
            eventually(lambda: any("b.yaml:4:11" in str(line.get("problem")) for line in one.log))
        docker.sicken("web", wait=False)
        closed(one, rule="heal", outcome="healed")  # the old set works on

        (one.rules / "b.yaml").unlink()
        again()
        eventually(lambda: rule_names(one) == {"heal"}, what="the repaired folder is in force")
        eventually(lambda: one.metric("dockmend_rules_reload_success") == 1)
        assert one.command("rules").returncode == 0


def test_a_trouble_that_stands_is_treated_once_a_rule_for_it_comes(docker: PrivateEngine) -> None:
    docker.patient("web")
    with daemon(docker, {}) as one:
        docker.sicken("web")
        assert incidents(one) == []
        (one.rules / "a.yaml").write_text(UNHEALTHY)
        closed(one, rule="heal", outcome="healed")


def test_a_cold_start_with_wrong_rules_stands_on_the_last_good_ones(docker: PrivateEngine) -> None:
    docker.patient("web")
    with daemon(docker, {"a.yaml": UNHEALTHY}) as one:
        one.stop()
        (one.rules / "a.yaml").write_text(WRONG)
        one.start()
        assert rule_names(one) == {"heal"}
        status = one.command("status")
        assert status.returncode == 1
        assert b"last good set" in status.stdout
        docker.sicken("web", wait=False)
        closed(one, rule="heal", outcome="healed")


def test_a_cold_start_with_wrong_rules_and_no_good_ones_only_observes(
    docker: PrivateEngine,
) -> None:
    """Not even the built-in rule acts: what the person wrote might have spared this one."""
    docker.patient("web", "--label", "dockmend.heal=true")
    docker.sicken("web")
    with daemon(docker, WRONG, ready=False) as one, Recorder(docker) as events:
        shadowed = closed(one, rule="label:heal", outcome="dry_run")
        assert one.status("/readyz") == 503
        assert b"nothing is done" in one.command("status").stdout
        assert [each.dry_run for each in shadowed] == [True]
        assert events.actions("web", "restart") == []
        (one.rules / "rules.yaml").write_text(UNHEALTHY)
        closed(one, rule="heal", outcome="healed")


def test_a_reload_narrows_the_policy_and_only_a_restart_widens_it(docker: PrivateEngine) -> None:
    docker.patient("web")
    with daemon(docker, UNHEALTHY, config="heal: off\n") as one, Recorder(docker) as events:
        one.config.write_text("heal: off\npolicy: {allow: [start]}\n")
        one.cli("reload")
        docker.sicken("web")
        (refused,) = closed(one)
        assert (refused.outcome, refused.reason_code) == ("suppressed", "policy")

        one.config.write_text("heal: off\npolicy: {allow: [restart, starts]}\n")
        wrong = one.command("reload")
        assert wrong.returncode == 2
        assert (
            b"dockmend.yaml:2:27: policy.allow.1: unknown action 'starts': did you mean 'start'?"
            in wrong.stderr
        )

        one.config.write_text("heal: off\npolicy: {allow: [restart]}\n")
        assert "policy.allow: restart holds from a restart on" in one.cli("reload")
        asked = one.command("trigger", "heal", "web")
        assert (asked.returncode, b"policy does not allow restart" in asked.stderr) == (1, True)
        assert events.actions("web", "restart") == []

        one.stop()
        one.start()
        one.cli("trigger", "heal", "web")
        closed(one, outcome="healed")


def test_an_image_that_a_reload_trusts_no_longer_steers_nothing_from_then_on(
    docker: PrivateEngine,
) -> None:
    docker.toolbox_image("ours:1", labels={"dockmend.heal": "true"})
    docker.patient("web", image="ours:1")
    with daemon(docker, {}, config='policy: {trusted_images: ["ours:*"]}\n') as one:
        one.cli("trigger", "label:heal", "web")
        closed(one, outcome="healed")
        one.config.write_text("heal: labelled\n")
        one.cli("reload")
        eventually(lambda: b"does not match" in one.command("trigger", "label:heal", "web").stderr)


# ---------------------------------------------------------------------------------------- steering
def test_pause_and_resume(docker: PrivateEngine) -> None:
    docker.patient("web")
    with daemon(docker, UNHEALTHY) as one, Recorder(docker) as events:
        one.cli("pause", "--container", "web", "--for", "1h")
        assert one.metric("dockmend_paused") == 1
        docker.sicken("web")
        eventually(
            lambda: incidents(one, state="waiting", waiting_for="paused"),
            what="it waits for the pause",
        )
        one.stop()
        one.start()  # a pause outlives the daemon
        assert [
            each["target"] for each in json.loads(one.command("status", "--json").stdout)["pauses"]
        ] == ["container:web"]
        assert docker.health("web") == "unhealthy"
        assert events.actions("web", "restart") == []
        one.cli("resume", "--container", "web")
        closed(one, outcome="healed")
        assert one.metric("dockmend_paused") == 0
        assert one.command("resume", "--container", "web").returncode == 1


def test_reset_closes_a_breaker_and_tries_again(docker: PrivateEngine) -> None:
    docker.patient("web", cured_by_restart=False)
    rules = UNHEALTHY.replace(
        "limits: {", "verify: {within: 60s}\n    limits: {attempts: 1 per 1h, "
    )
    with daemon(docker, rules) as one:
        docker.sicken("web")
        closed(one, outcome="failed")
        assert one.metric("dockmend_breakers_open", rule="heal") == 1
        (row,) = json.loads(one.command("status", "--json").stdout)["breakers"]
        assert (row["rule"], row["target"]) == ("heal", "container:web")
        docker.docker("exec", "web", "rm", "-f", "/was")  # the next start makes it well
        one.cli("reset", "heal", "web")
        closed(one, outcome="healed")
        assert one.metric("dockmend_breakers_open", rule="heal") == 0


def test_trigger_replaces_when_for_and_if_but_not_what_is_forbidden(docker: PrivateEngine) -> None:
    rules = UNHEALTHY.replace(
        "match: all", "for: 1h\n    if: container.restart_count > 99\n    match: all"
    )
    docker.run("web")
    docker.run("spared", "--label", "dockmend.ignore=true")
    with daemon(docker, rules) as one, Recorder(docker) as events:
        one.cli("trigger", "heal", "web")
        (incident,) = closed(one)
        assert incident.outcome == "healed"
        assert incident.actor.startswith("uid ")
        assert events.actions("web", "restart") == ["restart"]
        for name, code, why in (
            ("spared", 1, b"dockmend.ignore"),
            ("nobody", 1, b"does not match"),
        ):
            refused = one.command("trigger", "heal", name)
            assert refused.returncode == code
            assert why in refused.stderr
        assert events.actions("spared", "restart") == []


# ----------------------------------------------------------------------------------- life and death
def test_readiness_follows_the_engine(own_engine, tmp_path: Path) -> None:
    engine = own_engine()
    with daemon(engine, UNHEALTHY) as one:
        assert one.status("/healthz") == 200
        engine.terminate()
        eventually(lambda: one.status("/readyz") == 503)
        assert one.status("/healthz") == 200
        assert one.metric("dockmend_engine_up") == 0
        assert one.command("status").returncode == 1
        engine.start()
        eventually(lambda: one.status("/readyz") == 200)


def test_a_second_instance_names_the_first(docker: PrivateEngine) -> None:
    with daemon(docker, UNHEALTHY) as one:
        flags = ["--engine", docker.url, "--rules", str(one.rules), "--listen", "127.0.0.1:0"]
        second = one.command("run", *flags)
        assert second.returncode == 2
        assert str(one.pid).encode() in second.stderr
        assert b"Traceback" not in second.stderr
        assert one.status("/readyz") == 200


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("heal: sometimes\n", b"dockmend.yaml:1:7"),
        ("hael: all\n", b"did you mean"),
        ("limits: {rate: 5}\n", b"dockmend.yaml:1:"),
        ("- a list\n", b"dockmend.yaml"),
    ],
)
def test_wrong_settings_are_refused(docker: PrivateEngine, config: str, told: bytes) -> None:
    one = Daemon(docker.url, config=config)
    try:
        refused = one.command(
            "run", "--config", str(one.config), "--engine", docker.url, "--rules", str(one.rules)
        )
        assert refused.returncode == 2
        assert told in refused.stderr
        assert b"Traceback" not in refused.stderr
    finally:
        one.close()


def test_a_stop_lets_what_runs_end_and_leaves_with_zero(docker: PrivateEngine) -> None:
    """A restart that is under way is not left to the next start."""
    rules = (
        "version: 1\nrules: [{name: asked, when: startup, match: {name: slow}, then: restart}]\n"
    )
    docker.run("slow", "--stop-timeout", "3", init=False)
    with daemon(docker, rules) as one, Recorder(docker) as events:
        eventually(lambda: incidents(one, state="acting"))
        assert one.stop(timeout=12) == 0
        assert events.actions("slow", "restart") == ["restart"]
        assert docker.state("slow") == "running"
        assert not one.running
        one.start()
        closed(one, 1, rule="asked")
