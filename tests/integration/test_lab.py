"""The lab itself works: otherwise nothing that other tests prove with it would mean anything."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest

from tests.lab import (
    Broker,
    EngineKind,
    LabError,
    NeverHappenedError,
    PrivateEngine,
    check_metrics,
    eventually,
    eventually_async,
)
from tests.lab.kinds import UNPACKED
from tests.lab.owned import RECORDS, processes_of, started, sweep


def test_the_engine_is_private(docker: PrivateEngine):
    assert str(docker.socket) != "/var/run/docker.sock"
    assert docker.docker("info", "--format", "{{.DockerRootDir}}") == str(docker.folder / "data")
    own = Path(f"/proc/{docker.pid}/ns/net").readlink()
    assert own != Path("/proc/self/ns/net").readlink()


def test_the_engine_is_of_the_kind_that_was_chosen(docker: PrivateEngine):
    chosen = EngineKind.chosen()
    unpacked = Path(f"/proc/{docker.pid}/exe").readlink().is_relative_to(UNPACKED)
    assert unpacked is (chosen is not EngineKind.INSTALLED)
    assert docker.containerd_store is (chosen is EngineKind.NEXT_CONTAINERD)
    versions = json.loads(docker.docker("version", "--format", "{{json .}}"))
    assert versions["Client"]["Version"] == versions["Server"]["Version"]
    assert versions["Server"]["ApiVersion"] == ".".join(map(str, docker.api_version))


def test_a_container_runs_with_the_toolbox(docker: PrivateEngine):
    docker.run("one")
    assert docker.state("one") == "running"
    assert docker.docker("exec", "one", "busybox", "echo", "hello") == "hello"
    assert docker.docker("exec", "one", "whoami") == "root"


def test_each_test_starts_clean(docker: PrivateEngine):
    assert docker.docker("ps", "--all", "--quiet") == ""
    docker.docker("volume", "create", "left")
    docker.docker("network", "create", "left")
    docker.run("left", "--network", "left", "--volume", "left:/left", "--volume", "/anonymous")
    docker.docker("commit", "left", "kept:1")
    docker.docker("pause", "left")
    docker.clean()
    assert docker.docker("ps", "--all", "--quiet") == ""
    assert docker.docker("volume", "ls", "--quiet") == ""
    assert docker.docker("network", "ls", "--format", "{{.Name}}").split() == [
        "bridge",
        "host",
        "none",
    ]
    assert docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}") == "toolbox:latest"


def test_a_patient_sickens_and_a_restart_cures_it(docker: PrivateEngine):
    docker.patient("web", "--label", "dockmend.heal=true")
    docker.sicken("web")
    assert docker.health("web") == "unhealthy"
    docker.docker("restart", "--time", "1", "web")
    docker.await_health("web", "healthy")


def test_a_patient_that_only_a_cure_helps(docker: PrivateEngine):
    docker.patient("web", cured_by_restart=False)
    docker.sicken("web")
    docker.docker("restart", "--time", "1", "web")
    docker.await_health("web", "unhealthy")
    docker.cure("web")
    docker.await_health("web", "healthy")


def test_an_image_carries_labels_of_its_own(docker: PrivateEngine):
    docker.toolbox_image(
        "tricky:1", labels={"exitCode": "0", 'quo"te': "a b"}, changes=["STOPSIGNAL SIGQUIT"]
    )
    docker.run("one", image="tricky:1")
    assert docker.inspect("one")["Config"]["Labels"] == {"exitCode": "0", 'quo"te': "a b"}
    assert docker.inspect("one")["Config"]["StopSignal"] == "SIGQUIT"


def test_events_are_read_back(docker: PrivateEngine):
    before = docker.now()
    docker.run("one")
    docker.docker("kill", "one")
    docker.await_state("one", "exited")
    seen = [
        event["Action"]
        for event in docker.events(
            since=before, type="container", container="one", event=["kill", "die"]
        )
    ]
    assert seen == ["kill", "die"]


def test_a_failing_command_says_why(docker: PrivateEngine):
    with pytest.raises(LabError, match="No such container: nobody"):
        docker.docker("inspect", "--type", "container", "nobody")
    assert docker.docker("start", "nobody", check=False) == ""


def test_killed_and_started_again(own_engine):
    engine = own_engine()
    engine.run("kept", "--restart", "always")
    engine.kill()
    assert not engine.running
    engine.start()
    engine.await_state("kept", "running")


def test_live_restore_keeps_containers(own_engine):
    engine = own_engine(live_restore=True)
    engine.run("kept")
    pid = engine.inspect("kept")["State"]["Pid"]
    engine.restart()
    assert engine.inspect("kept")["State"]["Pid"] == pid


def test_a_frozen_engine_answers_nothing(own_engine):
    engine = own_engine()
    engine.pause()
    with pytest.raises(TimeoutError):
        engine.api("GET", "/_ping", timeout=0.5)
    engine.resume()
    assert engine.api("GET", "/_ping") == (200, "OK")


def test_stop_leaves_nothing(own_engine):
    engine = own_engine(live_restore=True)
    engine.run("deaf", init=False)
    container = engine.inspect("deaf")["State"]["Pid"]
    engine.kill()  # the container's shim survives its engine
    assert started(container) is not None
    engine.stop()
    assert started(container) is None
    assert processes_of(engine._record) == set()
    assert not engine.folder.exists()
    assert not Path("/run/netns", engine.name).exists()
    assert str(engine.folder) not in Path("/proc/self/mountinfo").read_text()


def test_what_a_killed_run_left_is_swept():
    script = (
        "from tests.lab import PrivateEngine\nimport os, signal\n"
        "e = PrivateEngine().start(); e.run('left')\n"
        "print(e.name, e.folder, e.inspect('left')['State']['Pid'], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -9, done.stderr
    name, folder, container = done.stdout.split()
    assert Path("/run/netns", name).exists()
    sweep()  # or that of another run, which may have been the first
    eventually(lambda: not Path(folder).exists())
    assert not Path("/run/netns", name).exists()
    assert not (RECORDS / f"{name}.json").exists()
    assert started(int(container)) is None


def test_broker_round_trip(broker: Broker):
    broker.publish("dockmend/lab/status", "online", retain=True)
    with broker.subscribe("dockmend/#") as heard:
        assert heard.wait_for("dockmend/lab/status").retain
        broker.publish("dockmend/lab/event", '{"a": "ü"}')
        message = heard.wait_for("dockmend/lab/event")
        assert json.loads(message.payload) == {"a": "ü"}
        assert not message.retain


def test_broker_with_a_password_refuses_strangers():
    broker = Broker(username="healer", password="s3cret phrase").start()
    try:
        broker.publish("a", "b")
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", "a", "-m", "b"]
        with pytest.raises(subprocess.CalledProcessError) as refused:
            subprocess.run(command, check=True, capture_output=True, timeout=15)
        assert b"not authorised" in refused.value.stderr
    finally:
        broker.stop()


def test_broker_comes_back_on_its_port(broker: Broker):
    broker.kill()
    broker.start()
    broker.publish("a", "b", retain=True)
    with broker.subscribe() as heard:
        assert heard.wait_for("a").payload == "b"


def test_promtool_sees_what_is_wrong():
    good = "# HELP x_total What it counts.\n# TYPE x_total counter\nx_total 1\n"
    assert check_metrics(good) == ""
    assert "no help text" in check_metrics("# TYPE x_total counter\nx_total 1\n")


def test_prometheus_scrapes(prometheus):
    from prometheus_client import CollectorRegistry, Gauge, start_http_server

    registry = CollectorRegistry()
    Gauge("lab_answer", "What it is.", registry=registry).set(42)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    server.daemon_threads = False  # type: ignore[attr-defined]  # closing the server then waits for its connections' ends
    try:
        one = prometheus(f"127.0.0.1:{server.server_port}")
        rows = eventually(lambda: one.query("lab_answer"))
        assert rows[0]["value"][1] == "42"
        one.stop()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    with pytest.raises(urllib.error.URLError):
        one.query("lab_answer")


def test_waiting_says_what_it_saw():
    with pytest.raises(
        NeverHappenedError, match=r"the tide did not happen within 0\.1 s; last seen: \[\]"
    ):
        eventually(list, 0.1, what="the tide")
    with pytest.raises(NeverHappenedError, match="last seen: KeyError"):
        eventually(lambda: dict[str, int]()["x"], 0.1)


async def test_waiting_on_the_event_loop():
    values = iter([0, 0, 3])

    async def probe() -> int:
        return next(values)

    assert await eventually_async(probe, 5) == 3
    with pytest.raises(NeverHappenedError):
        await eventually_async(lambda: False, 0.05)
