from __future__ import annotations

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from dockmend.actions import containers, containers_recovery
from dockmend.actions.action import NOT_BEGUN, ActionFailed
from dockmend.errors import EngineAway, NotFound, Permanent, Temporary
from tests.unit.actions.stage import ID, WEB, Stage

PLAIN = SimpleNamespace(timeout=None, signal=None)


# ------------------------------------------------------------------------------------------- acting
async def test_restart_writes_down_before_it_acts_and_looks_no_more_than_once():
    stage = Stage()

    await containers.restart(stage.context, SimpleNamespace(timeout=5.0, signal="SIGINT"), WEB)

    assert stage.engine.calls == [("remember",), ("restart", 5.0, "SIGINT")]
    assert stage.undo == {
        "restart": {"was_running": True, "state": "running", "started_at": 100.0,
            "stop_timeout": 5.0}
    }  # fmt: skip


@pytest.mark.parametrize("state", ["removing", "dead"])
@pytest.mark.parametrize("action", [containers.restart, containers.start])
async def test_what_is_being_removed_is_left(action, state):
    stage = Stage()
    stage.engine.set(state=state)

    with pytest.raises(ActionFailed, match="it is being removed") as failure:
        await action(stage.context, PLAIN, stage.engine.containers[ID])

    assert not failure.value.again
    assert stage.engine.did() == []


async def test_paused_container_is_not_started():
    stage = Stage()
    stage.engine.set(state="paused")

    with pytest.raises(ActionFailed, match="unpause it instead"):
        await containers.start(stage.context, PLAIN, WEB)


async def test_a_step_before_may_have_changed_what_the_attempt_began_with():
    stage = Stage()

    for name, state in (
        ("unpause", "paused"),
        ("start", "exited"),
        ("pause", "running"),
        ("stop", "running"),
    ):
        stage.engine.set(state=state)
        await getattr(containers, name)(
            stage.context, PLAIN, replace(WEB, state="running" if state != "running" else "exited")
        )

    assert stage.engine.did("remember") == ["unpause", "start", "pause", "stop"]


@pytest.mark.parametrize(
    ("field", "shared"),
    [("network_mode", "network"), ("pid_mode", "process namespace"), ("ipc_mode", "IPC namespace")],
)
async def test_owner_is_looked_at_before_anything_is_stopped(field: str, shared: str):
    stage = Stage()
    stage.engine.containers["owner"] = replace(WEB, id="owner", name="vpn", state="exited")
    tail = replace(WEB, **{field: "container:owner"})

    with pytest.raises(
        ActionFailed, match=f"shares the {shared} of vpn, which does not run"
    ) as failure:
        await containers.restart(stage.context, PLAIN, tail)
    assert failure.value.again

    del stage.engine.containers["owner"]
    with pytest.raises(
        ActionFailed, match=f"the container whose {shared} it shares was removed"
    ) as failure:
        await containers.restart(stage.context, PLAIN, tail)
    assert not failure.value.again

    assert stage.engine.did() == []


RUNC = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to "
    "start container process:"
)


@pytest.mark.parametrize(
    ("error", "sentence", "again"),
    [
        (NotFound(f"restart: No such container: {ID}", 404), "the container is gone", False),
        (
            Permanent("Container is marked for removal and cannot be started", 409),
            "can never run again",
            False,
        ),
        (
            Temporary("restart: cannot join network of a non running container: abc", 500),
            "must run first",
            True,
        ),
        (
            Temporary("restart: network 37f79ccf6be4 not found", 500),
            "a network it belongs to was removed",
            True,
        ),
        (Permanent("restart: Address already in use", 403), "in use by another container", True),
        (
            Temporary("driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", 500),
            "a port it",
            True,
        ),
        (
            Temporary("listen tcp4 0.0.0.0:80: bind: address already in use", 500),
            "a port it publishes is taken",
            True,
        ),
        (Permanent("restart: invalid signal: FOO", 400), "knows no such signal", False),
        (Temporary("write /x: no space left on device", 500), "disk is full", True),
        (
            Temporary(f"{RUNC} mkdir /x: no space left on device: unknown", 500),
            "disk is full",
            True,
        ),
        (
            Temporary(f'{RUNC} exec: "invalid signal": executable file not found in $PATH', 500),
            "not found in",
            True,
        ),
        (
            Temporary(f"{RUNC} exec: stat /is being removed: no such file or directory", 500),
            "stat /is being",
            True,
        ),
        (
            Temporary(
                "unable to find user invalid signal: no matching entries in passwd file", 500
            ),
            "find user",
            True,
        ),
        (Permanent("restart: something new", 400), "something new", False),
        (Temporary("restart: something passing", 503), "something passing", True),
    ],
)
async def test_what_the_engine_refuses_is_told_and_graded(error, sentence, again):
    stage = Stage()
    stage.engine.trouble["restart"] = error

    with pytest.raises(ActionFailed, match="cannot restart web: ") as failure:
        await containers.restart(stage.context, PLAIN, WEB)

    assert sentence in str(failure.value).partition(" (engine: ")[0]
    assert failure.value.again is again


async def test_missing_owner_is_not_taken_for_the_container():
    stage = Stage()
    stage.engine.containers["o" * 64] = replace(WEB, id="o" * 64, name="vpn")
    stage.engine.trouble["restart"] = Temporary(
        f"Cannot restart container web: No such container: {'o' * 64}", 500
    )

    with pytest.raises(ActionFailed, match="must be recreated") as failure:
        await containers.restart(
            stage.context, PLAIN, replace(WEB, network_mode=f"container:{'o' * 64}")
        )

    assert not failure.value.again


@pytest.mark.parametrize("name", ["restart", "start", "stop", "kill", "pause", "unpause"])
async def test_an_engine_that_is_away_is_the_runners_affair(name):
    stage = Stage()
    stage.engine.trouble[name] = EngineAway("nobody answers")
    stage.engine.set(state={"start": "exited", "unpause": "paused"}.get(name, "running"))

    with pytest.raises(EngineAway):
        await getattr(containers, name)(stage.context, PLAIN, stage.engine.containers[ID])


# ----------------------------------------------------------------------------------------- settling
UNDO = {
    "restart": {"was_running": True, "state": "running", "started_at": 100.0, "stop_timeout": 5.0}
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers_recovery, "POLL", 0.0)


@pytest.mark.parametrize("name", ["restart", "start", "stop", "kill", "pause", "unpause"])
async def test_nothing_is_settled_where_nothing_was_begun(name):
    stage = Stage()

    settled = await getattr(containers_recovery, name)(stage.context, stage.record(name))

    assert settled == NOT_BEGUN
    assert stage.engine.did() == []


@pytest.mark.parametrize("name", ["pause", "unpause"])
async def test_what_stays_paused_for_now_keeps_the_record_open(name):
    stage = Stage()
    stage.engine.set(state="paused")
    stage.engine.trouble["unpause"] = Temporary("busy", 500)

    with pytest.raises(Temporary, match="busy"):
        await getattr(containers_recovery, name)(stage.context, stage.record(name, {name: {}}))


async def test_restart_under_way_is_awaited_until_it_ran_anew(quick):
    stage = Stage()
    looks = iter(["running", "exited", "exited", "running"])

    def look() -> None:
        state = next(looks)
        anew = state == "running" and stage.engine.containers[ID].state == "exited"
        stage.engine.set(state=state, started_at=200.0 if anew else 100.0, finished_at=stage.now)

    stage.engine.on["inspect"] = look

    settled = await containers_recovery.restart(stage.context, stage.record("restart", UNDO))

    assert settled.done
    assert stage.engine.did() == []


async def test_restart_that_left_it_exited(quick):
    stage = Stage(now=1010.0)
    stage.engine.set(state="exited", exit_code=143, finished_at=1001.0)

    settled = await containers_recovery.restart(
        stage.context, stage.record("restart", UNDO, began_at=1000.0)
    )

    assert settled.done
    assert stage.engine.did() == ["start"]


async def test_what_lies_stopped_is_not_left_so_until_its_stop_timeout_is_over():
    stage = Stage(now=1010.0)
    stage.engine.set(state="exited", exit_code=143, finished_at=1001.0)
    patient = {"restart": UNDO["restart"] | {"stop_timeout": 600.0}}

    settled = await containers_recovery.restart(
        stage.context, stage.record("restart", patient, began_at=1000.0)
    )

    assert settled.done
    assert stage.engine.did() == ["start"]


@pytest.mark.parametrize(
    ("finished_at", "exit_code", "did"),
    [(1007.0, 0, ["start"]), (1009.0, 0, []), (1009.0, 255, ["start"])],
)
async def test_only_an_end_that_can_be_the_restarts_is_undone(finished_at, exit_code, did):
    stage = Stage(now=2000.0)
    stage.engine.set(state="exited", exit_code=exit_code, finished_at=finished_at)

    await containers_recovery.restart(stage.context, stage.record("restart", UNDO, began_at=1000.0))

    assert stage.engine.did() == did


@pytest.mark.parametrize(
    ("fields", "there", "did"),
    [
        ({"signalled": True}, True, []),
        ({"signalled": True}, False, ["start"]),  # the engine died in the middle of the restart
        # the restart's own start failed
        ({"signalled": True, "error": "network shop not found"}, True, ["start"]),
        ({"signalled": False}, True, ["start"]),  # it crashed
        ({}, True, ["start"]),  # nobody knows
    ],
)
async def test_what_a_person_stopped_before_the_engine_was_asked_is_not_started(
    fields, there, did, monkeypatch
):
    stage = Stage(now=2000.0)
    stage.engine.set(state="exited", exit_code=143, finished_at=1007.0, **fields)
    monkeypatch.setattr(type(stage.context.view), "engine_was_there", lambda self, at: there)

    settled = await containers_recovery.restart(
        stage.context, stage.record("restart", UNDO, began_at=1000.0)
    )

    assert stage.engine.did() == did
    assert settled.facts.get("stopped_by_person", False) == (not did)


async def test_what_did_not_run_before_is_not_started():
    stage = Stage(now=2000.0)
    stage.engine.set(state="exited", finished_at=50.0)
    undo = {"restart": UNDO["restart"] | {"was_running": False}}

    settled = await containers_recovery.restart(
        stage.context, stage.record("restart", undo, began_at=1000.0)
    )

    assert not settled.done
    assert stage.engine.did() == []


async def test_restart_that_ended_again_is_not_started():
    stage = Stage(now=2000.0)
    stage.engine.set(state="exited", started_at=1001.0, finished_at=1500.0, exit_code=3)

    settled = await containers_recovery.restart(
        stage.context, stage.record("restart", UNDO, began_at=1000.0)
    )

    assert settled.done
    assert settled.detail == "the restart had gone through; it ended again since (exit code 3)"
    assert stage.engine.did() == []


@pytest.mark.parametrize("state", ["removing", "dead"])
async def test_restart_of_what_is_being_removed_ends(state):
    stage = Stage(now=2000.0)
    stage.engine.set(state=state)

    assert (
        await containers_recovery.restart(stage.context, stage.record("restart", UNDO, 1000.0))
        == containers_recovery.GONE
    )


async def test_start_that_fails_while_settling_is_told():
    stage = Stage(now=2000.0)
    stage.engine.set(state="exited", finished_at=1001.0)
    stage.engine.trouble["start"] = Permanent("start: marked for removal")

    settled = await containers_recovery.restart(
        stage.context, stage.record("restart", UNDO, 1000.0)
    )

    assert not settled.done
    assert (
        settled.detail
        == "it had been stopped for a restart, and could not be started: start: marked for removal"
    )


@pytest.mark.parametrize("name", ["restart", "start", "stop", "pause", "unpause"])
async def test_settling_waits_for_an_engine_that_is_away(name):
    stage = Stage()
    stage.engine.trouble["inspect"] = EngineAway("nobody answers")

    with pytest.raises(EngineAway):
        await getattr(containers_recovery, name)(
            stage.context, stage.record(name, {name: UNDO["restart"]})
        )


async def test_unpausing_what_somebody_unpaused_is_fine():
    stage = Stage()
    stage.engine.set(state="paused")
    stage.engine.trouble["unpause"] = Permanent("unpause: Container is not paused", 500)

    settled = await containers_recovery.unpause(
        stage.context, stage.record("unpause", {"unpause": {}})
    )

    assert settled.done


@pytest.mark.parametrize(
    ("name", "state", "error", "told"),
    [
        ("pause", "running", "pause: Container c is already paused", "it was paused already"),
        ("unpause", "paused", "unpause: Container c is not paused", "it was not paused any more"),
        ("kill", "running", "kill: container c is not running", "it had ended just before"),
    ],
)
async def test_what_became_so_in_the_last_moment_is_done(name, state, error, told):
    stage = Stage()
    stage.engine.set(state=state)
    stage.engine.trouble[name] = Permanent(error, 409)

    assert (await getattr(containers, name)(stage.context, PLAIN, WEB)).detail == told
