"""What `check`, `coverage`, `explain` and `doctor` conclude, on rules and containers made up for
it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dockmend.cli import doctor_checks
from dockmend.cli.coverage import _json, cover, covers
from dockmend.cli.dependents_view import DependentsView
from dockmend.cli.explain import change_of, changes_of
from dockmend.cli.rule_verdicts import Explainer
from dockmend.decide import History, Host
from dockmend.engine.engine_api import PODMAN, EngineInfo
from dockmend.errors import UsageError
from dockmend.guards import Guards
from dockmend.model import Container, HealthCheck
from dockmend.rules.label_names import OF_SHIPPED_RULES
from dockmend.rules.label_rules import with_label_rules
from dockmend.rules.loader import load_texts
from dockmend.settings import Policy, Protect

NOW = 1_000_000.0
RULES = """\
version: 1
rules:
  - {name: heal, when: container.unhealthy, match: {name: "web*"}, exclude: {name: "*-db"},
     then: restart}
  - {name: wide, when: container.unhealthy, match: all, then: restart, priority: -1}
  - {name: idle, when: container.unhealthy, match: all, then: restart, enabled: false}
  - {name: held, when: container.unhealthy, match: {name: held}, for: 30s,
     then: restart, priority: 5}
  - {name: quiet, when: container.unhealthy, match: {name: quiet}, then: restart, dry_run: true}
  - {name: code, when: container.crashed, match: {name: web}, if: container.exit_code == 3,
     then: start}
  - {name: often, when: {transition: container.crashed, times: 3 within 10m},
     match: {name: often}, then: start}
"""


def container(name: str, **changes: Any) -> Container:
    plain = Container(
        id=name.ljust(64, "0"),
        name=name,
        image="img",
        state="running",
        health="healthy",
        check=HealthCheck(),
    )
    return replace(plain, **changes)


@pytest.fixture
def rules():
    return load_texts({"r.yaml": RULES}, host="h")


@pytest.fixture
def explainer(rules):
    return Explainer(rules, Guards(Policy(protect=Protect(name=("*-pci",)))), "h")


def answers(explainer: Explainer, subject: Container, trigger: str) -> dict[str, tuple[str, str]]:
    return {
        each.rule: (each.answer, each.why)
        for each in explainer.explain(change_of(subject, trigger, NOW), NOW)
    }


def test_one_rule_fires_and_the_others_say_why_not(explainer):
    told = answers(explainer, container("web1"), "container.unhealthy")
    assert told["heal"] == ("fires", "restart")
    assert told["wide"][0] == "no"
    assert "heal answers this trouble: it has priority 0, this one -1" in told["wide"][1]
    assert told["idle"] == ("no", "is disabled")
    assert told["held"] == ("no", "does not match web1: wants name held")
    assert told["code"] == ("no", "listens to container.crashed")


def test_what_is_excluded_goes_to_the_next_rule(explainer):
    told = answers(explainer, container("web-db"), "container.unhealthy")
    assert told["heal"][1].startswith("excludes web-db")
    assert told["wide"] == ("fires", "restart")


def test_what_waits_and_what_only_watches(explainer):
    assert answers(explainer, container("held"), "container.unhealthy")["held"] == (
        "waits", "if it still stands after 30 s: restart")  # fmt: skip
    assert answers(explainer, container("quiet"), "container.unhealthy")["quiet"][0] == "shadow"


def test_conditions_are_answered(explainer):
    told = answers(explainer, container("web", state="exited", exit_code=1), "container.crashed")
    assert told["code"] == ("no", "its condition does not hold: container.exit_code == 3")
    assert (
        answers(explainer, container("web", state="exited", exit_code=3), "container.crashed")[
            "code"
        ][0]
        == "fires"
    )


def test_times_are_counted(explainer):
    subject = container("often", state="exited", exit_code=1)
    told = [answers(explainer, subject, "container.crashed")["often"] for _ in range(3)]
    assert told[0] == ("no", "counted: 1 of 3 times within 10 min")
    assert [each[0] for each in told] == ["no", "no", "fires"]


def test_what_is_protected_is_left_alone(explainer):
    told = answers(explainer, container("web-pci"), "container.unhealthy")
    assert told["heal"] == ("no", "the settings' policy protects name *-pci")


def test_limits_and_pauses_of_the_journal_count(explainer):
    history = History()
    history.of("heal", "container:web1").breaker_at = NOW - 1
    explainer.history = history
    assert (
        "breaker is open" in answers(explainer, container("web1"), "container.unhealthy")["heal"][1]
    )
    explainer.history, explainer.host = History(), Host(paused=lambda rule, target: NOW + 60)
    told = answers(explainer, container("web1"), "container.unhealthy")["heal"]
    assert told[0] == "waits"
    assert "paused by a person" in told[1]


def test_a_raw_event_is_explained_by_its_name():
    rule = (
        "{name: raw, when: {event: container.rename}, match: all, then: {publish: {topic: t, "
        "payload: m}}}"
    )
    rules = load_texts({"r.yaml": f"version: 1\nrules:\n  - {rule}\n"}, host="h")
    told = answers(Explainer(rules, Guards(), "h"), container("web"), "container.rename")
    assert told["raw"][0] == "fires"


def test_a_recording_is_replayed_through_the_mirror():
    web = container("web", state="running", health="healthy", started_at=NOW - 60)
    listing = {"containers": [web], "networks": [], "volumes": [], "began_at": NOW, "ended_at": NOW}
    actor = {"ID": web.id, "Attributes": {"name": "web"}}
    stamp = int((NOW + 1) * 1e9)
    event = {
        "Type": "container",
        "Action": "health_status: unhealthy",
        "Actor": actor,
        "timeNano": stamp,
    }
    lines = [msgspec.json.encode(each) for each in ({"listing": listing, "at": NOW}, event)]
    found = [change for change in changes_of([*lines, b"\n"], "f") if change.event is None]
    assert [change.triggers for change in found] == [("container.unhealthy",)]
    assert found[0].target == "container:web"


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"[]",
        b"{}",
        b"\xff",
        b'{"at": "x"}',
        b'{"inspect": 5, "at": 1}',
        b'{"timeNano": 1e400}',
    ],
)
def test_a_line_that_is_no_recording_is_named(line):
    with pytest.raises(UsageError, match="f:2:1: is no line of `dockmend record`"):
        list(changes_of([b"\n", line], "f"))


@pytest.mark.parametrize(
    ("subject", "covered", "why"),
    [
        (container("web1"), ("heal", "wide"), ""),
        (container("web-db"), ("wide",), ""),
        (container("web-pci"), (), "the settings' policy protects name *-pci"),
        (container("x", labels={"dockmend.ignore": "true"}), (), "labelled dockmend.ignore=true"),
        (
            container("x", check=None),
            (),
            "no health check, which wide listens to; idle is disabled",
        ),
    ],
)
def test_coverage_says_who_or_why_nobody(subject, covered, why, rules, explainer):
    found = cover(subject, rules, explainer.guards, DependentsView())
    assert found.rules == covered
    assert found.why == why


def test_coverage_says_of_dockmends_own_container_that_it_is_and_marks_it_for_who_counts(rules):
    own, other = container("dockmend"), container("other", check=None)
    guards = Guards(own=frozenset({own.id}))
    rows = [
        (each.name, found, _json(each, found, guards))
        for each, found in covers([own, other], rules, guards)
    ]
    assert [(name, found.rules, row["itself"]) for name, found, row in rows] == [
        ("dockmend", (), True), ("other", (), False),
    ]  # fmt: skip
    assert rows[0][1].why == "this is dockmend itself"


def test_coverage_with_the_builtin_rule():
    rules = with_label_rules(load_texts({}, host="h"), "labelled")
    asked = container("a", labels={"dockmend.heal": "true"})
    assert cover(asked, rules, Guards(), DependentsView()).rules == ("label:heal",)
    by_image = replace(asked, labels={}, image_labels=asked.labels)
    assert (
        cover(by_image, rules, Guards(), DependentsView()).why
        == "no rule matches; dockmend.heal is set by its image, which does not count"
    )


@pytest.mark.parametrize("label", ["dockmend.tier", "dockmnd.heal", "auto-heal"])
def test_coverage_names_a_label_that_no_rule_is_for(label: str):
    rules = with_label_rules(load_texts({}, host="h"), "labelled")
    assert (
        label
        in cover(container("a", labels={label: "true"}), rules, Guards(), DependentsView()).why
    )
    assert (
        cover(
            container("a", labels={"traefik.enable": "true"}), rules, Guards(), DependentsView()
        ).why
        == "no rule matches"
    )


def test_coverage_says_beside_whom_only_dry_runs_are_done():
    other = container("auto", image="willfarrell/autoheal", engine_address=True)
    rules = with_label_rules(load_texts({}, host="h"), "labelled", ["auto"])
    (_, covered), _ = covers(
        [container("a", labels={"dockmend.heal": "true"}), other], rules, Guards()
    )
    assert covered.why == "only dry runs: label:heal, while auto runs here too"


def test_coverage_names_labels_that_are_wrong_or_overruled():
    mine = (
        "version: 1\nrules:\n  - {name: mine, when: container.unhealthy, match: all, then: "
        "restart}\n"
    )
    rules = with_label_rules(load_texts({"a.yaml": mine}, host="h"), "labelled")
    found = cover(
        container("a", labels={"dockmend.heal": "true"}), rules, Guards(), DependentsView()
    )
    assert (found.rules, found.why) == (("mine", "label:heal"), "")
    assert found.labels == ("label:heal overruled by rule mine for container.unhealthy",)
    for when, troubles in {
        "container.exited": "container.crashed, container.left_down, container.oom_killed",
        "{transition: container.exited, cause: [oom_killed]}": "container.oom_killed",
    }.items():
        rules = with_label_rules(
            load_texts({"a.yaml": mine.replace("container.unhealthy", when)}, host="h"), "labelled"
        )
        found = cover(
            container("a", labels={"dockmend.heal": "true"}), rules, Guards(), DependentsView()
        )
        assert found.labels == (f"label:heal overruled by rule mine for {troubles}",)
    found = cover(
        container("a", labels={"dockmend.ignore": "please"}), rules, Guards(), DependentsView()
    )
    assert found.why == "labelled dockmend.ignore=true"
    assert found.labels == (
        "label dockmend.ignore=please: expected true or false (or yes, no, on, off, 1, 0)",
    )
    wrong = container("a", labels={"dockmend.heal": "true", "dockmend.heal.on": "crahsed"})
    found = cover(
        wrong, with_label_rules(load_texts({}, host="h"), "labelled"), Guards(), DependentsView()
    )
    assert (found.rules, found.why) == ((), "")
    assert "label dockmend.heal.on=crahsed: unknown" in found.labels[0]


ONE_OFF = {
    "com.docker.compose.oneoff": "True",
    "com.docker.compose.project": "shop",
    "dockmend.heal": "true",
}


def test_coverage_and_explain_name_a_compose_one_off(explainer):
    rules = with_label_rules(load_texts({}, host="h"), "all")
    job = container("shop-migrate", labels=ONE_OFF)
    said = "a Compose one-off: only a rule with match: {oneoff: true} acts on it"
    assert cover(job, rules, Guards(), DependentsView()).why == said
    change = change_of(job, "container.unhealthy", 1000.0)
    listening = [
        answer
        for answer in explainer.explain(change, 1000.0)
        if answer.asked and answer.why != "is disabled"
    ]
    assert listening
    assert all("is a Compose one-off" in answer.why for answer in listening)
    asking = (
        "version: 1\nrules: [{name: jobs, when: container.unhealthy, match: {oneoff: true}, "
        "then: restart}]\n"
    )
    assert cover(
        job, load_texts({"a.yaml": asking}, host="h"), Guards(), DependentsView()
    ).rules == ("jobs",)


def test_an_image_that_cannot_be_inspected_is_told():
    lost = container("web", image_labels={"dockmend.heal": "true"}, image_unknown=True)
    rules = with_label_rules(load_texts({}, host="h"), "labelled")
    assert cover(lost, rules, Guards(), DependentsView()).why.startswith(
        "no rule matches; its image cannot be inspected"
    )
    [found] = doctor_checks.labels([lost], [])
    assert (found.level, found.part) == ("problem", "labels")
    assert "its image cannot be inspected" in found.text


@pytest.mark.parametrize(("too_much", "level"), [(True, "problem"), (False, "note")])
def test_doctor_says_what_of_a_container_is_not_kept(too_much: bool, level: str):
    [found] = doctor_checks.labels([container("web", left_out=3 << 20, too_much=too_much)], [])
    assert found.level == level
    assert "container web: 3072 KiB of its name, labels" in found.text


# -------------------------------------------------------------------------------------------- check


def test_check_names_every_error_and_counts_what_is_fine(dockmend, tmp_path):
    (tmp_path / "good.yaml").write_text(RULES)
    ran = dockmend("check", tmp_path / "good.yaml")
    assert ran.code == 0
    assert ran.out.startswith("fine: 7 rules")
    (tmp_path / "bad.yaml").write_text(
        "version: 1\nrules:\n  - {name: x, wen: container.unhealthy, match: all, then: restart}\n"
    )
    (tmp_path / "dockmend.yaml").write_text("heal: of\n")
    ran = dockmend(
        "check", tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "dockmend.yaml"
    )
    assert ran.code == 1
    assert ran.out == ""
    assert f"{tmp_path}/bad.yaml:3:" in ran.err
    assert f"{tmp_path}/dockmend.yaml:1:7: heal: expected labelled" in ran.err


def test_check_refuses_what_run_refuses_for_its_writers(dockmend, tmp_path):
    rules, config = tmp_path / "rules.d", tmp_path / "dockmend.yaml"
    rules.mkdir()
    (rules / "a.yaml").write_text(RULES)
    config.write_text("heal: off\n")
    used = ("--rules", rules, "--config", config, "--state", tmp_path)
    assert dockmend("check", *used).code == 0
    for place in (rules / "a.yaml", rules, config):
        mode = place.stat().st_mode
        place.chmod(0o777)
        for arguments in (used, (rules, config)):
            ran = dockmend("check", *arguments)
            assert ran.code == 1
            assert f"{place}: may be written by everybody" in ran.err
        assert dockmend("check", "--content-only", rules, config).code == 0
        place.chmod(mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_check_judges_for_the_user_who_runs_dockmend_and_says_so(dockmend, tmp_path):
    state, rules = tmp_path / "state", tmp_path / "a.yaml"
    state.mkdir()
    rules.write_text(RULES)
    os.chown(rules, 4242, 4242)
    used = ("check", "--rules", rules, "--state", state)
    ran = dockmend(*used)
    assert (ran.code, ran.err.count("belongs to user 4242, not to root")) == (1, 1)
    assert "judged for" not in ran.err
    os.chown(state, 4242, 4242)
    ran = dockmend(*used)
    assert (ran.code, ran.err) == (
        0,
        f"judged for the user 4242, as whom dockmend runs: the owner of {state}\n",
    )


def test_check_without_a_path_looks_at_what_run_would_use(dockmend, tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(RULES.replace("then: start}", "then: exec}"))
    (tmp_path / "c.yaml").write_text("limits: {rat: 1}\n")
    ran = dockmend("check", "--rules", tmp_path / "rules", "--config", tmp_path / "c.yaml")
    assert ran.code == 1
    assert "unknown key 'rat' in limits: did you mean 'rate'?" in ran.err
    assert f"{tmp_path}/rules/a.yaml" in ran.err


def test_check_warns_of_an_engine_in_clear(dockmend, tmp_path):
    used = ("--rules", tmp_path, "--state", tmp_path, "--engine", "tcp://far:2375")
    ran = dockmend("check", *used)
    assert (ran.code, ran.out) == (0, "fine: 0 rules, with 1 warning\n")
    assert "warning: the engine at tcp://far:2375 (--engine) is reached without TLS" in ran.err


def test_check_says_what_there_was_to_check(dockmend, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKMEND_RULES", str(tmp_path / "none"))
    (tmp_path / "c.yaml").write_text("heal: off\n")
    ran = dockmend("check", "--config", tmp_path / "c.yaml")
    assert (ran.code, ran.out) == (0, "fine: 0 rules, with 1 warning\n")
    assert "none: warning: does not exist: no rule is in force" in ran.err
    assert dockmend("check", tmp_path / "c.yaml").out == "fine: 1 settings file\n"


def test_check_warns_of_what_the_policy_will_refuse(dockmend, tmp_path):
    (tmp_path / "a.yaml").write_text(RULES)
    (tmp_path / "a.yaml").chmod(0o600)
    (tmp_path / "c.yaml").write_text("policy: {allow: [start]}\n")
    ran = dockmend(
        "check", "--rules", tmp_path / "a.yaml", "--config", tmp_path / "c.yaml", "--json"
    )
    rows = json.loads(ran.out)
    assert ran.code == 0
    assert {
        "level": "warning",
        "rule": "heal",
        "message": "the settings' policy does not allow restart",
    }.items() <= rows[0].items()


# ------------------------------------------------------------------------------------------- doctor


@pytest.mark.parametrize(
    ("labels", "level", "said"),
    [
        ({"dockmnd.heal": "true"}, "problem", "did you mean dockmend.heal?"),
        ({"dockmend.heel": "true"}, "problem", "did you mean dockmend.heal?"),
        ({"auto-heal": "true"}, "problem", "did you mean autoheal?"),
        ({"dockmend.heal": "maybe"}, "problem", "until then heal is off for it"),
        (
            {"dockmend.heal": "true", "dockmend.heal.on": "crahsed"},
            "problem",
            "until then heal is off for it",
        ),
        ({"dockmend.heal": "yes"}, "ok", ""),
        ({"autoheal": "False"}, "ok", ""),
        ({"dockmend.heal": "true", "com.docker.compose.project": "x", "maintainer": "y"}, "ok", ""),
        ({"dockmend.tier": "x"}, "ok", ""),
        ({"dockmend.image": "web:1"}, "ok", ""),  # written by dockmend itself
        ({"dockmend.ignore": "Yes"}, "ok", ""),  # it is ignored
        ({"dockmend.ignore": "on"}, "ok", ""),
        (
            {"dockmend.ignore": "perhaps"},
            "problem",
            "until it is set right, the container is left alone",
        ),
    ],
)
def test_doctor_finds_labels_that_mean_nothing(labels, level, said):
    [found] = doctor_checks.labels(
        [container("web", labels=labels)], ["match: {labels: {dockmend.tier: '*'}}"]
    )
    assert found.level == level
    assert said in found.todo


@pytest.mark.parametrize("channels", [{"ops"}, set()])
def test_doctor_names_a_channel_that_does_not_exist(channels):
    web = container("web", labels={"dockmend.notify": "opps"})
    [found] = doctor_checks.labels([web], [], channels)
    assert (found.level, 'there is no channel "opps"' in found.text) == ("problem", True)
    assert "until then its messages go to all channels" in found.todo
    # a daemon of another version does not tell which there are
    [found] = doctor_checks.labels([web], [], None)
    assert found.level == "ok"


def test_coverage_names_a_channel_that_does_not_exist_and_still_says_why_nothing_is_done():
    rules = with_label_rules(load_texts({}, host="h"), "labelled")
    found = cover(
        container("a", labels={"dockmend.notify": "opps"}),
        rules,
        Guards(),
        DependentsView(),
        {"ops"},
    )
    assert found.labels[0].startswith('label dockmend.notify=opps: there is no channel "opps"')
    assert found.why == "no rule matches"
    assert (
        cover(
            container("a", labels={"dockmend.notify": "ops"}),
            rules,
            Guards(),
            DependentsView(),
            {"ops"},
        ).labels
        == ()
    )


def test_doctor_says_which_rule_a_label_needs_that_none_in_force_names():
    web = container("web", labels={"dockmend.raise-memory": "true", "dockmend.depends-on": "db"})
    [found] = doctor_checks.labels([web], [])
    assert found.level == "problem"
    assert "dockmend.raise-memory=true does nothing: no rule in force names it" in str(found)
    assert "50-raise-memory.yaml" in str(found)
    assert (
        doctor_checks.labels([web], ["match: {labels: {dockmend.raise-memory: 'true'}}"])[0].level
        == "ok"
    )


def test_doctor_knows_the_rule_file_of_each_label_that_the_shipped_rules_read():
    files = {
        label: file.name
        for file in (Path(__file__).parents[3] / "rules.d").glob("*.yaml")
        for label in re.findall(r"labels: \{(dockmend\.[a-z-]+):", file.read_text())
    }
    assert files == OF_SHIPPED_RULES
    web = container("web", labels={"dockmend.snapshot": "true"})
    [found] = doctor_checks.labels([web], [])
    assert "40-nightly-snapshots.yaml" in found.todo
    assert "on the volume" in found.todo


def test_doctor_finds_labels_an_image_set():
    [found] = doctor_checks.labels(
        [container("web", image_labels={"dockmend.heal": "true", "maintainer": "x"})], []
    )
    assert found.level == "note"
    assert "comes from its image" in found.text


@pytest.mark.parametrize(
    ("root", "trouble", "ran", "read", "level", "said"),
    [
        (None, "", 3, 0, "note", "not on this host"),
        ("/var/lib/docker", "", 0, 0, "ok", "nothing to read"),
        ("/var/lib/docker", "", 3, 2, "ok", "log and environment"),
        (
            "/var/lib/docker",
            "/var/lib/docker/containers: Permission denied",
            3,
            0,
            "note",
            "Permission denied",
        ),
        ("/other", "", 3, 0, "note", "another engine's"),
    ],
)
def test_doctor_says_whether_the_engines_own_files_tell(
    root: str | None, trouble: str, ran: int, read: int, level: str, said: str
) -> None:
    finding = doctor_checks.engine_files(Path(root) if root else None, trouble, ran, read)
    assert (finding.level, said in finding.text) == (level, True)
    assert ("/containers" in finding.todo) == (level == "note" and root is not None)


def test_doctor_finds_other_healers():
    found = doctor_checks.healers([
        container("a", image="willfarrell/autoheal:1", engine_address=True),
        container("named", image="evil/autoheal:1"),
        container("w", image="containrrr/watchtower"),
        container("gone", image="willfarrell/autoheal", state="exited", engine_address=True),
    ])  # fmt: skip
    assert [each.text.split()[0] for each in found] == ["a", "w"]
    assert doctor_checks.healers([container("web")])[0].level == "ok"


def test_doctor_finds_another_dockmend_by_its_container():
    here = [
        container("mine", image="dockmend"),
        container("theirs", image="nas/dockmend:2"),
        container("web"),
    ]
    [found] = doctor_checks.dockmends(here, lambda each: each.name == "mine")
    assert (found.level, "container theirs looks like another dockmend" in found.text) == (
        "note",
        True,
    )


def test_doctor_finds_those_that_ask_for_healing_without_a_health_check():
    [found] = doctor_checks.consent(
        [container("a", labels={"autoheal": "true"}, check=None), container("b")]
    )
    assert (found.level, "container a asks" in found.text) == ("problem", True)


def test_doctor_knows_what_stays_down(rules):
    down = [
        container("a", restart_policy="unless-stopped"),
        container("b", restart_policy="always"),
    ]
    assert (
        "1 (a) with restart: unless-stopped" in doctor_checks.restart_policies(down, rules)[0].text
    )
    mended = load_texts(
        {
            "r": "version: 1\nrules: [{name: x, when: container.left_down, match: all, then: "
            "start}]\n"
        },
        host="h",
    )
    assert doctor_checks.restart_policies(down, mended)[0].level == "ok"


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ([], "if 1 (a) end with exit code 0"),
        ([{"restart_policy": "always"}], ""),
        (
            [{"restart_policy": "unless-stopped", "state": "exited"}],
            "if 1 (a) end with exit code 0",
        ),
    ],
    ids=["none", "one that runs", "one that does not run"],
)
def test_doctor_knows_of_a_host_on_which_nothing_shows_that_the_engine_went_down(
    others: list[dict[str, object]], named: str
):
    reboot = (
        "version: 1\nrules: [{name: x, when: container.left_down, match: {name: a}, then: start}]\n"
    )
    mended = load_texts({"r": reboot}, host="h")
    here = [container("a", restart_policy="no"), container("job", restart_policy="no")]
    found = doctor_checks.restart_policies(
        [*here, *(container("other", **each) for each in others)], mended
    )
    told = [each.text for each in found if "no container has a restart policy" in each.text]
    assert [named in each for each in told] == ([True] if named else [])


def test_doctor_knows_what_asks_to_be_healed_and_stays_down_with_the_engine(rules):
    asks = {"labels": {"dockmend.heal": "true"}, "restart_policy": "no"}
    found = doctor_checks.restart_policies(
        [
            container("up", **asks),
            container("down", state="exited", finished_at=1.0, **asks),
            container("job"),
        ],
        rules,
    )
    assert [each.level for each in found] == ["note", "note"]
    assert "1 (up) ask to be healed and have no restart policy" in found[0].text
    assert "1 (down) ask to be healed, are down, and have no restart policy" in found[1].text


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (EngineInfo("i", "host", "26.1.5", "1.45", live_restore=True), []),
        (EngineInfo("i", "host", "26.1.5", "1.45"), ["live-restore is off"]),
        (EngineInfo("i", "host", "5.4.2", "1.41", product=PODMAN), ["this is Podman"]),
    ],
)
def test_doctor_says_what_kind_of_engine_it_is(info, said):
    first, *others = doctor_checks.engine("unix:///sock", info)
    assert f"{info.product} {info.version} (API {info.api_version}) on host" in first.text
    assert [other.level for other in others] == ["note"] * len(said)
    assert all(words in other.text for words, other in zip(said, others, strict=True))


@pytest.mark.parametrize(
    ("free", "level"), [(10, "problem"), (500 * 1024**2, "note"), (50 * 1024**3, "ok")]
)
def test_doctor_looks_at_the_disk(free, level):
    assert doctor_checks.disk("disk", free, 100 * 1024**3).level == level


@pytest.mark.parametrize(
    ("ahead", "level"), [(0.0, "ok"), (1.9, "ok"), (30.0, "problem"), (-30.0, "problem")]
)
def test_doctor_compares_clocks(ahead, level):
    assert doctor_checks.clock_skew(ahead).level == level


def test_doctor_without_an_engine_looks_at_the_rest(dockmend, tmp_path):
    (tmp_path / "c.yaml").write_text("heal: of\nlimits: {rate: 0}\n")
    ran = dockmend(
        "doctor",
        "--engine",
        "unix:///does/not/exist",
        "--state",
        tmp_path,
        "--config",
        tmp_path / "c.yaml",
    )
    assert ran.code == 1
    assert "PROBLEM engine    cannot reach the engine" in ran.out
    assert ran.out.count("PROBLEM settings") == 2
    rows = json.loads(
        dockmend("doctor", "--engine", "unix:///does/not/exist", "--state", tmp_path, "--json").out
    )
    assert all(set(row) == {"level", "part", "text", "todo"} for row in rows)
    missing = dockmend(
        "doctor",
        "--engine",
        "unix:///does/not/exist",
        "--state",
        tmp_path,
        "--rules",
        tmp_path / "none",
    )
    assert "none does not exist: there is what labels ask for only" in missing.out
    assert all(row["todo"] for row in rows if row["level"] == "problem")


def test_doctor_tries_the_broker(dockmend, tmp_path):
    (tmp_path / "c.yaml").write_text("mqtt: {host: 127.0.0.1, port: 1}\n")
    ran = dockmend(
        "doctor",
        "--engine",
        "unix:///does/not/exist",
        "--state",
        tmp_path,
        "--config",
        tmp_path / "c.yaml",
    )
    assert "PROBLEM broker    127.0.0.1:1" in ran.out
