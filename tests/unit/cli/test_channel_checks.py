"""What doctor says of channels: their files, whether apprise understands their URLs, how it goes;
nothing is sent."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dockmend.cli import channel_checks
from dockmend.cli.channel_checks import _looked_at
from dockmend.cli.doctor_checks import DoctorFinding
from dockmend.notify import sender as sending
from dockmend.notify.sender import Sender, Verdict
from dockmend.settings import load
from dockmend.settings.channels import Channel
from dockmend.settings.secrets import Secret
from tests.unit.cli.conftest import Ran, Run
from tests.unit.cli.test_daemon_commands import IN_FORCE, state  # noqa: F401 - a fixture
from tests.unit.cli.test_notify_command import ILL, WELL, row

SECRET = "hunter2"
Doctor = Callable[..., Ran]


@pytest.fixture
def doctor(dockmend: Run, tmp_path: Path) -> Doctor:
    """`doctor(settings)` with files of URLs by name: what it says without an engine."""

    def run(settings: str, *flags: str, **urls: str) -> Ran:
        for name, text in urls.items():
            (tmp_path / f"{name}.url").write_text(text)
            (tmp_path / f"{name}.url").chmod(0o600)
        (tmp_path / "dockmend.yaml").write_text(settings)
        given = flags or ("--config", str(tmp_path / "dockmend.yaml"))
        ran = dockmend("doctor", "--engine", "unix:///nonexistent", "--state", tmp_path, *given)
        assert SECRET not in ran.out + ran.err
        return ran

    return run


def test_apprise_is_asked_whether_it_understands_the_urls_and_nothing_is_sent(doctor):
    with socket.socket() as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.listen()
        receiver.setblocking(False)
        port = receiver.getsockname()[1]
        ran = doctor(
            "notify: {ops: {url_file: ops.url}, home: {url_file: home.url}}",
            ops=f"json://127.0.0.1:{port}/{SECRET}\nntfy://127.0.0.1:{port}/{SECRET}",
            home=f"json://127.0.0.1:{port}/\ndiscord://{SECRET}",
        )
        with pytest.raises(BlockingIOError):
            receiver.accept()
    assert "ok      notify    channel ops: apprise understands its URLs (json, ntfy)\n" in ran.out
    assert (
        "PROBLEM notify    channel home, URL 2 (discord): apprise does not understand this URL\n"
        in ran.out
    )
    assert "→ write it as apprise has it, in " in ran.out
    assert "home.url: docs/notifications.md" in ran.out
    assert "channel home: apprise" not in ran.out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "notify: {ops: {url_file: gone.url}}",
            "notify.ops.url_file: {}/gone.url cannot be read: No such file",
        ),
        ("notify: {ops: {url_file: wrong.url}}", "{}/wrong.url, line 1: has an unknown scheme"),
        (
            "heartbeat_url_file: gone.url",
            "heartbeat_url_file: {}/gone.url cannot be read: No such file",
        ),
        (
            "heartbeat_url_file: wrong.url",
            "{}/wrong.url, line 1: is no URL that begins with https://",
        ),
    ],
)
def test_a_file_that_is_wrong_is_a_problem_and_the_rest_is_looked_at(
    settings, said, doctor, tmp_path
):
    ran = doctor(f"http: {{listen: null}}\n{settings}", wrong=f"zz://{SECRET}")
    [line] = [each for each in ran.out.splitlines() if each.startswith("PROBLEM settings")]
    assert said.format(tmp_path) in line
    assert "asks      as the flags say" in ran.out, "the settings themselves are not given up"


def test_a_heartbeat_that_is_right_is_named(doctor):
    assert (
        "ok      heartbeat its URL can be read\n"
        in doctor("heartbeat_url_file: a.url", a=f"https://h/{SECRET}").out
    )


def test_a_channel_whose_urls_only_the_service_has_is_no_problem(doctor):
    ran = doctor("notify: {ops: {}}")
    assert (
        "note    notify    channel ops: its URLs are not known here: a systemd credential"
        in ran.out
    )
    assert "`dockmend notify --test ops` tries it" in ran.out
    assert "settings" not in [
        line[8:16] for line in ran.out.splitlines() if line.startswith("PROBLEM")
    ]


def test_what_this_user_may_not_read_is_said_and_is_no_problem(tmp_path, monkeypatch):
    (tmp_path / "dockmend.yaml").write_text(
        "notify: {ops: {url_file: ops.url}}\nheartbeat_url_file: ops.url\nmqtt: {host: h, "
        "password_file: ops.url}\n"
    )
    (tmp_path / "ops.url").write_text(f"https://{SECRET}")
    own = os.open

    def denied(path: str | Path, *rest: int, **more: int) -> int:
        if str(path).endswith("ops.url"):
            raise PermissionError(13, "Permission denied")
        return own(path, *rest, **more)

    monkeypatch.setattr(os, "open", denied)
    found = load(environ={}, config=tmp_path / "dockmend.yaml", as_daemon=False)
    said = f"{tmp_path}/ops.url may not be read by this user, so it is not checked"
    for key in ("notify.ops.url_file", "heartbeat_url_file", "mqtt.password_file"):
        assert f"{key}: {said}" in found.warnings
    assert found.channels[0].urls == ()


def test_the_daemons_settings_file_is_looked_at_and_how_it_goes_with_its_channels(
    doctor, tmp_path, state, monkeypatch  # noqa: F811 - the fixture
):  # fmt: skip
    async def looked(self: Sender, url: Secret) -> Verdict:
        return Verdict(accepted=True)

    monkeypatch.setattr(sending.Sender, "look", looked)
    _, daemon = state
    lanes = [{"service": "json", "lane": WELL}, {"service": "ntfy", "lane": ILL}]
    daemon.answers |= {
        "in_force": {**IN_FORCE, "config": str(tmp_path / "dockmend.yaml"), "state": str(tmp_path)},
        "channels": [row("ops", urls=lanes), row("home", "json"), row("default", "json")],
    }
    ran = doctor(
        "notify: {ops: {url_file: ops.url}, home: {}}",
        "--socket",
        str(tmp_path / "dockmend.sock"),
        ops="json://a\nntfy://b",
    )
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1.8e9))
    assert "ok      notify    channel ops: apprise understands its URLs (json, ntfy)\n" in ran.out
    assert "ok      notify    channel home: its URLs are not known here" in ran.out
    assert "ok      notify    channel default: of the daemon's own environment\n" in ran.out
    told = (
        "PROBLEM notify    channel ops, URL 2 (ntfy): the last message was not accepted, at "
        f"{at}: error=500\n"
    )
    assert told in ran.out
    assert ran.out.count("PROBLEM notify") == 1


def test_the_password_of_the_broker_is_the_one_that_run_would_use(doctor, tmp_path, monkeypatch):
    import aiomqtt

    given: list[object] = []

    def client(*_: object, **options: object) -> object:
        given.append(options["password"])
        raise ValueError("enough")

    monkeypatch.setattr(aiomqtt, "Client", client)
    doctor("mqtt: {host: 127.0.0.1, port: 1, username: u, password_file: a.url}", a="s3cret")
    assert given == ["s3cret"]


async def test_an_apprise_that_cannot_be_loaded_is_said(monkeypatch):
    without = (
        "import sys; sys.modules['apprise'] = None; from dockmend.notify import "
        "apprise_process; apprise_process.main()"
    )
    command = (sys.executable, "-B", "-c", without)
    source = str(Path(channel_checks.__file__).parents[2])

    class Broken(Sender):
        def __init__(self, clock: Callable[[], float], environ: object) -> None:
            super().__init__(clock, {}, command=command)
            self._environ["PYTHONPATH"] = source

    monkeypatch.setattr(sending, "Sender", Broken)
    [found] = await _looked_at([Channel("ops", (Secret(f"json://{SECRET}"),))])
    assert found == DoctorFinding(
        "problem", "notify", "channel ops, URL 1 (json): apprise cannot be loaded",
        "install dockmend anew, with what it needs: docs/install.md",
    )  # fmt: skip
