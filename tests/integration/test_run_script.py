"""`make run`'s script: it uses the engine that was named, and says in a sentence what it may not or
cannot do."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.lab import PrivateEngine, eventually
from tests.lab.programs import end, free_port

TOP = Path(__file__).resolve().parents[2]
HIDE_RUN = (
    # in a mount namespace of its own: no engine's socket in there
    "mount -t tmpfs none /run && exec deploy/run.sh"
)


def run_without_engine(**environment: str) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HIDE_RUN]
    return subprocess.run(
        command,
        check=False,
        cwd=TOP,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def no_docker_command(tmp_path: Path) -> str:
    """A search path whose `docker` knows no context, whatever the machine's user has chosen."""
    stub = tmp_path / "docker"
    stub.write_text("#!/bin/sh\necho default\n")
    stub.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_engine_no_is_obeyed(no_docker_command: str):
    done = run_without_engine(ENGINE="no", PATH=no_docker_command)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "ENGINE=no forbids starting one" in done.stderr


def test_it_runs_on_the_engine_that_was_named(docker: PrivateEngine, tmp_path: Path):
    port = free_port()
    command = ["deploy/run.sh", "--state", str(tmp_path / "state"), "--listen", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=TOP,
            env=os.environ | {"DOCKER_HOST": docker.url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def said() -> str:
        return (tmp_path / "log").read_text()

    def ready() -> bool:
        assert process.poll() is None, said()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False

    try:
        eventually(ready, what="dockmend is ready")
        assert f"using the engine of DOCKER_HOST={docker.url}" in said()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, said()
        assert "Traceback" not in said()
    finally:
        end(process)
