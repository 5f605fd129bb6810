"""What comes out of right files: merged defaults, warnings, order, names, the digest, and who may
write them."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from dockmend.errors import InvalidFiles
from dockmend.model import Container, Volume
from dockmend.rules.action_parameters import (
    CommitImage,
    Keep,
    Publish,
    RestartParams,
    SnapshotVolume,
    WaitParams,
)
from dockmend.rules.loader import digest, load_rules, load_texts
from dockmend.rules.rule import Rule, RuleLimits, RuleSet, TargetRef, Verify

HERE = Path(__file__).parent


def load(body: str, **texts: str) -> RuleSet:
    files = {
        "a.yaml": "version: 1\n" + body,
        **{f"{name}.yaml": text for name, text in texts.items()},
    }
    return load_texts(files, host="prod-lab")


def one(**keys: str) -> Rule:
    rule = {
        "name": "heal",
        "when": "container.unhealthy",
        "match": "all",
        "then": "restart",
        **keys,
    }
    body = "".join(f"    {key.rstrip('_')}: {value}\n" for key, value in rule.items())
    return load("rules:\n  - " + body[4:]).rules[0]


def warnings(**keys: str) -> list[str]:
    rule = {
        "name": "heal",
        "when": "container.unhealthy",
        "match": "all",
        "then": "restart",
        **keys,
    }
    body = "".join(f"    {key.rstrip('_')}: {value}\n" for key, value in rule.items())
    return [str(warning) for warning in load("rules:\n  - " + body[4:]).warnings]


def refusal(*args: Any, **keys: Any) -> str:
    with pytest.raises(InvalidFiles) as raised:
        load_rules(*args, **keys)
    return str(raised.value)


def test_the_shortest_rule_has_all_the_defaults() -> None:
    rule = one()
    assert (rule.name, rule.path, rule.line, rule.severity, rule.mode) == (
        "heal",
        "a.yaml",
        3,
        "warning",
        "single",
    )
    assert rule.limits == RuleLimits()
    assert rule.limits.attempts == (5, 900.0)
    assert rule.verify == Verify("auto", None)
    assert rule.match.everything
    assert [(step.action, step.params) for step in rule.then] == [("restart", RestartParams())]
    assert rule.remedies
    assert not rule.dry_run


def test_the_full_rule_says_what_the_file_says() -> None:
    text = (HERE / "right" / "full.yaml").read_text()
    (rule,) = load_texts({"full.yaml": text}, host="prod-lab").rules
    assert (rule.hold, rule.priority, rule.enabled) == (30.0, 10, True)
    assert rule.limits == RuleLimits(60.0, (5, 900.0), (1.0, 300.0), (10, 60.0))
    assert rule.verify == Verify("healthy", 60.0)
    commit, restart = rule.then
    assert commit.params == CommitImage(repository="kept", tag="{container.name}", keep=3)
    assert restart.params == RestartParams.model_validate({"timeout": "10s"})
    assert restart.params.timeout == 10.0
    assert rule.finally_[0].params == Publish(topic="seen/{container.name}")
    assert rule.finally_[0].tells
    assert [step.action for step in rule.escalate] == ["stop", "start", "publish"]
    assert rule.during is not None
    assert rule.during_text
    labels = {
        "dockmend.heal": "true",
        "tier": "web-1",
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "api",
    }
    container = Container(id="1", name="web7", image="nginx:1.27", labels=labels)
    assert rule.match.test(container)
    assert not rule.match.test(Container(id="1", name="web7", image="nginx:1.27"))
    assert rule.exclude is not None
    assert rule.exclude.test(Container(id="1", name="shop-db"))
    assert rule.condition is not None
    assert rule.condition({"container.restart_count": 4, "container.exit_code": 1})
    assert not rule.condition({"container.restart_count": 5, "container.exit_code": 1})


def test_a_rule_for_another_host_selects_nothing_here() -> None:
    text = (HERE / "right" / "full.yaml").read_text()
    (rule,) = load_texts({"full.yaml": text}, host="lab").rules
    assert not rule.match.test(Container(id="1", name="web7"))


def test_defaults_are_merged_key_by_key() -> None:
    rules = load(
        "defaults:\n  limits: {cooldown: 1m, attempts: none}\n  match: {labels: {tier: web}}\n  "
        "priority: 7\n"
        "rules:\n"
        "  - {name: one, when: container.crashed, match: {name: one}, then: start, limits: "
        "{attempts: 2 per 1m}}\n"
        "  - {name: two, when: container.crashed, match: {labels: {app: two}}, then: start, "
        "priority: 9}\n"
        "  - {name: three, when: container.crashed, then: start, match: all}\n"
    ).rules
    assert rules[0].limits == RuleLimits(cooldown=60.0, attempts=(2, 60.0))
    assert rules[1].limits == RuleLimits(cooldown=60.0, attempts=None)
    assert [rule.priority for rule in rules] == [7, 9, 7]
    both = Container(id="1", name="one", labels={"tier": "web", "app": "two"})
    assert rules[0].match.test(both)
    assert rules[1].match.test(both)
    assert not rules[1].match.test(Container(id="1", name="one", labels={"app": "two"}))
    assert rules[2].match.everything


def test_defaults_hold_in_their_own_file_only() -> None:
    other = (
        "version: 1\nrules:\n  - {name: other, when: container.crashed, match: all, then: "
        "start, dry_run: true}\n"
    )
    own = (
        "defaults: {priority: 7}\nrules:\n  - {name: own, when: container.unhealthy, match: "
        "all, then: start}\n"
    )
    rules = load(own, b=other).rules
    assert [(rule.name, rule.priority) for rule in rules] == [("own", 7), ("other", 0)]


def test_for_and_verify_of_defaults_are_left_out_where_they_do_not_go() -> None:
    rule = load(
        "defaults: {for: 30s, verify: {state: running}}\nrules:\n"
        "  - {name: nightly, when: {every: 1d}, match: {kind: volume}, then: {snapshot_volume: "
        "{consistency: live}}}\n"
    ).rules[0]
    assert (rule.hold, rule.verify.state) == (0.0, "none")
    assert rule.match.test(Volume(name="data"))


def test_limits_none_switches_one_off() -> None:
    assert one(limits="{attempts: none, backoff: none}").limits == RuleLimits(
        attempts=None, backoff=None
    )


def test_triggers_are_what_was_written() -> None:
    rule = one(
        when="[{transition: container.network_lost, cause: [removed], times: 3 within 10m}, "
        "container.crashed]"
    )
    lost, crashed = rule.triggers
    assert (lost.kind, lost.name, lost.causes, lost.times) == (
        "transition", "container.network_lost", frozenset({"removed"}), (3, 600.0),
    )  # fmt: skip
    assert crashed.causes == frozenset()
    schedule = one(when='{schedule: "*/15 * * * *", timezone: UTC, catch_up: once}').triggers[0]
    assert (schedule.kind, schedule.cron, schedule.timezone, schedule.catch_up) == (
        "schedule",
        "*/15 * * * *",
        "UTC",
        "once",
    )
    assert one(when="{every: 5m}").triggers[0].interval == 300.0
    assert one(when="startup").triggers[0].kind == "startup"
    event = one(when='{event: container.commit, attributes: {image: "x*"}}').triggers[0]
    assert (event.kind, event.name) == ("event", "container.commit")
    ((name, test),) = event.attributes
    assert (name, test("xy"), test("y")) == ("image", True, False)


def test_match_all_takes_the_kind_of_its_trigger() -> None:
    rule = one(when="volume.missing", then="{publish: {topic: gone}}")
    assert rule.match.kind == "volume"
    assert rule.match.everything


def test_any_key_of_exclude_that_holds_excludes() -> None:
    rule = one(exclude='{name: "*-db", labels: {tier: db, env: prod}}')
    assert rule.exclude is not None
    assert rule.exclude.test(Container(id="1", name="shop-db"))
    assert rule.exclude.test(Container(id="1", name="web", labels={"tier": "db", "env": "prod"}))
    assert not rule.exclude.test(Container(id="1", name="web", labels={"tier": "db"}))


def test_a_label_written_as_a_boolean_is_understood() -> None:
    rule = one(match="{labels: {dockmend.heal: true}}")
    assert rule.match.test(Container(id="1", name="web", labels={"dockmend.heal": "true"}))
    assert not rule.match.test(Container(id="1", name="web", labels={"dockmend.heal": "True"}))


def test_steps_carry_their_options() -> None:
    rule = one(
        then="[{restart: {signal: hup}, timeout: 1m, on_error: continue, target: {label: "
        "tier=web}}, wait: {time: 5s}]"
    )
    restart, wait = rule.then
    assert restart.params == RestartParams(signal="SIGHUP")
    assert (restart.timeout, restart.on_error, restart.target) == (
        60.0,
        "continue",
        TargetRef(label=("tier", "web")),
    )
    assert wait.params == WaitParams.model_validate({"time": "5s"})
    assert wait.tells
    assert not one(then="{wait: {until: healthy, within: 2m}}").then[0].tells
    assert not one(then="{publish: {topic: x}}").remedies
    assert one(then="{publish: {topic: x}}").costs == 0
    then = "[{publish: {topic: x}}, stop, {wait: {until: healthy, within: 2m}}, start]"
    assert one(then=then, finally_="[restart]").costs == 3


def test_snapshot_parameters() -> None:
    rule = one(
        then='{snapshot_volume: {volumes: ["{container.name}-data"], consistency: pause, keep: '
        "{last: 7}}}"
    )
    assert rule.then[0].params == SnapshotVolume(
        volumes=("{container.name}-data",), consistency="pause", keep=Keep(last=7)
    )


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        (
            {"escalate": "[{rollback_image: {}}]"},
            "7:17: warning: rule heal: not yet in this version: rollback_image",
        ),
        (
            {"then": "{rollback_image: {}}", "dry_run": "true"},
            "6:12: warning: rule heal: not yet in this version: rollback_image",
        ),
        (
            {
                "when": "service.degraded",
                "dry_run": "true",
                "match": "{kind: service}",
                "then": "{publish: {topic: x}}",
            },
            "4:11: warning: rule heal: not yet in this version: service.degraded",
        ),
        (
            {"when": "{event: volume.destroy}", "then": "{publish: {topic: x}}"},
            (
                "4:19: warning: rule heal: the raw event volume.destroy can be lost: use the "
                "transition volume.missing"
            ),
        ),
        (
            {"match": "\n      name: web #1"},
            (
                '6:13: warning: rule heal: YAML reads what follows " #" as a comment and '
                "keeps web: "
                "write it in quotes if the rest belongs to it"
            ),
        ),
        (
            {"escalate": "stop", "limits": "{attempts: none}"},
            (
                "7:5: warning: rule heal: `escalate` can never run: `attempts: none` never opens "
                "the breaker"
            ),
        ),
        (
            {"escalate": "stop", "then": "{publish: {topic: x}}"},
            "7:5: warning: rule heal: `escalate` can never run: nothing in `then` can fail to heal",
        ),
    ],
)
def test_warnings(keys: dict[str, str], warning: str) -> None:
    assert f"a.yaml:{warning}" in warnings(**keys)


TELLS = """version: 1
rules:
  - name: tell
    when: container.unhealthy
    match: all
    then: {{notify: {{{to}message: x}}}}
"""


UNKNOWN = (
    """6:25: rule tell: unknown channel "opps" (did you mean "ops"?): expected one of home, ops"""
)
SECOND = (
    """6:31: rule tell: unknown channel "hone" (did you mean "home"?): expected one of home, ops"""
)
NONE = (
    '6:25: rule tell: unknown channel "ops": '
    "expected a channel of the settings (notify): there is none"
)
UNHEARD = (
    "a.yaml:6:12: warning: rule tell: `notify` tells nobody: no channel is configured "
    "(settings: notify)"
)
DEFAULT = (
    'a.yaml:6:25: warning: rule tell: channel "default" is not configured here: '
    "DOCKMEND_NOTIFY_URL makes it"
)


@pytest.mark.parametrize(
    ("to", "channels", "wrong"),
    [
        ("to: opps, ", ["ops", "home"], UNKNOWN),
        ("to: [ops, hone], ", ["ops", "home"], SECOND),
        ("to: ops, ", [], NONE),
    ],
)
def test_a_channel_that_nobody_configured_is_an_error_at_its_place(
    to: str, channels: list[str], wrong: str
) -> None:
    text = TELLS.format(to=to)
    with pytest.raises(InvalidFiles) as raised:
        load_texts({"a.yaml": text}, host="lab", channels=channels)
    assert str(raised.value) == f"a.yaml:{wrong}"
    assert load_texts({"a.yaml": text}, host="lab").warnings == (), (
        "where the channels are not known"
    )


@pytest.mark.parametrize(
    ("to", "channels", "said"),
    [
        ("", [], [UNHEARD]),
        ("", ["ops"], []),
        ("to: default, ", ["ops"], [DEFAULT]),
        ("to: default, ", ["default"], []),
        ("to: [ops, home], ", ["ops", "home"], []),
    ],
)
def test_what_tells_nobody_here_is_said_and_heals_all_the_same(
    to: str, channels: list[str], said: list[str]
) -> None:
    loaded = load_texts({"a.yaml": TELLS.format(to=to)}, host="lab", channels=channels)
    assert [str(each) for each in loaded.warnings] == said


def test_a_message_says_something() -> None:
    with pytest.raises(
        InvalidFiles, match='6:30: rule tell: `message` is the text " ": expected a text to send'
    ):
        load_texts(
            {"a.yaml": TELLS.format(to="").replace("message: x", 'message: " "')}, host="lab"
        )


def test_what_is_not_yet_there_is_marked_unavailable() -> None:
    rule = one(escalate="[{rollback_image: {}}, stop, {snapshot_volume: {consistency: hooks}}]")
    assert [step.available for step in rule.escalate] == [False, True, False]


def test_recreate_takes_an_image_and_is_a_rung_of_the_ladder() -> None:
    rule = one(
        then="[recreate, {recreate: {image: newest}}]",
        escalate='[{recreate: {image: "shop:{now:%Y}"}}]',
    )
    assert [step.params.image for step in (*rule.then, *rule.escalate)] == [
        "same",
        "newest",
        "shop:{now:%Y}",
    ]
    assert all(step.available and not step.tells for step in (*rule.then, *rule.escalate))


def test_two_remedies_for_one_trouble_are_reported_at_the_one_that_loses() -> None:
    rules = (
        "rules:\n  - {name: all, when: container.unhealthy, match: all, then: restart}\n"
        '  - {name: web, when: container.unhealthy, match: {name: "web*"}, then: restart}\n'
    )
    (warning,) = load(rules).warnings
    assert str(warning).startswith(
        "a.yaml:3:5: warning: rule all: overlaps with rule web: both answer container.unhealthy"
    )
    assert (
        load(rules.replace("then: restart}\n", "then: restart, priority: 1}\n", 1)).warnings == ()
    )


def test_names_are_unique_over_all_files() -> None:
    rule = (
        "version: 1\nrules:\n  - {name: heal, when: container.crashed, match: all, then: start}\n"
    )
    with pytest.raises(InvalidFiles) as raised:
        load_texts({"b.yaml": rule, "a.yaml": rule}, host="lab")
    assert str(raised.value) == (
        "b.yaml:3:12: rule heal: the name heal is taken by the rule at a.yaml:3: "
        "expected one that is unique over all files"
    )


def test_the_digest_tells_files_apart() -> None:
    assert digest({"a": "x", "b": "y"}) == digest({"b": b"y", "a": b"x"})
    assert digest({"a": "x"}) != digest({"a": "y"})
    assert digest({"a": "x", "b": ""}) != digest({"a": "", "b": "x"})
    assert load("rules: []\n").digest == digest({"a.yaml": "version: 1\nrules: []\n"})


# -------------------------------------------------------------------------------------------- files
def write(folder: Path, name: str, text: str = "version: 1\nrules: []\n") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o644)
    return path


RULE = "version: 1\nrules:\n  - {name: a, when: startup, match: all, then: restart}\n"


def test_a_folder_is_read_in_the_order_of_names_without_what_editors_leave(tmp_path: Path) -> None:
    for name in ("20-b.yml", "10-a.yaml"):
        write(
            tmp_path,
            name,
            f"version: 1\nrules:\n  - {{name: {name[3]}, when: startup, match: all, then: "
            f"restart}}\n",
        )
    for name in (
        ".10-a.yaml.swp",
        ".hidden.yaml",
        "10-a.yaml~",
        "#10-a.yaml#",
        "10-a.yaml.dpkg-old",
        "README.md",
    ):
        write(tmp_path, name, "no rules")
    (tmp_path / "sub").mkdir()
    rules = load_rules(tmp_path, host="lab").rules
    assert [rule.name for rule in rules] == ["a", "b"]
    assert [rule.order for rule in rules] == [1, 2]
    assert rules[0].path == str(tmp_path / "10-a.yaml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "no.yaml", host="lab")
        == f"{tmp_path}/no.yaml: cannot be read: no such file or directory"
    )


def test_a_fifo_does_not_hold_the_loader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    assert refusal(tmp_path, host="lab") == f"{tmp_path}/a.yaml: is not a regular file"


def test_a_file_larger_than_a_mebibyte(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "#" * (1 << 20) + "\n")
    assert "expected at most 1048576 (1 MiB)" in refusal(tmp_path, host="lab")


@pytest.mark.parametrize(
    ("mode", "whom"), [(0o664, "its group"), (0o646, "everybody"), (0o666, "everybody")]
)
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int, whom: str) -> None:
    path = write(tmp_path, "a.yaml")
    path.chmod(mode)
    assert refusal(tmp_path, host="lab", owner="root") == (
        f"{path}: may be written by {whom}, and dockmend goes by what it says: `chmod go-w "
        f"{path}` mends that"
    )
    assert load_rules(tmp_path, host="lab", owner=None).rules == ()


@pytest.mark.parametrize("place", [".", "rules.d"])
def test_a_folder_that_others_may_write_is_refused_wherever_it_is_above_the_file(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "rules.d").mkdir()
    write(tmp_path / "rules.d", "a.yaml")
    opened = tmp_path / place
    opened.chmod(0o777)
    expected = (
        f"{opened}: may be written by everybody, and what is in it can be replaced: "
        f"`chmod go-w {opened}` mends that"
    )
    assert refusal(tmp_path / "rules.d", host="lab", owner="root") == expected
    assert refusal(tmp_path / "rules.d" / "a.yaml", host="lab", owner="root") == expected


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@as_root
def test_a_link_in_a_folder_that_others_may_write_does_not_lead_to_a_file_that_root_wrote(
    tmp_path: Path,
) -> None:
    """Sticky keeps what is root's; a stranger may still add a link of their own."""
    folder = tmp_path / "rules.d"
    folder.mkdir()
    folder.chmod(0o1777)
    write(tmp_path, "other.yaml")
    (folder / "a.yaml").symlink_to(tmp_path / "other.yaml")
    assert load_rules(folder, host="lab", owner="root").rules == ()
    os.chown(folder / "a.yaml", 4242, 4242, follow_symlinks=False)
    assert refusal(folder, host="lab", owner="root") == (
        f"{folder}/a.yaml: belongs to user 4242, not to root: `chown root {folder}/a.yaml` mends "
        "that, or set `policy: {rules_owner: 4242}` in the settings, or the variable "
        "`DOCKMEND_POLICY_RULES_OWNER=4242`"
    )


def test_links_of_trusted_users_are_followed_and_what_they_lead_through_is_judged(
    tmp_path: Path,
) -> None:
    """Kubernetes mounts a ConfigMap as `a.yaml -> ..data/a.yaml`, `..data -> ..2025_01`."""
    folder = tmp_path / "rules.d"
    stage = tmp_path / "rules.d" / "..2025_01"
    stage.mkdir(parents=True)
    write(stage, "a.yaml", RULE)
    (folder / "..data").symlink_to("..2025_01")
    (folder / "a.yaml").symlink_to("..data/a.yaml")
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    assert [rule.name for rule in load_rules(linked, host="lab", owner="root").rules] == ["a"]
    stage.chmod(0o777)
    assert f"{linked}/..2025_01: may be written by everybody" in refusal(
        linked, host="lab", owner="root"
    )


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    assert "too many levels of symbolic links" in refusal(tmp_path, host="lab", owner="root")


def test_a_file_that_is_swapped_for_a_link_after_it_was_seen_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "a.yaml")
    write(tmp_path, "other", RULE)
    really = os.stat

    def swapped(name: str, **options: Any) -> os.stat_result:
        seen = really(name, **options)
        if name == "a.yaml" and "dir_fd" in options:
            path.unlink()
            path.symlink_to("other")
        return seen

    monkeypatch.setattr("dockmend.file_trust.os.stat", swapped)
    assert "cannot be read: too many levels of symbolic links" in refusal(
        tmp_path, host="lab", owner="root"
    )


@as_root
@pytest.mark.parametrize(("owner", "runs_as"), [("4242", None), ("root", 4242)])
def test_files_of_a_user_who_is_named_by_number_or_runs_dockmend(
    tmp_path: Path, owner: str, runs_as: int | None
) -> None:
    path = write(tmp_path, "a.yaml", RULE)
    os.chown(path, 4242, 4242)
    assert refusal(tmp_path, host="lab", owner="root") == (
        f"{path}: belongs to user 4242, not to root: `chown root {path}` mends that, "
        "or set `policy: {rules_owner: 4242}` in the settings, or the variable "
        "`DOCKMEND_POLICY_RULES_OWNER=4242`"
    )
    assert len(load_rules(tmp_path, host="lab", owner=owner, runs_as=runs_as).rules) == 1


@as_root
def test_rules_on_a_share_of_a_nas_need_one_setting_which_the_error_names(tmp_path: Path) -> None:
    """Such a share gives everything one owner and mode 0777, and nobody can change that."""
    folder = tmp_path / "share" / "rules.d"
    folder.mkdir(parents=True)
    path = write(folder, "a.yaml", RULE)
    for each in (path, folder, folder.parent):
        os.chown(each, 4242, 100)
        each.chmod(0o777)
    assert refusal(folder, host="lab", owner="root") == (
        f"{folder.parent}: belongs to user 4242, not to root: `chown root {folder.parent}` mends "
        "that, or set `policy: {rules_owner: 4242}` in the settings, or the variable "
        "`DOCKMEND_POLICY_RULES_OWNER=4242`, which takes it as it is; it may be written by "
        f"everybody, and what is in it can be replaced: `chmod go-w {folder.parent}` mends that"
    )
    found = load_rules(folder, host="lab", owner="4242")
    assert [rule.name for rule in found.rules] == ["a"]
    [warning] = found.warnings
    assert str(warning) == (
        f"{folder.parent}: warning: others than user 4242 may write this and 2 more, which counts "
        "as policy.rules_owner is 4242: whoever can write there gives dockmend orders; `chmod -R "
        "go-w` mends that, if the file system keeps modes"
    )
    for each in (path, folder, folder.parent):
        each.chmod(0o755)
    assert load_rules(folder, host="lab", owner="4242").warnings == ()


@as_root
def test_of_a_share_only_what_belongs_to_the_uid_that_is_named_passes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", RULE)
    path.chmod(0o666)
    assert f"{path}: may be written by everybody" in refusal(tmp_path, host="lab", owner="4242"), (
        "it is root's"
    )
    assert f"{path}: may be written by everybody" in refusal(tmp_path, host="lab", owner="0"), (
        "root can close it"
    )
    os.chown(path, 4242, 100)
    assert len(load_rules(path, host="lab", owner="4242").rules) == 1
    assert f"{path}: may be written by everybody" in refusal(
        tmp_path, host="lab", owner="root", runs_as=4242
    )
    os.chown(path, 4243, 100)
    assert "belongs to user 4243" in refusal(tmp_path, host="lab", owner="4242")
    os.chown(path, pwd.getpwnam("daemon").pw_uid, 100)
    told = refusal(tmp_path, host="lab", owner="daemon")
    assert f"{path}: may be written by everybody" in told, "a user by name can close what is theirs"
    number, told = pwd.getpwnam("daemon").pw_uid, refusal(path, host="lab", owner="root")
    assert f"`DOCKMEND_POLICY_RULES_OWNER={number}`, which takes it as it is; it may" in told
    assert len(load_rules(path, host="lab", owner=str(number)).rules) == 1


def test_an_owner_who_does_not_exist(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml")
    assert refusal(path, host="lab", owner="nobody-here") == (
        f"{path}: there is no user nobody-here: expected policy.rules_owner to name one"
    )


def test_problems_of_files_that_cannot_be_read_come_with_those_that_can(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml").chmod(0o666)
    (tmp_path / "b.yaml").symlink_to(tmp_path / "nowhere")
    write(tmp_path, "c.yaml", "version: 2\nrules: []\n")
    lines = refusal(tmp_path, host="lab", owner="root").splitlines()
    assert [line.removeprefix(f"{tmp_path}/")[:24] for line in lines] == [
        "a.yaml: may be written b", "b.yaml: cannot be read: ", "c.yaml:1:10: `version` i",
    ]  # fmt: skip


def test_what_is_wrong_with_a_secret_is_said_without_it() -> None:
    step = "exec: {command: [x], env: {PGPASSWORD: 123456}}"
    text = (
        f"version: 1\nrules:\n  - {{name: a, when: container.unhealthy, match: all, then: "
        f"[{{{step}}}]}}\n"
    )
    with pytest.raises(InvalidFiles, match="`PGPASSWORD` is not text: put it in quotes") as caught:
        load_texts({"a.yaml": text}, host="h")
    assert "123456" not in str(caught.value)


@pytest.mark.parametrize(
    "number",
    ["0x" + "f" * 5000, "0b" + "1" * 20_000, "9" * 5000, "0" + "7" * 5000, "59:" * 99 + "1"],
)
def test_a_number_without_an_end_is_a_mistake_like_any_other(number: str) -> None:
    rule = f"{{name: a, when: container.unhealthy, match: all, then: restart, priority: {number}}}"
    text = f"version: 1\nrules:\n  - {rule}\n"
    with pytest.raises(InvalidFiles, match=r"as a number of [0-9]+ characters") as caught:
        load_texts({"a.yaml": text}, host="h")
    assert len(str(caught.value.problems[0])) < 200
