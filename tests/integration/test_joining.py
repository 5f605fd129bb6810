"""A guest joins its owner's network when the runtime creates it; the engine tells of it only once
it was started, too.

An owner that restarts in between leaves it in a namespace that is gone, though by the engine's word
the guest began last: comparing who started when calls it well for good. Here a runtime that waits
before the start holds that moment.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.integration.healing import CRASHED, daemon
from tests.integration.stories import all_told, closed, incidents, stories
from tests.integration.test_ends import ON_CUE, cue, kill_main
from tests.integration.vpn import RULE
from tests.lab import Daemon, PrivateEngine, eventually

pytestmark = pytest.mark.timeout(240)

RULES = {"crashed.yaml": CRASHED, "rejoin.yaml": RULE}
CRASHES = ("sh", "-c", f"rm -f /cue; {ON_CUE} exit 1")
# runc is run in the container's bundle, where it has noted the process that it made.
RUNTIME = """#!/bin/sh
case " $* " in
*" start "*)
    if [ -e GATE ]; then
        cp init.pid WAITS.new && mv WAITS.new WAITS
        left=600
        while [ -e GATE ] && [ $left -gt 0 ]; do sleep 0.05; left=$((left - 1)); done
        rm -f WAITS
    fi;;
esac
exec RUNC "$@"
"""


class Gate:
    """A runtime, runc but for one thing: while the gate is closed, containers are created and not
    yet started."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "slow-runc"
        self._gate, self._waits = folder / "gate", folder / "waits"
        runc = shutil.which("runc")
        assert runc is not None, "the engine's own runtime is not there"
        text = (
            RUNTIME.replace("GATE", str(self._gate))
            .replace("WAITS", str(self._waits))
            .replace("RUNC", runc)
        )
        self.path.write_text(text)
        self.path.chmod(0o755)

    @contextmanager
    def closed(self) -> Iterator[None]:
        self._gate.touch()
        try:
            yield
        finally:
            self._gate.unlink()

    def waiting(self) -> int:
        """The main process of the container that was created and waits for its start."""
        return int(eventually(self._waits.read_text, 60, what="the runtime waits before a start"))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture
def slow_engine(own_engine: Callable[..., PrivateEngine], gate: Gate) -> PrivateEngine:
    """An engine with an owner and its guest, which both run; the guest crashes on its cue."""
    one = own_engine(options=("--add-runtime", f"slow={gate.path}"))
    one.run("owner", "--stop-timeout", "2")
    one.run("guest", "--runtime", "slow", "--network", "container:owner", "--label",
        "dockmend.rejoin=true",
            "--stop-timeout", "2", command=CRASHES)  # fmt: skip
    return one


def network_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def network(engine: PrivateEngine, name: str) -> str:
    """The network namespace that a running container is in."""
    return network_of(int(engine.inspect(name)["State"]["Pid"]))


def together(engine: PrivateEngine) -> bool:
    return network(engine, "guest") == network(engine, "owner")


def asked_to_start(engine: PrivateEngine) -> None:
    """dockmend has the reason to start the guest: its crash."""
    cue(engine, "guest")


def asked_to_rejoin(engine: PrivateEngine) -> None:
    """dockmend has the reason to start the guest: its owner's restart."""
    engine.docker("restart", "owner")


def at_rest(one: Daemon) -> bool:
    found = incidents(one)
    return bool(found) and all(each.state == "closed" for each in found)


@pytest.mark.parametrize("asked", [asked_to_start, asked_to_rejoin])
def test_an_owner_that_restarts_while_its_guest_is_being_started(
    slow_engine: PrivateEngine, gate: Gate, asked: Callable[[PrivateEngine], None]
) -> None:
    assert together(slow_engine)
    with daemon(slow_engine, RULES, config="heal: off\n") as one:
        with gate.closed():
            asked(slow_engine)
            joined = network_of(gate.waiting())
            assert joined == network(slow_engine, "owner")
            slow_engine.docker("restart", "owner")
            assert joined != network(slow_engine, "owner"), (
                "the guest is to join what is about to be gone"
            )
        eventually(
            partial(together, slow_engine),
            what="the guest is in the network that its owner has now",
        )
        eventually(partial(at_rest, one), 60, what="all is treated")
        assert together(slow_engine)
        assert {each.outcome for each in incidents(one)} <= {"healed", "recovered"}, stories(one)
        all_told(one)


def test_an_owner_that_restarted_before_its_guest_was_asked_for(
    slow_engine: PrivateEngine, gate: Gate
) -> None:
    """It is well however long its start takes, and left alone."""
    slow_engine.run("witness")
    with daemon(slow_engine, RULES, config="heal: off\n") as one:
        one.pause()
        cue(slow_engine, "guest")
        slow_engine.await_state("guest", "exited")
        slow_engine.docker("restart", "owner")
        with gate.closed():
            one.resume()
            assert network_of(gate.waiting()) == network(slow_engine, "owner")
        closed(one, object_name="guest", outcome="healed")
        began = slow_engine.inspect("guest")["State"]["StartedAt"]
        kill_main(slow_engine, "witness")
        closed(one, object_name="witness", outcome="healed")
        assert together(slow_engine)
        assert slow_engine.inspect("guest")["State"]["StartedAt"] == began
        assert [(each.object_name, [did.action for did in done])
            for each, done in stories(one)] == [
            ("guest", ["start"]), ("witness", ["start"])
        ]  # fmt: skip
        all_told(one)
