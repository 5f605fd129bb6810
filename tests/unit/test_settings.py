"""Settings: precedence, every error at its place and all at once, secrets that nothing shows."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from dockmend.errors import DockmendError, InvalidFiles, UsageError
from dockmend.settings import (
    Address,
    Mqtt,
    Policy,
    Secret,
    Settings,
    check_file,
    find_paths,
    load,
    schema,
)
from dockmend.settings.sections import ACTIONS, FileSettings
from dockmend.settings.variables import VARIABLES


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path: Path = tmp_path / "dockmend.yaml"
        path.write_text(text)
        return path

    return write


def wrong(file: Any, text: str) -> list[str]:
    """The problems of a settings text, as LINE:COLUMN: message."""
    path = file(text)
    return [str(problem).removeprefix(f"{path}:") for problem in check_file(path)]


# --------------------------------------------------------------------------------------- precedence


def test_without_anything_the_defaults_of_the_contract_hold():
    found = load(environ={})
    assert (found.heal, found.unknown_cause) == ("labelled", "restart policy")
    assert (found.limits.rate, found.limits.parallel) == ((30, 60.0), 4)
    assert found.http.listen == Address("127.0.0.1", 9468)
    assert found.http.metrics_listen is None
    assert found.mqtt is None
    assert found.snapshots.bind_roots == ()
    assert found.paths.rules == Path("/etc/dockmend/rules.d")
    assert found.paths.state == Path("/var/lib/dockmend")
    assert found.paths.socket == Path("/run/dockmend/dockmend.sock")
    assert found.policy.rules_owner == "root"
    assert found.engine is None


def test_flags_stand_over_the_environment_and_that_over_the_file(file):
    path = file('engine: "tcp://file:1"\nheal: all\nlimits: {parallel: 2, rate: 5 per 10s}\n')
    environ = {
        "DOCKMEND_ENGINE": "tcp://env:1",
        "DOCKMEND_HEAL": "off",
        "DOCKMEND_LIMITS_PARALLEL": "7",
    }
    found = load({"engine": "tcp://flag:1", "listen": None}, environ, path)
    assert (found.engine, found.heal, found.limits.parallel) == ("tcp://flag:1", "off", 7)
    assert found.limits.rate == (5, 10.0), "what neither names is the file's"


COLLECTIONS = {
    "limits": ("{parallel: 9}", "limits: {parallel: 9}"),
    "snapshots": ("{bind_roots: [/srv]}", "snapshots: {bind_roots: [/srv]}"),
    "snapshots.reserve": ("1GiB", "snapshots: {reserve: 1g}"),
    "snapshots.bind_roots": ("[/srv, /mnt]", "snapshots: {bind_roots: [/srv, /mnt]}"),
    "mqtt": ("{host: broker}", "mqtt: {host: broker}"),
    "mqtt.tls": ("{ca: /ca.pem}", "mqtt: {host: broker, tls: {ca: /ca.pem}}"),
    "policy": ("{allow: [restart]}", "policy: {allow: [restart]}"),
    "policy.allow": ("[restart, start]", "policy: {allow: [restart, start]}"),
    "policy.protect": ("{name: '*-db'}", "policy: {protect: {name: '*-db'}}"),
    "policy.protect.labels": ("{tier: pci}", "policy: {protect: {labels: {tier: pci}}}"),
    "policy.protect.name": ("['*-db', vault]", "policy: {protect: {name: ['*-db', vault]}}"),
    "policy.protect.image": ("vault:*", "policy: {protect: {image: 'vault:*'}}"),
    "policy.trusted_images": ("[a:1]", "policy: {trusted_images: [a:1]}"),
    "notify": ("{ops: {logs: 1}}", "notify: {ops: {logs: 1}}"),
    "http.names": (
        "[nas.lan, dockmend.example.org]",
        "http: {names: [nas.lan, dockmend.example.org]}",
    ),
    "http": ("{listen: null}", "http: {listen: null}"),
}
"""A variable's value, and the settings file that says the same."""


@pytest.mark.parametrize("name", COLLECTIONS)
def test_lists_and_mappings_are_read_as_the_files_are(name, file):
    value, text = COLLECTIONS[name]
    environ = {f"DOCKMEND_{name.upper().replace('.', '_')}": value}
    if name == "mqtt.tls":
        environ["DOCKMEND_MQTT_HOST"] = "broker"
    found, same = (
        load(environ=environ, secrets=False),
        load(environ={}, config=file(text), secrets=False),
    )
    assert found.model_dump(exclude={"paths"}) == same.model_dump(exclude={"paths"})
    assert found.model_dump(exclude={"paths"}) != load(environ={}, secrets=False).model_dump(
        exclude={"paths"}
    )


def test_a_key_stands_over_what_holds_it_and_a_wrong_one_is_told_with_its_variable():
    environ = {"DOCKMEND_LIMITS_PARALLEL": "7", "DOCKMEND_LIMITS": "{parallel: 2, rate: 5 per 1m}"}
    limits = load(environ=environ).limits
    assert (limits.parallel, limits.rate) == (7, (5, 60.0))
    with pytest.raises(
        UsageError, match="DOCKMEND_LIMITS: unknown key 'rat' in limits: did you mean"
    ):
        load(environ={"DOCKMEND_LIMITS": "{rat: 5 per 1m}"})
    with pytest.raises(UsageError, match=r"DOCKMEND_POLICY_ALLOW: policy\.allow: expected a list"):
        load(environ={"DOCKMEND_POLICY_ALLOW": "[restart"})


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"MQTT": "mqtt://user:hunter2@broker"}, ("DOCKMEND_MQTT: mqtt: expected keys and values, "
        "as in {key: value}")),
        ({"MQTT": "host: broker\npassword: hunter2"}, ("DOCKMEND_MQTT: mqtt: expected keys "
        "and values")),
        ({"MQTT": "{host: broker, password: hunter2"}, ("DOCKMEND_MQTT: mqtt: expected keys "
        "and values")),
        ({"MQTT": "{host: broker, password: hunter2}"}, ("unknown key 'password' in mqtt: secrets "
        "are not written here")),
        ({"MQTT_HOST": "mqtt://user:hunter2@broker"}, ("DOCKMEND_MQTT_HOST: mqtt.host: expected a "
        "name or an address")),
        ({"MQTT_HOST": "broker:1883"}, ("DOCKMEND_MQTT_HOST: mqtt.host: expected a name or "
        "an address")),
        ({"MQTT_USERNAME": "me"}, "DOCKMEND_MQTT_USERNAME: mqtt: the key 'host' is missing"),
        ({"MQTT_HOST": "h", "MQTT_USERNAME": "no"},
            """found false (as a text: DOCKMEND_MQTT_USERNAME='"no"')"""),
        ({"POLICY_PROTECT_NAME": "db, web"}, ("holds a comma or a space, as no name does: "
        "expected a list")),
        ({"POLICY_TRUSTED_IMAGES": "a:1,b:1"}, ("holds a comma or a space, as no name does: "
        "expected a list")),
        ({"HEAL": "all # of them"}, "expected labelled, all or off, found 'all # of them'"),
        ({"LISTEN": "[::1]:1", "HTTP_LISTEN": "[::1]:2"}, ("DOCKMEND_LISTEN: says something else "
        "than DOCKMEND_HTTP_L")),
        ({"POLICY": "{rules_owner: nobody-here}"}, "DOCKMEND_POLICY: there is no user nobody-here"),
    ],
)  # fmt: skip
def test_no_variable_is_ignored_and_no_error_shows_a_secret(environ, told):
    with pytest.raises(UsageError) as caught:
        load(environ={f"DOCKMEND_{name}": value for name, value in environ.items()})
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["a: b", "*", "- a", "%", "'", "me #1", "#1", "007", "1e3", "2024-01-01", "1:30"]
)
def test_a_text_that_only_looks_like_yaml_is_that_text(text):
    mqtt = load(
        environ={"DOCKMEND_MQTT_HOST": "h", "DOCKMEND_MQTT_USERNAME": text}, secrets=False
    ).mqtt
    assert mqtt is not None
    assert mqtt.username == text


@pytest.mark.parametrize("name", [each for each in VARIABLES if each not in COLLECTIONS])
def test_every_variable_reaches_its_key(name, file):
    given_values = {
        "heal": "all", "unknown_cause": "act", "limits.rate": "9 per 9s", "limits.parallel": "9",
        "mqtt.port": "9", "http.listen": "[::1]:9", "http.metrics_listen": "0.0.0.0:9",
        "policy.rules_owner": "1000",
    }  # fmt: skip
    path = file("mqtt: {host: h, tls: {ca: a, cert: b, key: c}}\n")
    value = given_values.get(name, "word")
    found: Any = load(
        environ={f"DOCKMEND_{name.upper().replace('.', '_')}": value}, config=path, secrets=False
    )
    for step in name.split("."):
        found = getattr(found, step)
    expected = {
        "limits.rate": (9, 9.0),
        "http.listen": Address("::1", 9),
        "http.metrics_listen": Address("0.0.0.0", 9),
    }
    assert found == expected.get(name, found)
    assert str(expected[name]) == str(found) if name in expected else str(found).endswith(value)


def test_the_socket_moves_with_the_state_folder_unless_named():
    assert find_paths({"state": "/x"}, {}).socket == Path("/x/dockmend.sock")
    assert find_paths({"state": "/x", "socket": "/y"}, {}).socket == Path("/y")
    assert find_paths({}, {"DOCKMEND_STATE": "/x"}).socket == Path("/x/dockmend.sock")
    assert load({"state": "/x"}, {}).paths == find_paths({"state": "/x"}, {})
    assert find_paths({"state": "/x"}, {}).journal == Path("/x/journal.sqlite3")


def test_a_file_that_is_named_must_exist(tmp_path):
    with pytest.raises(InvalidFiles, match=r"no\.yaml: cannot be read"):
        load(environ={}, config=tmp_path / "no.yaml")
    with pytest.raises(InvalidFiles):
        load(environ={"DOCKMEND_CONFIG": str(tmp_path / "no.yaml")})


def test_a_variable_that_means_nothing_is_a_warning_with_a_hint():
    found = load(environ={"DOCKMEND_LISTN": "x", "DOCKMEND_DEBUG": "1", "PATH": "/bin"})
    assert found.warnings == (
        "the environment variable DOCKMEND_LISTN means nothing: did you mean DOCKMEND_LISTEN?",
    )


def test_a_bare_off_is_the_word_off(file):
    assert load(environ={}, config=file("heal: off\n")).heal == "off"


def test_nothing_can_be_changed(file):
    found = load(environ={}, config=file("mqtt: {host: h}\n"))
    for thing, name in (
        (found, "heal"),
        (found.limits, "parallel"),
        (found.mqtt, "host"),
        (found.paths, "state"),
    ):
        with pytest.raises(Exception, match="frozen"):
            setattr(thing, name, "x")


def test_ports_and_paths_that_follow_from_others(file):
    assert Mqtt(host="h").effective_port == 1883
    path = file("mqtt: {host: h, tls: {ca: ca.pem}}\n")
    mqtt = load(environ={}, config=path).mqtt
    assert mqtt is not None
    assert mqtt.effective_port == 8883
    assert mqtt.tls is not None
    assert mqtt.tls.ca == path.parent / "ca.pem", "relative paths are relative to the file"


def test_what_policy_allows():
    plain = Policy()
    refused = {"exec", "run", "copy", "build_image", "remove", "prune", "restore in place"}
    assert {each for each in [*ACTIONS, "restore in place"] if not plain.allows(each)} == refused
    assert Policy(allow=("exec",)).allows("exec")
    assert not Policy(allow=("exec",)).allows("restart")


# ------------------------------------------------------------------------------------------- errors

WRONG = [
    ("heal: of", "1:7: heal: expected labelled, all or off, found 'of'; did you mean off?"),
    (
        "heal: yes",
        (
            "1:7: heal: expected labelled, all or off (YAML reads a bare `on`, `yes` or `true` as "
            "a boolean)"
        ),
    ),
    ("limts: {}", "1:1: unknown key 'limts': did you mean 'limits'?"),
    ("limits: {rate: 30}", "1:16: limits.rate: the number 30 has no unit"),
    ("limits: {rate: 0 per 1m}", '1:16: limits.rate: "0" is not a count'),
    ("limits:\n  parallel: 0", "2:13: limits.parallel: expected 1 or more, found 0"),
    ("limits:\n  parallel: yes", "2:13: limits.parallel: expected a whole number, found true"),
    ("limits:\n  parallel: 2.5", "2:13: limits.parallel: expected a whole number, found 2.5"),
    ("limits: []", "1:9: limits: expected keys and values, found a list"),
    ("mqtt: {port: 1}", "1:7: mqtt: the key 'host' is missing"),
    ("mqtt: {host: h, port: 70000}", "1:23: mqtt.port: expected 65535 or less, found 70000"),
    ("mqtt: {host: h, pasword: x}", "1:17: unknown key 'pasword' in mqtt"),
    (
        "mqtt: {host: h, password: x}",
        "secrets are not written here, name the file that holds it with password_file",
    ),
    ("mqtt: {host: h, tls: {cert: a}}", "1:22: mqtt.tls: cert and key belong together"),
    ("mqtt: {host: h, prefix: 'a/#'}", "1:25: mqtt.prefix: expected a text that matches"),
    (
        "mqtt: {host: h, commands: [pause]}",
        "1:27: mqtt.commands: not yet in this version: mqtt.commands",
    ),
    ("mqtt: {host: h, homeassistant: true}", "not yet in this version: mqtt.homeassistant"),
    ("stores: {offsite: {url: 's3://b'}}", "1:9: stores: not yet in this version: stores"),
    (
        "notify: {ops: {urls: a}}",
        "1:16: unknown key 'urls' in notify.ops: expected one of url_file, at_once",
    ),
    (
        "notify: {ops: {url: 'ntfy://h/t'}}",
        "secrets are not written here, name the file that holds it with url_file",
    ),
    ("notify: {ops: }", "1:15: notify.ops: expected keys and values, found nothing"),
    ("notify: [ops]", "1:9: notify: expected keys and values, found a list"),
    (
        "notify: {'a b': {}}",
        "1:9: notify: 'a b' is no name for a channel: expected up to 32 letters, digits",
    ),
    ("notify: {none: {}}", "'none' is no name for a channel"),
    (
        "notify: {ops: {at_once: [gave-up]}}",
        "1:26: notify.ops.at_once.0: unknown kind 'gave-up' (did you mean \"gave_up\"?)",
    ),
    (
        "notify: {ops: {digest: [updated]}}",
        "expected one of down, gave_up, flapping, resolved, degraded, needs_you, healed",
    ),
    ("notify: {ops: {digest: [told]}}", "unknown kind 'told'"),
    ("notify: {ops: {digest: [5]}}", "notify.ops.digest.0: expected kinds of messages (down,"),
    ("notify: {ops: {digest: healed}}", "1:24: notify.ops.digest: expected a list, found 'healed'"),
    (
        "notify: {ops: {at_once: [down], digest: [down]}}",
        "1:15: notify.ops: down stands in at_once and in digest",
    ),
    (
        "notify: {ops: {severity: grave}}",
        "notify.ops.severity: expected one of info, warning, critical",
    ),
    (
        "notify: {ops: {severity: 1}}",
        "notify.ops.severity: expected one of info, warning, critical",
    ),
    (
        "notify: {ops: {quiet: '22:00'}}",
        '1:23: notify.ops.quiet: expected hours such as "22:00-07:00"',
    ),
    (
        "notify: {ops: {quiet: '22:00-24:00'}}",
        'notify.ops.quiet: expected a time of day such as "08:00"',
    ),
    ("notify: {ops: {quiet: '8:00-08:00'}}", "notify.ops.quiet: begins when it ends"),
    (
        "notify: {ops: {digest_at: 8}}",
        'notify.ops.digest_at: expected a time of day such as "08:00"',
    ),
    ("notify: {ops: {logs: 51}}", "notify.ops.logs: expected 50 or less, found 51"),
    ("notify: {ops: {logs: yes}}", "notify.ops.logs: expected a whole number, found true"),
    ("http: {tls: {cert: a}}", "1:13: http.tls: not yet in this version: http.tls"),
    ("http: {listen: 9468}", "1:16: http.listen: 9468 is no address"),
    (
        "http: {listen: '::1:9468'}",
        "1:16: http.listen: '::1:9468': put the IPv6 address in brackets",
    ),
    ("http: {listen: ':80'}", "0.0.0.0:80 listens everywhere"),
    (
        "policy: {allow: [restrat]}",
        "1:18: policy.allow.0: unknown action 'restrat': did you mean 'restart'?",
    ),
    ("policy: {allow: restart}", "1:17: policy.allow: expected a list, found 'restart'"),
    (
        "policy: {rules_owner: -1}",
        "1:23: policy.rules_owner: expected the name or the uid of a user",
    ),
    (
        "policy: {rules_owner: true}",
        "1:23: policy.rules_owner: expected the name or the uid of a user",
    ),
    (
        "policy: {protect: {labels: [a]}}",
        "policy.protect.labels: expected keys and values, found a list",
    ),
    (
        "http: {names: ['https://nas.lan']}",
        "1:15: http.names: 'https://nas.lan' is not the name of a host alone",
    ),
    ("http: {names: ['nas.lan:443']}", "http.names: 'nas.lan:443' is not the name of a host alone"),
    ("http: {names: ['*']}", "http.names: '*' is not the name of a host alone"),
    ("http: {names: [5]}", "http.names: '5' is not the name of a host alone"),
    ("http: {names: 5}", "http.names: expected a list of names"),
    (
        "snapshots: {reserve: 512}",
        "1:22: snapshots.reserve: expected a size such as 512MiB or 2GiB",
    ),
    ("snapshots: {reserve: -1GiB}", "expected a size such as 512MiB or 2GiB"),
    ("snapshots: {reserve: 1MiB}", "expected at least 16MiB"),
    (
        "snapshots: {bind_roots: [srv]}",
        "1:12: snapshots: bind_roots: srv: expected paths that begin with /",
    ),
    (
        "snapshots: {bind_roots: [/]}",
        "bind_roots: /: expected folders below /, which is the whole host",
    ),
    ("snapshots: {bind_roots: [//]}", "expected folders below /"),
    ("snapshots: {bind_roots: [/srv/..]}", "expected folders below /"),
    (
        "policy: {protect: {name: /shop-db}}",
        'policy.protect.name: "/shop-db" begins with a slash, as no name does',
    ),
    ("policy: {protect: {name: ['']}}", "policy.protect.name.0: an empty text matches no name"),
    ("policy: {protect: {name: []}}", "name is empty and protects nothing: leave it out"),
    ("policy: {protect: {labels: {}}}", "labels is empty and protects nothing"),
    ("policy: {protect: {labels: {tier: []}}}", "labels.tier is empty and protects nothing"),
    ("policy: {protect: {image: '/(/'}}", "policy.protect.image: not a regular"),
    ("policy: {trusted_images: [/ours]}", 'policy.trusted_images.0: "/ours" begins with a slash'),
    ("engine: 5", "1:9: engine: expected a text, found 5"),
    ("engine: ''", "1:9: engine: expected a text that is not empty"),
    ("heal: all\nheal: off", "2:1: the key `heal` stands twice"),
    ("limits: {rate: 1:30}", "1:16: YAML reads 1:30 as the number 90"),
    ("http: !!python/object:os.system {}", "1:7: the tag"),
    ("- heal", "1:1: expected keys such as `heal: labelled`"),
    ("heal: [", "2:1"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_each_error_has_its_place_and_says_what_was_expected(text, expected, file):
    found = wrong(file, text)
    assert any(expected in each for each in found), found


def test_all_errors_come_at_once_and_in_order(file):
    found = wrong(
        file, "heal: of\nlimits: {rate: x, parallel: 0}\nstores: {a: {}}\nmqtt: {port: 0}\n"
    )
    assert [each.split(":")[0] for each in found] == ["1", "2", "2", "3", "4", "4"]


def test_the_value_of_an_unknown_key_is_not_shown(file):
    assert not any(
        "hunter2" in each
        for each in wrong(file, "mqtt: {host: h, passwort: hunter2}\nsecret: hunter2\n")
    )


def test_flags_and_variables_are_named_in_their_errors(file):
    path = file("stores: {a: {}}\n")
    environ = {"DOCKMEND_LIMITS_PARALLEL": "many", "DOCKMEND_DRY_RUN": "maybe"}
    with pytest.raises(UsageError) as caught:
        load({"listen": "nowhere", "log_format": "loud"}, environ, path)
    text = str(caught.value)
    for part in (
        "DOCKMEND_LIMITS_PARALLEL: limits.parallel: expected a whole number",
        "DOCKMEND_DRY_RUN: expected true or false",
        "--listen: http.listen",
        "--log-format: expected auto",
        f"{path}:1:9: stores",
    ):
        assert part in text
    assert caught.value.exit_code == 2


def test_a_good_file_has_no_problems(file):
    text = """\
heal: labelled
engine: unix:///var/run/docker.sock
limits: {rate: 30 per 1m, parallel: 4}
unknown_cause: restart policy
snapshots: {bind_roots: [/srv]}
notify: {}
mqtt: {host: broker, port: 8883, tls: {}, username: u, password_file: pw, commands: []}
stores: {}
policy:
  allow: [restart, snapshot_volume]
  protect: {labels: {tier: pci}, name: "*-db"}
  rules_owner: root
  trusted_images: [nginx]
http:
  listen: "127.0.0.1:9468"
  metrics_listen: null
  token_file: null
  read_token_file: null
  tls: null
"""
    assert wrong(file, text) == []
    (file(text).parent / "pw").write_text("x")
    found = load(environ={}, config=file(text))
    assert found.policy.protect.name == ("*-db",)
    assert found.snapshots.bind_roots == (Path("/srv"),)


# ------------------------------------------------------------------------------------------ secrets


@pytest.fixture
def with_secret(file, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    return file("mqtt: {host: h, password_file: password}\n")


def test_a_secret_is_read_from_its_file_and_never_shown(with_secret):
    found = load(environ={}, config=with_secret)
    assert found.mqtt_password == Secret("hunter2")
    assert found.mqtt_password is not None
    assert found.mqtt_password.reveal() == "hunter2"
    shown = (repr(found), str(found), repr(found.mqtt_password), f"{found.mqtt_password}",
        found.model_dump_json(),
             str(found.model_dump()), str(vars(found)))  # fmt: skip
    assert not any("hunter2" in each for each in shown)
    with pytest.raises(TypeError):
        pickle.dumps(found.mqtt_password)


def test_secrets_are_left_alone_where_they_are_not_asked_for(with_secret):
    (with_secret.parent / "password").unlink()
    assert load(environ={}, config=with_secret, secrets=False).mqtt_password is None
    with pytest.raises(InvalidFiles, match="password cannot be read"):
        load(environ={}, config=with_secret)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"a\nb\n", "more than one line"),
        (b"\xff", "not UTF-8"),
        (b"x" * 70_000, "larger than"),
    ],
)
def test_a_file_that_holds_no_secret_is_an_error_that_does_not_show_it(
    content, expected, with_secret
):
    (with_secret.parent / "password").write_bytes(content)
    with pytest.raises(InvalidFiles, match=expected) as caught:
        load(environ={}, config=with_secret)
    assert "xxxx" not in str(caught.value)


def test_a_secret_everyone_can_read_is_a_warning(with_secret):
    (with_secret.parent / "password").chmod(0o644)
    assert "chmod 600" in load(environ={}, config=with_secret).warnings[0]


def test_whoever_may_write_a_secret_has_it(with_secret):
    secret = with_secret.parent / "password"
    secret.chmod(0o622)
    expected = (
        f"1:32: mqtt.password_file: {secret} may be written by everybody, and dockmend "
        "goes by what it says"
    )
    with pytest.raises(InvalidFiles, match=re.escape(expected)):
        load(environ={}, config=with_secret)
    assert load(environ={}, config=with_secret, secrets=False).mqtt_password is None


def test_whoever_may_write_the_authority_decides_which_broker_is_believed(file):
    path = file("mqtt: {host: h, tls: {ca: ca.pem}}\n")
    load(environ={}, config=path)  # that there is no such file, TLS itself says
    (path.parent / "ca.pem").write_text("")
    (path.parent / "ca.pem").chmod(0o666)
    with pytest.raises(
        InvalidFiles, match=r"mqtt\.tls\.ca: .*/ca\.pem may be written by everybody"
    ):
        load(environ={}, config=path)


def test_settings_that_others_may_write_are_refused(file):
    path = file("heal: all\n")
    path.chmod(0o664)
    with pytest.raises(InvalidFiles, match=r"dockmend\.yaml: may be written by its group"):
        load(environ={}, config=path)
    path.chmod(0o644)
    path.parent.chmod(0o777)
    with pytest.raises(
        InvalidFiles, match=f"^{re.escape(str(path.parent))}: may be written by everybody"
    ):
        load(environ={}, config=path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_settings_of_a_user_whom_only_the_environment_can_name(file):
    path = file("policy: {rules_owner: 4242}\n")
    os.chown(path, 4242, 4242)
    with pytest.raises(
        InvalidFiles,
        match=r"belongs to user 4242, not to root.*or set the variable "
        r"`DOCKMEND_POLICY_RULES_OWNER=4242`$",
    ):
        load(environ={}, config=path)
    assert (
        load(environ={"DOCKMEND_POLICY_RULES_OWNER": "4242"}, config=path).policy.rules_owner
        == "4242"
    )
    assert load(environ={}, config=path, runs_as=4242).policy.rules_owner == "4242"
    with pytest.raises(
        UsageError, match="DOCKMEND_POLICY_RULES_OWNER: there is no user nobody-here"
    ):
        load(environ={"DOCKMEND_POLICY_RULES_OWNER": "nobody-here"}, config=path)


@pytest.mark.parametrize(
    ("listen", "warned"), [("0.0.0.0:1", True), ("[::1]:1", False), ("10.0.0.1:1", True)]
)
def test_tokens_in_clear_text_are_a_warning(listen, warned, file):
    found = load({"listen": listen}, environ={}, config=file(""), contained=False)
    assert any("clear text" in each for each in found.warnings) is warned
    assert found.notes == ()


@pytest.mark.parametrize(
    ("listen", "warned", "noted"),
    [("0.0.0.0:1", 0, 1), ("[::]:1", 0, 1), ("127.0.0.1:1", 0, 0), ("10.0.0.1:1", 1, 0)],
)
def test_in_a_container_listening_on_all_addresses_is_no_warning(listen, warned, noted, file):
    """Its port may be published on 127.0.0.1 alone, as deploy/compose.yaml does: dockmend cannot
    know."""
    found = load({"listen": listen}, environ={}, config=file(""), contained=True)
    assert (len(found.warnings), len(found.notes)) == (warned, noted)
    assert all("publish its port on 127.0.0.1 only" in each for each in found.notes)


def test_a_password_that_goes_to_a_broker_in_clear_is_a_warning(with_secret):
    [warning] = load(environ={}, config=with_secret).warnings
    assert warning.startswith("mqtt: the password goes to h without TLS: set mqtt.tls")
    for text in (
        "{host: h, password_file: password, tls: {}}",
        "{host: 127.0.0.1, password_file: password}",
        "{host: h}",
    ):
        with_secret.write_text(f"mqtt: {text}\n")
        assert load(environ={}, config=with_secret).warnings == ()


def test_a_systemd_credential_stands_in_for_a_file(tmp_path, file):
    (tmp_path / "http.token").write_text("tok")
    (tmp_path / "http.token").chmod(0o600)
    found = load(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}, config=file("heal: off\n"))
    assert found.http_token == Secret("tok")
    assert found.http_read_token is None


# --------------------------------------------------------------------------------------- robustness


def test_the_schema_is_json_and_names_every_key():
    text = json.dumps(schema())
    assert set(json.loads(text)["properties"]) == set(FileSettings.model_fields)


_KEYS = st.sampled_from(
    [*FileSettings.model_fields, "host", "rate", "url_file", "quiet", "allow", "x", ""]
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return inner | st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3)


# Three levels, written out: hypothesis' own recursion warns if it happens to draw no nesting at
# all.
values = _nested(
    _nested(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8))
)


@runs(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(list(FileSettings.model_fields)), values, max_size=4))
def test_no_data_is_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "dockmend.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True))
    problems = check_file(path)
    try:
        found = load(environ={}, config=path)
    except DockmendError:
        found = None
    assert isinstance(found, Settings) == (problems == []) or any(
        "_file" in str(key) for key in data
    )
    assert all(str(problem).startswith(f"{path}:") for problem in problems)


@runs(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_are_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "dockmend.yaml"
    path.write_bytes(data)
    for problem in check_file(path):
        assert str(problem).startswith(f"{path}:")
