"""The settings of messages: channels, their URLs, which nothing shows, and the heartbeat."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dockmend.errors import DockmendError, InvalidFiles, UsageError
from dockmend.message_schemes import SCHEMES
from dockmend.settings import Settings, check_file, load
from dockmend.settings.channels import AT_ONCE, DIGEST, Kind, Severity
from dockmend.settings.url_schemes import LACKING, ON_THE_HOST, check_heartbeat, check_url

HIDDEN = "hunter2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Settings with one channel whose file holds two URLs."""
    secret(
        tmp_path / "ops.url",
        f"# two of them\nntfy://user:{HIDDEN}@127.0.0.1/ops\n\n  json://127.0.0.1/{HIDDEN}\n",
    )
    (tmp_path / "dockmend.yaml").write_text("notify: {ops: {url_file: ops.url}}\n")
    return tmp_path


def secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def loaded(folder: Path, environ: dict[str, str] | None = None, **more: Any) -> Settings:
    return load(environ=environ or {}, config=folder / "dockmend.yaml", **more)


def test_a_channel_has_the_urls_of_its_file_and_nothing_shows_them(folder):
    found = loaded(folder)
    [channel] = found.channels
    assert channel.name == "ops"
    assert [url.reveal() for url in channel.urls] == [
        f"ntfy://user:{HIDDEN}@127.0.0.1/ops", f"json://127.0.0.1/{HIDDEN}",
    ]  # fmt: skip
    shown = (
        repr(found),
        str(vars(found)),
        found.model_dump_json(),
        repr(channel),
        str(found.channels),
    )
    assert not any(HIDDEN in each for each in shown)


def test_what_a_channel_does_not_say_is_as_the_contract_has_it(folder):
    [channel] = loaded(folder).channels
    assert (channel.at_once, channel.digest) == (AT_ONCE, DIGEST)
    assert (channel.severity, channel.quiet, channel.logs, channel.digest_at) == (
        Severity.INFO,
        None,
        5,
        480,
    )


def test_what_a_channel_says_holds(folder):
    (folder / "dockmend.yaml").write_text(
        "notify: {ops: {url_file: ops.url, at_once: [down, healed], severity: critical, "
        "quiet: '22:00-7:30', logs: 0, digest_at: '18:05'}}"
    )
    [channel] = loaded(folder).channels
    assert channel.at_once == {Kind.DOWN, Kind.HEALED}
    assert channel.digest == frozenset(), "one kind does not come twice"
    assert (channel.severity, channel.quiet, channel.logs) == (
        Severity.CRITICAL,
        (22 * 60, 7 * 60 + 30),
        0,
    )
    assert channel.digest_at == 18 * 60 + 5
    (folder / "dockmend.yaml").write_text("notify: {ops: {url_file: ops.url, digest: [down]}}")
    [channel] = loaded(folder).channels
    assert channel.at_once == AT_ONCE - {Kind.DOWN}
    assert channel.digest == {Kind.DOWN}


def test_urls_are_left_alone_where_they_are_not_asked_for(folder):
    (folder / "ops.url").unlink()
    assert loaded(folder, secrets=False).channels[0].urls == ()
    with pytest.raises(
        InvalidFiles, match=r"1:26: notify\.ops\.url_file: .*ops\.url cannot be read"
    ):
        loaded(folder)


WRONG_URLS = [
    ("", "holds no URL"),
    ("# ntfy://a/b\n", "holds no URL"),
    (f"json://h/{HIDDEN}\n" * 11, "holds more than 10 URLs"),
    (f"{HIDDEN}\n", "line 1: is no URL of a service"),
    (f"\nntfy://{HIDDEN} x\n", "line 2: is no URL of a service"),
    ("ntfy://", "line 1: is no URL of a service"),
    ("ntfy://…", "line 1: is an example's, which leaves the address out"),
    (f"discord://{HIDDEN}/...", "line 1: is an example's, which leaves the address out"),
    (f"ntfy://{HIDDEN}\x1b[0m", "line 1: is no URL of a service"),
    (f"dicsord://{HIDDEN}/x", 'line 1: has an unknown scheme dicsord (did you mean "discord"?)'),
    (f"{HIDDEN}+x://{HIDDEN}", "line 1: has an unknown scheme"),
    (
        f"https://discord.com/api/{HIDDEN}",
        "line 1: is the address of a page: write it as apprise has it",
    ),
    (f"syslog://{HIDDEN}", "has the scheme syslog, which stays on this host"),
    (f"file:///{HIDDEN}", "has the scheme file, which stays on this host"),
    (f"DBUS://{HIDDEN}", "has the scheme dbus, which stays on this host"),
    (f"xmpp://{HIDDEN}", "has the scheme xmpp, which needs a library"),
    (f"json://{HIDDEN}{'x' * 5000}", "is longer than 4096 characters"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_URLS)
def test_a_url_that_is_wrong_is_an_error_that_does_not_show_it(text, expected, folder):
    secret(folder / "ops.url", text)
    with pytest.raises(InvalidFiles, match=re.escape(expected)) as caught:
        loaded(folder)
    assert HIDDEN not in str(caught.value).replace(str(folder), "")
    told = [
        str(each)
        for each in check_file(folder / "dockmend.yaml", frozenset({0, folder.stat().st_uid}))
    ]
    assert [expected in each for each in told] == [True]
    assert told[0].startswith(f"{folder}/dockmend.yaml:1:26: notify.ops.url_file: ")


def test_whoever_may_write_the_urls_reads_the_messages(folder):
    (folder / "ops.url").chmod(0o622)
    with pytest.raises(
        InvalidFiles, match=r"notify\.ops\.url_file: .*ops\.url may be written by everybody"
    ):
        loaded(folder)
    (folder / "ops.url").chmod(0o644)
    assert "chmod 600" in loaded(folder).warnings[0]


def test_a_systemd_credential_stands_in_for_a_file(folder):
    (folder / "dockmend.yaml").write_text("notify: {ops: {}}\n")
    with pytest.raises(
        InvalidFiles, match=r"1:15: notify\.ops: has no URL: .* credential notify\.ops"
    ):
        loaded(folder)
    secret(folder / "notify.ops", "ntfy://h/t\n")
    secret(folder / "heartbeat", "http://127.0.0.1/push\n")
    found = loaded(folder, {"CREDENTIALS_DIRECTORY": str(folder)})
    assert [url.reveal() for url in found.channels[0].urls] == ["ntfy://h/t"]
    assert found.heartbeat_url is not None
    assert found.heartbeat_url.reveal() == "http://127.0.0.1/push"
    assert found.warnings == ()
    secret(folder / "notify.phone", "ntfy://h/t\n")
    [warning] = loaded(folder, {"CREDENTIALS_DIRECTORY": str(folder)}).warnings
    assert warning.startswith(
        "the systemd credential notify.phone is for no channel: write `phone: {}` under `notify`"
    )


def test_the_environment_alone_makes_the_channel_default(folder):
    found = load(environ={"DOCKMEND_NOTIFY_URL": f"ntfy://h/{HIDDEN} json://h"})
    [channel] = found.channels
    assert channel.name == "default"
    assert [url.reveal() for url in channel.urls] == [f"ntfy://h/{HIDDEN}", "json://h"]
    assert HIDDEN not in repr(found)
    assert found.warnings == ()
    found = load(environ={"DOCKMEND_NOTIFY_URL_FILE": str(folder / "ops.url")})
    assert [(each.name, len(each.urls)) for each in found.channels] == [("default", 2)]


def test_the_environment_adds_to_the_file_and_stands_over_it(folder):
    (folder / "dockmend.yaml").write_text(
        "notify: {ops: {url_file: ops.url}, default: {url_file: none, logs: 1}}\n"
    )
    found = {
        each.name: each for each in loaded(folder, {"DOCKMEND_NOTIFY_URL": "json://h"}).channels
    }
    assert {name: len(each.urls) for name, each in found.items()} == {"ops": 2, "default": 1}
    assert found["default"].logs == 1
    (folder / "dockmend.yaml").write_text("notify:\n")
    with pytest.raises(InvalidFiles, match="notify: expected keys and values"):
        loaded(folder)
    assert len(loaded(folder, {"DOCKMEND_NOTIFY_URL": "json://h"}).channels) == 1
    (folder / "dockmend.yaml").write_text("notify: [a]\n")
    with pytest.raises(DockmendError, match="notify: expected keys and values"):
        loaded(folder, {"DOCKMEND_NOTIFY_URL": "json://h"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"DOCKMEND_NOTIFY_URL": f"dicsord://{HIDDEN}"},
            "DOCKMEND_NOTIFY_URL: has an unknown scheme dicsord",
        ),
        ({"DOCKMEND_NOTIFY_URL": " "}, "DOCKMEND_NOTIFY_URL: holds no URL"),
        ({"DOCKMEND_NOTIFY_URL": "json://h " * 11}, "DOCKMEND_NOTIFY_URL: holds more than 10 URLs"),
        (
            {"DOCKMEND_NOTIFY_URL": "json://h", "DOCKMEND_NOTIFY_URL_FILE": "x"},
            "are both set: keep one of them",
        ),
        (
            {"DOCKMEND_HEARTBEAT_URL": HIDDEN},
            "DOCKMEND_HEARTBEAT_URL: is no URL that begins with https://",
        ),
        ({"DOCKMEND_HEARTBEAT_URL": "https://…"}, "DOCKMEND_HEARTBEAT_URL: is an example's"),
        (
            {"DOCKMEND_HEARTBEAT_URL": f"ntfy://{HIDDEN}"},
            "DOCKMEND_HEARTBEAT_URL: is no URL that begins with https://",
        ),
        (
            {"DOCKMEND_HEARTBEAT_URL": f"https://h/{HIDDEN} http://h"},
            "is no URL that begins with https://",
        ),
    ],
)
def test_a_wrong_variable_is_named_and_its_url_is_not_shown(environ, expected):
    with pytest.raises(UsageError, match=re.escape(expected)) as caught:
        load(environ=environ)
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "notify: {ops: {url_file: 'ntfy://HIDDEN/x'}}",
            "notify.ops.url_file: expected the path of a file, found a URL",
        ),
        (
            "heartbeat_url_file: 'https://HIDDEN/x'",
            "heartbeat_url_file: expected the path of a file, found a URL",
        ),
        ("notify: {'ntfy://HIDDEN': {}}", "a URL is no name for a channel"),
        ("notify: {ops: {at_once: ['ntfy://HIDDEN']}}", "unknown kind: expected one of"),
        ("notify: 'ntfy://HIDDEN'", "notify: expected keys and values"),
    ],
)
def test_a_url_in_the_place_of_something_else_is_not_shown(folder, written, expected):
    (folder / "dockmend.yaml").write_text(written.replace("HIDDEN", HIDDEN))
    with pytest.raises(DockmendError, match=re.escape(expected)) as caught:
        loaded(folder)
    assert HIDDEN not in str(caught.value)
    with pytest.raises(DockmendError, match="found a URL") as caught:
        load(environ={"DOCKMEND_NOTIFY_URL_FILE": f"ntfy://{HIDDEN}"})
    assert HIDDEN not in str(caught.value)


def test_the_heartbeat_comes_from_the_environment_or_a_file(folder):
    found = load(environ={"DOCKMEND_HEARTBEAT_URL": f"https://h/{HIDDEN}"})
    assert found.heartbeat_url is not None
    assert found.heartbeat_url.reveal() == f"https://h/{HIDDEN}"
    assert HIDDEN not in repr(found)
    secret(folder / "beat", "https://h/1\n")
    (folder / "dockmend.yaml").write_text("heartbeat_url_file: beat\n")
    beat = loaded(folder).heartbeat_url
    assert beat is not None
    assert beat.reveal() == "https://h/1"
    secret(folder / "beat", "https://h/1\nhttps://h/2\n")
    with pytest.raises(InvalidFiles, match=r"heartbeat_url_file: .* holds more than one URL"):
        loaded(folder)
    assert load(environ={}).heartbeat_url is None


# -------------------------------------------------------------------------------------- the library

_ASK = """
import json
from apprise.manager_plugins import NotificationManager
plugins = NotificationManager()
print(json.dumps({
    each: [plugins[each].enabled, str(plugins[each].service_name)] for each in plugins.schemas()
}))
"""


@pytest.fixture(scope="module")
def of_apprise() -> dict[str, tuple[bool, str]]:
    """Its schemes: whether each works here, and of which service. Asked in a process, as it must
    not be loaded here."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK], check=True, capture_output=True, text=True
    )
    return {
        scheme: (works, service) for scheme, (works, service) in json.loads(found.stdout).items()
    }


def test_each_scheme_is_one_of_the_library_that_works_here(of_apprise):
    assert {scheme for scheme, (works, _) in of_apprise.items() if works} >= SCHEMES
    assert not SCHEMES & (LACKING | ON_THE_HOST)
    assert of_apprise.keys() - SCHEMES - ON_THE_HOST == LACKING, (
        "apprise has others than this list says"
    )


def test_what_reaches_no_network_is_not_among_them(of_apprise):
    desktops = {"Blink(1)", "DBus Notification", "Gnome Notification", "GLib Notification",
        "MacOSX Notification",
                "Syslog", "Windows Notification"}  # fmt: skip
    local = {scheme for scheme, (_, service) in of_apprise.items() if service in desktops}
    assert {service for _, service in of_apprise.values()} >= desktops - {
        "Blink(1)",
        "GLib Notification",
    }
    assert local <= ON_THE_HOST


def test_checking_a_url_says_nothing_of_one_that_is_right():
    for url in (
        "ntfys://ntfy.sh/topic",
        "NTFY://h/t",
        "mailto://u:p@h?to=a@b",
        "json://[::1]:8080/x",
    ):
        check_url(url)
    check_heartbeat("https://uptime.example/api/push/x?status=up")
