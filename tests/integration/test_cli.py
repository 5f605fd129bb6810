"""The commands a person types, as processes, against a real engine and a real daemon."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dockmend.cli import demo_rootfs
from tests.lab import Broker, PrivateEngine, eventually

SOURCE = Path(__file__).resolve().parents[2] / "daemon"
HEAL = (
    "version: 1\nrules:\n  - {name: heal, when: container.unhealthy, match: {labels: {app: "
    "shop}}, then: restart}\n"
)


def environment() -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("DOCKER_", "DOCKMEND_"))
    }
    return kept | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}


def dockmend(*arguments: object, code: int = 0) -> str:
    """Standard output of one command; fails where the exit code is another one."""
    command = [sys.executable, "-m", "dockmend", *map(str, arguments)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment(), timeout=120
    )
    assert done.returncode == code, (
        f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    assert "Traceback" not in done.stderr
    return done.stdout


def holdings(engine: PrivateEngine) -> tuple[set[str], set[str], set[str]]:
    """Everything on an engine, by id: containers, images, volumes."""
    containers = {each["Id"] for each in engine.api("GET", "/containers/json?all=1")[1]}
    images = {each["Id"] for each in engine.api("GET", "/images/json?all=1")[1]}
    return (
        containers,
        images,
        {each["Name"] for each in engine.api("GET", "/volumes")[1]["Volumes"] or ()},
    )


def counted(text: str) -> list[str]:
    """The metrics that an output of the demo shows, without their values."""
    lines = [line.strip() for line in text.splitlines()]
    return [
        line.rpartition(" ")[0]
        for line in lines
        if line.startswith("dockmend_") and 'rule="heal-the-demo"' in line
    ]


def running(engine_url: str) -> list[str]:
    """Command lines of processes that run dockmend on an engine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if f"--engine {engine_url}" in line and " run " in line]


# --------------------------------------------------------------------------------------------- demo


def test_the_demo_heals_tells_and_leaves_nothing(docker, tmp_path):
    bystander = docker.patient("bystander", "--label", "dockmend.heal=true")
    docker.sicken("bystander")
    before = holdings(docker)
    told = dockmend("demo", "--engine", docker.url)
    assert "mended    dockmend-demo-" in told
    assert 'dockmend_heals_total{outcome="healed",rule="heal-the-demo"} 1.0' in told
    steps = [
        line.split()[1]
        for line in told.splitlines()
        if line.startswith("  ") and line.strip()[:2].isdigit()
    ]
    assert [step for step in steps if step in ("seen", "did", "verified", "closed")] == [
        "seen",
        "did",
        "verified",
        "closed",
    ]
    shown = (SOURCE.parent / "docs" / "install.md").read_text()
    assert counted(told) == counted(shown), "docs/install.md shows what comes"
    assert holdings(docker) == before
    assert docker.health("bystander") == "unhealthy", "the demo touches nothing but its own"
    assert docker.api("GET", f"/containers/{bystander}/json")[1]["RestartCount"] == 0


def test_the_demo_runs_on_the_hosts_own_shell_and_libraries(docker, monkeypatch):
    """As on a fresh machine without a static busybox."""
    monkeypatch.setattr(demo_rootfs, "BUSYBOX", Path("/does/not/exist"))
    image = docker.api("POST", "/images/create?fromSrc=-&repo=own&tag=latest", demo_rootfs.tar())
    assert image[0] == 200
    assert docker.docker("run", "--rm", "own", "/bin/sh", "-c", "sleep 0; echo $((6 * 7))") == "42"


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_broken_off_leaves_nothing(signal_number, docker):
    before = holdings(docker)
    command = [sys.executable, "-m", "dockmend", "demo", "--engine", docker.url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("started   container"):
                demo.send_signal(signal_number)
        assert demo.wait(60) in (130, 143)
        assert demo.stderr is not None
        assert "Traceback" not in demo.stderr.read()
    assert holdings(docker) == before


def test_what_a_killed_demo_left_is_removed_by_the_next(docker):
    before = holdings(docker)
    command = [sys.executable, "-m", "dockmend", "demo", "--engine", docker.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("broke"):
                demo.kill()
    assert holdings(docker) != before
    eventually(lambda: not running(docker.url), what="its daemon ended with it")
    left = set(Path(tempfile.gettempdir()).glob("dockmend-demo-*"))
    dockmend("demo", "--engine", docker.url)
    assert not any(folder.exists() for folder in left)
    assert left
    assert holdings(docker)[0] == before[0]
    assert {
        tag for image in docker.api("GET", "/images/json")[1] for tag in image["RepoTags"] or ()
    } == {"toolbox:latest"}


# ------------------------------------------------------------------------ coverage, explain, record


@pytest.fixture
def rules(tmp_path):
    folder: Path = tmp_path / "rules.d"
    folder.mkdir()
    (folder / "heal.yaml").write_text(HEAL)
    return folder


def test_coverage_of_a_host(docker, rules):
    docker.patient("web", "--label", "app=shop")
    docker.run("plain")
    docker.run("mute", "--label", "app=shop")
    rows = {
        row["name"]: row
        for row in json.loads(
            dockmend("coverage", "--engine", docker.url, "--rules", rules, "--json")
        )
    }
    assert rows["web"]["rules"] == ["heal"]
    assert rows["plain"]["why"] == "no rule matches"
    assert rows["mute"]["why"] == "no health check, which heal listens to"
    assert "no rule matches" in dockmend("coverage", "--engine", docker.url, "--rules", rules)


def test_explain_of_a_live_container_touches_nothing(docker, rules, tmp_path):
    web = docker.patient("web", "--label", "app=shop")
    started = docker.api("GET", f"/containers/{web}/json")[1]["State"]["StartedAt"]
    flags = ("--engine", docker.url, "--rules", rules, "--state", tmp_path)
    told = dockmend("explain", "--container", "web", "--trigger", "container.unhealthy", *flags)
    assert ["heal", "fires"] in [line.split()[:2] for line in told.splitlines()]
    dockmend("explain", "--container", "web", "--trigger", "container.started", *flags, code=1)
    assert docker.api("GET", f"/containers/{web}/json")[1]["State"]["StartedAt"] == started


def test_what_was_recorded_is_explained(docker, rules, tmp_path):
    docker.patient("web", "--label", "app=shop")
    docker.run("other")
    recording = tmp_path / "events.ndjson"
    command = [sys.executable, "-m", "dockmend", "record", "--engine", docker.url]
    with recording.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, env=environment())
        try:
            eventually(lambda: recording.stat().st_size > 0, what="the recording began")
            docker.docker("kill", "other")
            docker.sicken("web")
            eventually(
                lambda: b"unhealthy" in recording.read_bytes(), what="the recording holds the break"
            )
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
    told = json.loads(
        dockmend(
            "explain", "--events", recording, "--rules", rules, "--engine", docker.url, "--json"
        )
    )
    answers = {tuple(row["triggers"]): row["answers"] for row in told if row["triggers"]}
    assert answers[("container.stopped", "container.exited")] == []
    assert answers[("container.unhealthy",)][0]["answer"] == "fires"
    assert answers[("container.unhealthy",)][0]["rule"] == "heal"


# ------------------------------------------------------------------------------------------- doctor


def test_doctor_on_a_healthy_host(docker, rules, tmp_path):
    docker.patient("web", "--label", "app=shop")
    told = dockmend("doctor", "--engine", docker.url, "--rules", rules, "--state", tmp_path)
    assert "PROBLEM" not in told
    for part in ("engine", "rights", "disk", "clock", "rules", "labels", "healers"):
        assert f"ok      {part}" in told


def test_doctor_on_a_host_with_everything_wrong(docker, tmp_path):
    (tmp_path / "bad.yaml").write_text(
        "version: 1\nrules:\n  - {name: x, when: container.unhealty, match: all, then: restart}\n"
    )
    (tmp_path / "dockmend.yaml").write_text("mqtt: {host: 127.0.0.1, port: 1}\n")
    docker.toolbox_image("willfarrell/autoheal:latest")
    docker.run(
        "other-healer", "--volume", f"{docker.socket}:/var/run/docker.sock",
        image="willfarrell/autoheal:latest",
    )  # fmt: skip
    docker.run("typo", "--label", "dockmnd.heal=true")
    docker.run("mute", "--label", "autoheal=true")
    docker.toolbox_image("steering:latest", labels={"dockmend.heal": "true"})
    docker.patient("steered", image="steering:latest")
    rows = json.loads(dockmend("doctor", "--engine", docker.url, "--rules", tmp_path / "bad.yaml",
            "--state", tmp_path,
                               "--config", tmp_path / "dockmend.yaml", "--json",
                               code=1))  # fmt: skip
    problems = {row["part"]: row for row in rows if row["level"] == "problem"}
    assert set(problems) == {"rules", "labels", "health", "broker"}
    assert "container.unhealthy" in problems["rules"]["text"]
    notes = [row["text"] for row in rows if row["level"] == "note"]
    assert any(note.startswith("other-healer restarts unhealthy containers too") for note in notes)
    assert any(
        "container steered: label dockmend.heal=true comes from its image" in note for note in notes
    )
    assert all(row["todo"] for row in rows if row["level"] == "problem")


def test_doctor_reaches_a_broker_that_is_there(docker, broker: Broker, rules, tmp_path):
    (tmp_path / "c.yaml").write_text(f"mqtt: {{host: 127.0.0.1, port: {broker.port}}}\n")
    told = dockmend(
        "doctor",
        "--engine",
        docker.url,
        "--rules",
        rules,
        "--state",
        tmp_path,
        "--config",
        tmp_path / "c.yaml",
    )
    assert f"ok      broker    127.0.0.1:{broker.port}: connected" in told


# ---------------------------------------------------------------------------------------- snapshots


def test_snapshots_from_the_command_line(docker, tmp_path):
    docker.docker("volume", "create", "data")
    docker.docker(
        "run",
        "--rm",
        "-v",
        "data:/d",
        "toolbox",
        "sh",
        "-c",
        "echo one >/d/a; mkdir /d/b; ln /d/a /d/b/c",
    )
    flags: Sequence[Any] = ("--state", tmp_path, "--engine", docker.url)
    row = json.loads(dockmend("snapshots", "create", "data", *flags, "--json"))
    assert (row["volume"], row["rule"], row["incident"]) == ("data", None, None)
    dockmend("snapshots", "create", "data", *flags)
    rows = json.loads(dockmend("snapshots", "list", "--state", tmp_path, "--json"))
    assert set(rows[0]) == {"id", "volume", "time", "bytes", "files", "rule", "incident"}
    assert rows[0]["id"] == row["id"]
    assert "is whole" in dockmend("snapshots", "verify", row["id"], "--state", tmp_path)
    assert "volume back" in dockmend("snapshots", "restore", row["id"], "--to", "back", *flags)
    assert docker.docker("run", "--rm", "-v", "back:/d", "toolbox", "cat", "/d/b/c") == "one"
    dockmend("snapshots", "restore", row["id"], "--to", "back", *flags, code=1)
    assert "would remove" in dockmend(
        "snapshots", "prune", "--keep", "1", "--dry-run", "--state", tmp_path
    )
    assert (
        dockmend("snapshots", "prune", "--keep", "1", "--state", tmp_path)
        == f"removed {row['id']}\n"
    )
    assert (
        len(json.loads(dockmend("snapshots", "list", "data", "--state", tmp_path, "--json"))) == 1
    )


def test_what_differs_is_shown_and_put_back_in_place(docker, tmp_path):
    def shell(script: str) -> str:
        return str(docker.docker("run", "--rm", "-v", "data:/d", "toolbox", "sh", "-c", script))

    docker.docker("volume", "create", "data")
    shell("echo one >/d/a; echo two >/d/b")
    flags: Sequence[Any] = ("--state", tmp_path, "--engine", docker.url)
    row = json.loads(dockmend("snapshots", "create", "data", *flags, "--json"))
    assert dockmend("snapshots", "diff", row["id"], *flags) == "0 added, 0 removed, 0 changed\n"
    shell("echo 1 >/d/a; rm /d/b; printf x > \"/d/$(printf '\\033[2Jc\\n\\377')\"")
    told = dockmend("snapshots", "diff", row["id"], *flags, code=1)
    assert told == (
        "+ \\x1b[2Jc\\n\\xff (1 bytes)\n"
        "~ a: size 4 → 2, content\n"
        "- b (4 bytes)\n"
        "1 added, 1 removed, 1 changed\n"
    )  # fmt: skip
    differences = json.loads(dockmend("snapshots", "diff", row["id"], *flags, "--json", code=1))
    assert [each["change"] for each in differences] == ["added", "changed", "removed"]
    assert (
        dockmend(
            "snapshots",
            "diff",
            row["id"],
            "--state",
            tmp_path,
            "--engine",
            "unix:///nowhere",
            code=3,
        )
        == ""
    )

    dockmend("snapshots", "restore", row["id"], "--in-place", *flags, code=2)  # nobody to ask
    assert shell("cat /d/a") == "1"
    restored = json.loads(
        dockmend("snapshots", "restore", row["id"], "--in-place", "--yes", "--json", *flags)
    )
    assert restored["restored_to"] == "data"
    assert shell("cat /d/*") == "one\ntwo"
    safety = restored["safety"]
    assert [each["change"] for each in json.loads(
        dockmend("snapshots", "diff", row["id"], safety, "--state", tmp_path, "--json", code=1)
    )] == ["added", "changed", "removed"]  # fmt: skip
    dockmend("snapshots", "diff", row["id"], "data@20200101T000000", "--state", tmp_path, code=2)


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, "one"), ("n", 1, "1"), ("", 1, "1")])
def test_in_place_asks_a_person_at_a_terminal(docker, tmp_path, answer, code, left):
    def shell(script: str) -> str:
        return str(docker.docker("run", "--rm", "-v", "data:/d", "toolbox", "sh", "-c", script))

    docker.docker("volume", "create", "data")
    shell("echo one >/d/a")
    flags: Sequence[Any] = ("--state", tmp_path, "--engine", docker.url)
    row = json.loads(dockmend("snapshots", "create", "data", *flags, "--json"))
    shell("echo 1 >/d/a")
    ours, theirs = os.openpty()
    command = [
        sys.executable,
        "-m",
        "dockmend",
        "snapshots",
        "restore",
        row["id"],
        "--in-place",
        *map(str, flags),
    ]
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            command,
            check=False,
            stdin=theirs,
            capture_output=True,
            text=True,
            env=environment(),
            timeout=120,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "What the volume data holds now is replaced by" in done.stdout
    assert (
        "nothing was done" if code else "is restored into the volume data itself"
    ) in done.stdout
    assert shell("cat /d/a") == left


def test_a_damaged_snapshot_is_found_and_not_restored(docker, tmp_path):
    docker.docker("volume", "create", "data")
    row = json.loads(
        dockmend(
            "snapshots", "create", "data", "--state", tmp_path, "--engine", docker.url, "--json"
        )
    )
    [archive] = (tmp_path / "snapshots").rglob("*.tar.zst")
    archive.write_bytes(archive.read_bytes()[:-5])
    dockmend("snapshots", "verify", row["id"], "--state", tmp_path, code=1)
    dockmend("snapshots", "restore", row["id"], "--state", tmp_path, "--engine", docker.url, code=1)
    assert "data-restored" not in docker.docker("volume", "ls", "-q")


# ---------------------------------------------------------------------------------- the live daemon


def test_a_person_and_the_running_daemon(docker, daemon):
    one = daemon(docker.url, rules={"heal.yaml": HEAL}, config="heal: off\n")
    assert "connected" in one.cli("status")
    assert json.loads(one.cli("rules", "--json"))[0]["name"] == "heal"
    assert one.cli("reload").strip() != ""
    one.cli("pause", "--container", "web", "--for", "1h", check=False)
    docker.patient("web", "--label", "app=shop")
    assert "paused" in one.cli("pause", "--container", "web", "--for", "1h")
    docker.sicken("web")
    eventually(
        lambda: one.incidents(rule="heal", state="waiting"), what="the trouble waits for the pause"
    )
    assert docker.health("web") == "unhealthy"
    one.cli("resume", "--container", "web")
    eventually(
        lambda: one.incidents(rule="heal", outcome="healed"), what="healed once the pause is over"
    )
    [row] = one.incidents(rule="heal", outcome="healed")
    assert "verified" in one.cli("incidents", row["id"])
    assert one.command("trigger", "heal", "nobody").returncode == 1
    assert one.command("trigger", "no-such-rule", "web").returncode == 1


def test_a_second_daemon_on_the_same_state_names_the_first(docker, daemon):
    one = daemon(docker.url)
    done = one.command(
        "run", "--engine", docker.url, "--rules", one.rules, "--listen", "127.0.0.1:0"
    )
    assert done.returncode == 2
    assert f"process {one.pid}".encode() in done.stderr
    assert b"Traceback" not in done.stderr
