"""The commands that talk to the daemon, over a real socket to one that answers from a script."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dockmend.cli.command_context import in_force
from dockmend.control import pidfiles
from dockmend.control.pidfiles import PidFile, announced
from dockmend.control.socket_server import SocketServer
from dockmend.errors import InvalidFiles, Problem, UsageError
from dockmend.own_container import own_containers
from dockmend.settings import Policy

STATUS: dict[str, Any] = {
    "version": "0.1.0", "pid": 42, "started_at": 0.0, "state": "/s", "engine": {
        "url": "unix:///e", "up": True, "name": "host", "version": "26.1", "since": 1.0},
    "containers": {"running/healthy": 3, "running/starting": 1, "exited": 0},
    "rules": {"enabled": 2, "shadow": 1}, "incidents_open": 1,
    "given_up": [],
    "breakers": [{"rule": "r", "target": "container:web", "opened_at": 5.0,
            "reason": "tried 5 times"}],
    "pauses": [{"rule": None, "target": "container:db", "until": None, "actor": "uid 0 (root)",
            "at": 1.0}],
    "degraded": {}, "dry_run": True,
    "not_acting": {"dry_run": "this is a dry run", "another_healer": "beside \x1bautoheal"},
    "mqtt": "off",
    "healers": ["\x1bautoheal"],
}  # fmt: skip
RULES: dict[str, Any] = {
    "rules": [{"name": "heal", "state": "enabled", "builtin": True, "description": "",
            "when": ["container.unhealthy"],
               "match": "all", "then": ["restart"], "path": "p", "line": 1, "fired_at": None,
               "incidents_open": 0, "breakers": []}],
    "problems": [], "loaded_at": 1.0,
}  # fmt: skip


class Scripted:
    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"status": STATUS, "rules": RULES, "channels": []}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        async def command(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            answer = self.answers.get(name, {"text": f"{name} done", "incident": None})
            if isinstance(answer, Exception):
                raise answer
            return answer

        return command


@pytest.fixture
def state(tmp_path: Path) -> Iterator[tuple[Path, Scripted]]:
    daemon, ready = Scripted(), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with SocketServer(tmp_path / "dockmend.sock", daemon):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    yield tmp_path, daemon
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def test_what_was_given_up_and_is_still_broken_is_shown_with_a_line_to_paste(dockmend, state):
    folder, daemon = state
    lost = {
        "rule": "r",
        "target": "container:my web",
        "object_name": "my web",
        "since": 5.0,
        "reason": "tried 5 times",
    }
    broken = {
        "rule": "r",
        "target": "container:my web",
        "opened_at": 5.0,
        "reason": "tried 5 times",
    }
    daemon.answers["status"] = {**STATUS, "given_up": [lost], "breakers": [broken]}
    ran = dockmend("status", "--state", folder)
    assert ran.code == 1
    assert "GIVEN UP   my web, by r since" in ran.out
    assert "dockmend reset r 'container:my web'" in ran.out
    assert "breaker " not in ran.out  # the same is not said twice


def test_the_one_daemon_of_the_host_is_found_without_a_flag(dockmend, state, tmp_path, monkeypatch):
    folder, _ = state
    monkeypatch.setenv("DOCKMEND_RUNTIME", str(tmp_path / "run"))
    assert dockmend("status").code == 3
    with announced(folder / "dockmend.sock", folder, os.environ):
        ran = dockmend("status")
        assert (ran.code, "process 42" in ran.out) == (0, True)


def test_with_two_daemons_it_is_said_which_one_answers_and_nothing_is_changed(
    dockmend, state, tmp_path, monkeypatch
):
    folder, daemon = state
    monkeypatch.setenv("DOCKMEND_RUNTIME", str(tmp_path / "run"))
    found = [
        PidFile(1, "1", str(folder / "dockmend.sock"), str(folder)),
        PidFile(2, "2", "/b/sock", "/b"),
    ]
    monkeypatch.setattr(pidfiles, "running", lambda environ: found)
    ran = dockmend("status")
    assert (ran.code, "process 42" in ran.out) == (0, True)
    assert f"2 dockmends run here; this is the one in {folder}; for another: --state /b" in ran.err
    ran = dockmend("pause")
    assert ran.code == 2
    assert f"2 dockmends run here: say which with --state {folder} or --state /b" in ran.err
    assert [name for name, _ in daemon.calls] == ["status"]


def test_status_tells_everything_that_matters(dockmend, state):
    folder, _ = state
    ran = dockmend("status", "--state", folder)
    assert ran.code == 0
    for part in (
        "process 42",
        "unix:///e (host, 26.1): connected",
        "3 running, healthy; 1 running, health check starting\n",
        "2 enabled; 1 dry run (only says what it would do)\n",
        "1 open",
        "NOT ACTING this is a dry run",
        "paused     container:db, until it is resumed, by uid 0 (root)",
        "breaker    open for r on container:web",
        "NOT ACTING beside \\x1bautoheal",
    ):
        assert part in ran.out
    assert "0 exited" not in ran.out
    assert json.loads(dockmend("status", "--json", "--state", folder).out) == STATUS


SICK: dict[str, Any] = {
    "target": "container:my web", "object_name": "my web", "cause": "unhealthy", "since": 5.0,
    "covered": True, "note": "its check failed",
}  # fmt: skip
PAUSE: dict[str, Any] = {
    "rule": None, "target": None, "until": None, "actor": "uid 0 (root)", "at": 1.0,
}  # fmt: skip
NO_RULE = "no rule acts on {0} of it: see `dockmend explain 'my web' --trigger {0}`"
PAUSED_RULE = "a rule acts on it, if that is not one that is paused: heal"


@pytest.mark.parametrize(
    ("sick", "status", "said"),
    [
        ({}, {}, "a rule acts on it"),
        ({}, {"pauses": [{**PAUSE, "target": "container:db"}]}, "a rule acts on it"),
        (
            {},
            {"pauses": [{**PAUSE, "target": "container:my web"}]},
            "a rule acts on it, but it is paused until it is resumed",
        ),
        (
            {},
            {"pauses": [PAUSE]},
            "a rule acts on it, but dockmend is paused until it is resumed",
        ),
        ({}, {"pauses": [{**PAUSE, "rule": "heal"}]}, PAUSED_RULE),
        (
            {},
            {"not_acting": {"dry_run": "this is a dry run"}},
            "a rule would act on it, but this is a dry run",
        ),
        ({}, {"not_acting": {"another_healer": "label:heal only watches"}}, "a rule acts on it"),
        ({"covered": False}, {"pauses": [PAUSE]}, NO_RULE.format("container.unhealthy")),
        ({"covered": False, "cause": "looping"}, {}, NO_RULE.format("container.restart_loop")),
        (
            {"covered": False, "cause": "starting"},
            {},
            "nothing is done about it: no rule can listen to that",
        ),
    ],
)
def test_who_is_unwell_is_told_what_is_done_now_about_what_happened(
    sick, status, said, dockmend, state
):
    folder, daemon = state
    quiet: dict[str, Any] = {"pauses": [], "not_acting": {}, "degraded": {}}
    daemon.answers["status"] = {**STATUS, **quiet, **status, "unwell": [{**SICK, **sick}]}
    (line,) = [
        each
        for each in dockmend("status", "--state", folder).out.splitlines()
        if each.startswith("UNWELL")
    ]
    assert line.endswith(f": its check failed; {said}")


def test_each_cause_has_a_trigger_that_explain_knows_or_none_can_listen():
    from dockmend.app.unwell import CAUSES
    from dockmend.cli.explain import _known
    from dockmend.cli.socket_commands import TRIGGER_OF

    assert set(CAUSES) - set(TRIGGER_OF) == {"starting", "not_started"}
    assert [_known(each) for each in TRIGGER_OF.values()] == [*TRIGGER_OF.values()]


@pytest.mark.parametrize(
    "change",
    [{"degraded": {"journal": "disk full"}}, {"engine": {**STATUS["engine"], "up": False}}],
)
def test_status_says_no_by_its_exit_code(change, dockmend, state):
    folder, daemon = state
    daemon.answers["status"] = {**STATUS, **change}
    assert dockmend("status", "--state", folder).code == 1


@pytest.mark.parametrize(
    ("degraded", "code", "told"),
    [
        ({}, 0, "healthy\n"),
        ({"rules": "web.yaml is wrong"}, 1, "unhealthy: rules: web.yaml is wrong\n"),
        ({"journal": "disk full", "engine": "gone"}, 1, "unhealthy: journal: disk full\n"),
        ({"engine": "gone"}, 0, "healthy; no reason to restart dockmend: engine: gone\n"),
        ({"mqtt": "\x1bb"}, 0, "healthy; no reason to restart dockmend: mqtt: \\x1bb\n"),
    ],
)  # fmt: skip
def test_a_container_is_unhealthy_for_its_own_faults_only(degraded, code, told, dockmend, state):
    folder, daemon = state
    lost = {
        "rule": "r",
        "target": "container:web",
        "object_name": "web",
        "since": 5.0,
        "reason": "tried 5 times",
    }
    engine = {**STATUS["engine"], "up": "engine" not in degraded}
    daemon.answers["status"] = {
        **STATUS,
        "degraded": degraded,
        "engine": engine,
        "given_up": [lost],
    }
    ran = dockmend("status", "--health", "--state", folder)
    assert (ran.code, ran.out, ran.err) == (code, told, "")
    answer = json.loads(dockmend("status", "--health", "--json", "--state", folder).out)
    assert answer["healthy"] is (code == 0)
    assert {**answer["faults"], **answer["others"]} == degraded


def test_a_container_in_which_no_dockmend_answers_is_unhealthy(dockmend, tmp_path):
    ran = dockmend("status", "--health", "--state", tmp_path)
    assert (ran.code, ran.out[:28]) == (1, "unhealthy: daemon: no dockme")


def test_rules(dockmend, state):
    folder, daemon = state
    ran = dockmend("rules", "--state", folder)
    assert ran.code == 0
    shown = " ".join(ran.out.splitlines()[1].split())
    assert shown == "heal enabled, built in container.unhealthy all restart never 0 0"
    assert json.loads(dockmend("rules", "--json", "--state", folder).out) == RULES["rules"]
    daemon.answers["rules"] = {**RULES, "problems": ["a.yaml:1:1: bad"]}
    ran = dockmend("rules", "--state", folder)
    assert (ran.code, ran.err) == (1, "a.yaml:1:1: bad\n")
    daemon.answers["rules"] = {**RULES, "problems": ["/r: warning: others may write it"]}
    ran = dockmend("rules", "--state", folder)
    assert (ran.code, ran.err) == (0, "/r: warning: others may write it\n"), "a warning is no error"


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("pause", "--rule", "r", "--for", "1h"), ("pause", {"rule": "r", "for_": 3600.0})),
        (("pause", "--container", "c"), ("pause", {"container": "c"})),
        (("resume",), ("resume", {})),
        (("reset", "r", "t"), ("reset", {"rule": "r", "target": "t"})),
        (("reload",), ("reload", {})),
        (("trigger", "r", "n"), ("trigger", {"rule": "r", "name": "n"})),
        (
            ("trigger", "r", "n", "--even-if-stopped"),
            ("trigger", {"rule": "r", "name": "n", "even_if_stopped": True}),
        ),
    ],
)
def test_what_changes_something_reaches_the_daemon_with_the_actor(arguments, call, dockmend, state):
    folder, daemon = state
    ran = dockmend(*arguments, "--state", folder)
    assert (ran.code, ran.out) == (0, f"{call[0]} done\n")
    [(name, given)] = daemon.calls
    assert given.pop("actor").startswith("uid ")
    assert (name, given) == call


def test_incidents_come_from_the_daemon_where_the_journal_cannot_be_read(dockmend, state):
    folder, daemon = state
    about = {
        "id": "i1",
        "rule": "heal",
        "trigger": "container.unhealthy",
        "target": "container:web",
        "trouble": "t",
    }
    incident = {
        **about,
        "kind": "container",
        "object_id": "c",
        "object_name": "web",
        "opened_at": 5.0,
    }
    daemon.answers |= {"incidents": [incident], "incident": {"incident": incident, "actions": []}}
    assert "web" in dockmend("incidents", "--state", folder).out
    assert "Incident i1" in dockmend("incidents", "i1", "--state", folder).out
    daemon.answers |= {"incident": UsageError("there is no incident"), "incidents": []}
    assert dockmend("incidents", "i2", "--state", folder).code == 2


def test_a_trigger_names_its_incident(dockmend, state):
    folder, daemon = state
    daemon.answers["trigger"] = {"text": "triggered", "incident": "i123"}
    assert "dockmend incidents i123" in dockmend("trigger", "r", "n", "--state", folder).out


def test_a_refusal_is_the_daemons_own_sentence(dockmend, state):
    folder, daemon = state
    daemon.answers["trigger"] = UsageError("there is no rule r")
    ran = dockmend("trigger", "r", "n", "--state", folder)
    assert (ran.code, ran.err) == (2, "dockmend: there is no rule r\n")
    daemon.answers["reload"] = InvalidFiles((Problem("a", 1, 1, "x"), Problem("b", 2, 2, "y")))
    ran = dockmend("reload", "--state", folder)
    assert ran.code == 2
    assert "a:1:1: x" in ran.err
    assert "b:2:2: y" in ran.err


ONE_RULE = "version: 1\nrules: [{name: x, when: container.crashed, match: all, then: start}]\n"
IN_FORCE: dict[str, Any] = {
    "config": "/d/dockmend.yaml", "rules": "/d/rules.d", "state": "/d/state",
    "engine": "unix:///d.sock", "heal": "off",
    "policy": {"allow": ["restart"], "protect": {"name": ["*-db"]}}, "rate": [5, 60.0],
    "reserve": 1 << 30, "texts": {"/d/rules.d/a.yaml": ONE_RULE}, "channels": ["ops", "home"],
    "own": ["a" * 64], "host": "nas", "healers": [], "observes": False, "dry_run": True,
}  # fmt: skip


def test_commands_speak_about_the_rules_and_settings_of_the_daemon(state, capsys):
    folder, daemon = state
    daemon.answers["in_force"] = IN_FORCE
    found = in_force({"state": folder})
    assert [rule.name for rule in found.ruleset().rules] == ["x"]  # heal: off
    own = found.settings
    assert (str(own.paths.rules), own.paths.state, own.engine) == (
        "/d/rules.d",
        folder,
        "unix:///d.sock",
    )
    assert (own.policy.allows("restart"), own.policy.allows("stop"), own.limits.rate) == (
        True,
        False,
        (5, 60.0),
    )
    assert (own.dry_run, own.snapshots.reserve) == (True, 1 << 30)
    assert found.channels == frozenset({"ops", "home"})
    assert (found.own, found.host) == (frozenset({"a" * 64}), "nas")
    older = {
        key: value for key, value in IN_FORCE.items() if key not in ("channels", "own", "reserve")
    }
    daemon.answers["in_force"] = older  # of a daemon of another version
    found = in_force({"state": folder})
    assert (found.channels, found.own) == (None, own_containers())
    assert found.settings.snapshots.reserve is None
    assert capsys.readouterr().err == ""


def test_in_a_dry_run_by_the_settings_each_rule_is_one(state, tmp_path, monkeypatch):
    folder, daemon = state
    for dry in (True, False):
        daemon.answers["in_force"] = {**IN_FORCE, "heal": "labelled", "dry_run": dry}
        found = in_force({"state": folder})
        assert [rule.dry_run for rule in found.ruleset().rules] == [dry] * 3
    monkeypatch.setenv("DOCKMEND_DRY_RUN", "true")
    rules = in_force({"state": tmp_path / "none"}).ruleset().rules
    assert [rule.dry_run for rule in rules] == [True, True]


def test_a_flag_asks_about_other_rules_and_that_is_said(state, capsys, tmp_path):
    folder, daemon = state
    daemon.answers["in_force"] = IN_FORCE
    rules = tmp_path / "mine"
    rules.mkdir()
    (rules / "a.yaml").write_text(
        "version: 1\nrules: [{name: mine, when: startup, match: all, then: restart}]\n"
    )
    found = in_force({"state": folder, "rules": rules})
    assert [rule.name for rule in found.ruleset().rules] == ["mine", "label:heal", "label:rejoin"]
    assert f"as the flags say: rules of {rules}" in capsys.readouterr().err


def test_without_a_daemon_it_is_said_which_rules_are_read(tmp_path, capsys):
    found = in_force({"state": tmp_path})
    assert (found.texts, found.channels) == (None, frozenset())
    assert (
        f"no dockmend answers at {tmp_path}/dockmend.sock: rules of /etc/dockmend/rules.d"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy.model_validate(
            {"allow": [], "rules_owner": 1000, "protect": {"labels": {"a": "b"}, "name": "/^x$/"}}
        ),
    ],
)
def test_a_policy_comes_out_of_the_daemons_answer_as_it_went_in(policy):
    assert Policy.model_validate(policy.model_dump(mode="json", exclude_defaults=True)) == policy


def test_doctor_shows_what_the_daemon_was_warned_of(dockmend, state):
    folder, daemon = state
    daemon.answers["in_force"] = {**IN_FORCE, "state": str(folder)}
    daemon.answers["rules"] = {
        **RULES,
        "problems": ["/r: warning: others may write it", "/r/a.yaml:1:1: an error"],
    }
    told = dockmend("doctor", "--state", folder, "--engine", "unix:///does/not/exist").out
    assert "note    rules     /r: warning: others may write it\n" in told
    assert "an error" not in told


def test_doctor_shows_the_first_error_of_rules_that_were_rejected_and_where_the_others_are(
    dockmend, state
):
    folder, daemon = state
    problems = [
        "/r/a.yaml:1:1: warning: late",
        "/r/a.yaml:3:5: rule heal: no such action",
        "/r/b.yaml:1:1: no list",
    ]
    daemon.answers["in_force"] = {**IN_FORCE, "state": str(folder)}
    daemon.answers["rules"] = {**RULES, "problems": problems}
    daemon.answers["status"] = {
        **STATUS,
        "degraded": {"rules": "the last reload was rejected", "mqtt": "refused"},
    }
    told = dockmend("doctor", "--state", folder, "--engine", "unix:///does/not/exist").out
    said = "the last reload was rejected: /r/a.yaml:3:5: rule heal: no such action, and 1 more\n"
    assert said in told
    assert "→ `dockmend rules` shows every error" in told.partition(said)[2].splitlines()[0]
    assert "degraded: mqtt: refused\n" in told
    assert "see its log" not in told
