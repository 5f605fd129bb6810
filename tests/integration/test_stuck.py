"""container.stuck on a real engine: a kill that ends nothing, a removal that never ends; a rule
that treats them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents, stories
from tests.lab import TOOLBOX, PrivateEngine, eventually
from tests.lab.engine import LabError

TIDY = """
version: 1
rules:
  - name: tidy
    when: container.stuck
    match: all
    then: {remove: {force: true}}
    limits: {backoff: 1s to 2s, attempts: none}
"""
ALLOW = "heal: off\npolicy: {allow: [remove]}\n"


SEIZE = (
    "import ctypes, sys, time; ok = ctypes.CDLL(None, use_errno=True).ptrace(0x4206, "
    "int(sys.argv[1]), 0, 0); print(ok, flush=True); time.sleep(4242)"
)
"""PTRACE_SEIZE: what a debugger holds stays a zombie when it is killed, and the container cannot
end before it."""


@contextmanager
def held(docker: PrivateEngine, name: str) -> Iterator[None]:
    """One of its processes is held by a debugger: SIGKILL does not end the container."""
    parent = docker.inspect(name)["State"]["Pid"]
    child = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0]
    with subprocess.Popen(
        [sys.executable, "-c", SEIZE, child], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "0\n"
        try:
            yield
        finally:
            holder.kill()


@contextmanager
def undeletable(docker: PrivateEngine, name: str) -> Iterator[None]:
    """A file in its layer that nobody may delete."""
    docker.docker("exec", name, "touch", "/rock")
    layer = docker.inspect(name)["GraphDriver"]["Data"]["UpperDir"]
    subprocess.run(["chattr", "+i", f"{layer}/rock"], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", f"{layer}/rock"], check=False, stderr=subprocess.DEVNULL)


def test_a_kill_that_ends_nothing_and_a_removal_that_never_ends(docker: PrivateEngine) -> None:
    """The removal of what cannot be removed yet fails, and is tried again until it can be."""
    docker.run("deaf")
    docker.run("dead")
    docker.docker("create", "--name", "made", TOOLBOX)
    with ExitStack() as held_back:
        held_back.enter_context(held(docker, "deaf"))
        held_back.enter_context(undeletable(docker, "dead"))
        docker.docker("kill", "dead")
        docker.await_state("dead", "exited")
        docker.docker("rm", "dead", check=False)
        assert docker.state("dead") == "dead"
        with daemon(docker, TIDY, config=ALLOW) as one:
            with pytest.raises(LabError, match="did not receive an exit event"):
                docker.docker("kill", "deaf")
            eventually(lambda: len(incidents(one, rule="tidy")) == 2, 120)
            found = incidents(one, rule="tidy")
            assert {each.object_name for each in found} == {"deaf", "dead"}
            assert docker.state("deaf") == "running"
            eventually(
                lambda: all(
                    any(each.outcome == "failed" for each in done) for _, done in stories(one)
                ),
                60,
            )
            held_back.close()

            outcomes = {
                each.object_name: each.outcome for each in closed(one, 2, rule="tidy", timeout=120)
            }

            assert outcomes["dead"] == "done"
            assert outcomes["deaf"] in ("done", "recovered")
            names = [row["Names"][0] for row in docker.api("GET", "/containers/json?all=1")[1]]
            assert "/dead" not in names
            assert "/made" in names  # made and never started is not stuck
            all_told(one)
