"""Container actions and their settling against a real engine."""

from __future__ import annotations

import asyncio
import signal

import pytest

from dockmend.actions.action import REGISTRY, ActionFailed
from dockmend.engine.client import DockerEngine
from dockmend.rules.action_parameters import Kill, NoParams, RestartParams, Stop
from tests.integration.acting import Acting
from tests.lab import PrivateEngine, eventually


def started(docker: PrivateEngine, name: str) -> str:
    return str(docker.inspect(name)["State"]["StartedAt"])


# ------------------------------------------------------------------------------------------ running
async def test_restart_starts_a_new_run_and_remembers_the_old_one(acting, docker):
    docker.run("web")
    before = started(docker, "web")

    done = await acting.run("restart", RestartParams(), "web")

    assert docker.state("web") == "running"
    assert started(docker, "web") != before
    assert done.detail == "restarted"
    assert acting.undo["restart"]["was_running"] is True


async def test_restart_of_a_paused_container_lets_it_run(acting, docker):
    docker.run("web")
    docker.docker("pause", "web")

    done = await acting.run("restart", RestartParams(), "web")

    assert docker.state("web") == "running"
    assert done.detail == "restarted (it was paused)"


async def test_restart_keeps_a_container_that_would_be_removed_at_its_end(acting, docker):
    docker.run("web", "--rm")
    before = started(docker, "web")

    await acting.run("restart", RestartParams(), "web")

    assert docker.state("web") == "running"
    assert started(docker, "web") != before


async def test_restart_sends_the_signal_of_the_rule(acting, docker):
    caught = "trap 'echo usr1 >>/caught; exit 0' USR1; touch /trapped; while :; do sleep 0.05; done"
    docker.run("web", command=("sh", "-c", caught), init=False)
    eventually(
        lambda: docker.docker("exec", "web", "ls", "/trapped", check=False), what="the trap is set"
    )

    await acting.run(
        "restart", RestartParams.model_validate({"signal": "USR1", "timeout": "20s"}), "web"
    )

    assert docker.docker("exec", "web", "cat", "/caught") == "usr1"


async def test_stop_start_pause_unpause(acting, docker):
    docker.run("web")

    assert (await acting.run("pause", NoParams(), "web")).detail == "paused"
    assert docker.state("web") == "paused"
    assert (await acting.run("pause", NoParams(), "web")).detail == "it was paused already"
    assert (await acting.run("unpause", NoParams(), "web")).detail == "unpaused"
    assert docker.state("web") == "running"
    assert (
        await acting.run("unpause", NoParams(), "web")
    ).detail == "it was not paused (it was running)"
    assert (await acting.run("stop", Stop(), "web")).detail == "stopped"
    assert docker.state("web") == "exited"
    assert (await acting.run("stop", Stop(), "web")).detail == "it did not run (it was exited)"
    assert (await acting.run("start", NoParams(), "web")).detail == "started"
    assert docker.state("web") == "running"
    assert (await acting.run("start", NoParams(), "web")).detail == "it ran already"


async def test_actions_go_by_how_it_is_now_and_not_by_what_the_attempt_began_with(acting, docker):
    docker.run("web")
    stale = await acting.client.inspect("web")
    ctx = acting.context(stale)

    for name, params, state in (
        ("pause", NoParams(), "paused"), ("unpause", NoParams(), "running"),
        ("stop", Stop(), "exited"), ("start", NoParams(), "running"), ("kill", Kill(), "exited"),
        ("start", NoParams(), "running"),
    ):  # fmt: skip
        await REGISTRY[name].run(ctx, params, stale)
        docker.await_state("web", state)


async def test_kill_sends_the_signal(acting, docker):
    caught = "trap 'echo hup >>/caught' HUP; touch /trapped; while :; do sleep 0.05; done"
    docker.run("web", command=("sh", "-c", caught), init=False)
    eventually(
        lambda: docker.docker("exec", "web", "ls", "/trapped", check=False), what="the trap is set"
    )

    assert (await acting.run("kill", Kill(signal="HUP"), "web")).detail == "sent SIGHUP"

    eventually(lambda: docker.docker("exec", "web", "cat", "/caught") == "hup")
    assert (await acting.run("kill", Kill(), "web")).detail == "sent SIGKILL"
    docker.await_state("web", "exited")
    assert docker.inspect("web")["State"]["ExitCode"] == 128 + signal.SIGKILL


# ------------------------------------------------------------------------------------------ refused
async def test_a_dependent_is_not_stopped_while_its_owner_is_down(acting, docker):
    docker.run("owner")
    docker.run("tail", "--network", "container:owner")
    docker.docker("stop", "--time", "1", "owner")

    with pytest.raises(
        ActionFailed, match="shares the network of owner, which does not run; start that one first"
    ) as failure:
        await acting.run("restart", RestartParams(), "tail")

    assert failure.value.again
    assert docker.state("tail") == "running"


async def test_a_dependent_of_a_removed_owner_must_be_recreated(acting, docker):
    docker.run("owner")
    docker.run("tail", "--network", "container:owner")
    docker.docker("rm", "--force", "owner")

    with pytest.raises(ActionFailed, match="must be recreated to join its successor") as failure:
        await acting.run("restart", RestartParams(), "tail")

    assert not failure.value.again
    assert docker.state("tail") == "running"


async def test_a_container_that_is_gone_fails_for_good(acting, docker):
    docker.run("web")
    stale = await acting.client.inspect("web")
    docker.docker("rm", "--force", "web")
    with pytest.raises(ActionFailed, match="cannot restart web: the container is gone") as failure:
        await REGISTRY["restart"].run(acting.context(stale), RestartParams(), stale)

    assert not failure.value.again


async def test_a_start_without_its_network_says_which_hand_is_needed(acting, docker):
    docker.docker("network", "create", "lane")
    docker.run("web", "--network", "lane")
    docker.docker("stop", "--time", "1", "web")
    docker.docker("network", "rm", "lane")

    with pytest.raises(ActionFailed, match="a network it belongs to was removed") as failure:
        await acting.run("start", NoParams(), "web")

    assert failure.value.again


async def test_a_signal_the_engine_does_not_know_fails_for_good(acting, docker):
    docker.run("web")

    with pytest.raises(ActionFailed, match="knows no such signal") as failure:
        # the loader refuses it
        await acting.run("kill", Kill.model_construct(signal="SIGNONE"), "web")

    assert not failure.value.again
    assert docker.state("web") == "running"


# ----------------------------------------------------------------------------------------- settling
async def test_restart_that_never_began(acting, docker):
    docker.run("web")
    before = started(docker, "web")
    record = await acting.run_and_die("restart", RestartParams(), "web")
    acting.ahead = 60.0

    settled = await acting.settle(record)

    assert not settled.done
    assert settled.detail == "the restart had not begun"
    assert started(docker, "web") == before


async def test_restart_that_the_engine_finished_after_the_death(acting, docker):
    docker.run("web")
    record = await acting.run_and_die("restart", RestartParams(), "web")
    docker.docker("restart", "--time", "1", "web")
    before = started(docker, "web")

    settled = await acting.settle(record)

    assert settled.done
    assert settled.detail == "the restart had gone through"
    assert started(docker, "web") == before


async def test_restart_that_is_still_under_way_is_waited_for(acting, docker):
    slow = "trap 'sleep 2; exit 0' TERM; touch /trapped; while :; do sleep 0.05; done"
    docker.run("web", command=("sh", "-c", slow), init=False)
    eventually(
        lambda: docker.docker("exec", "web", "ls", "/trapped", check=False), what="the trap is set"
    )
    record = await acting.run_and_die(
        "restart", RestartParams.model_validate({"timeout": "20s"}), "web"
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(docker.adocker("restart", "--time", "20", "web"))
        settled = await acting.settle(record)

    assert settled.done
    assert settled.detail == "the restart had gone through"


async def test_container_that_somebody_stopped_before_the_restart_began_stays_stopped(
    acting, docker
):
    """The engine was there all the while: one that is asked for a restart would have gone on to the
    start."""
    docker.run("web")
    record = await acting.run_and_die("restart", RestartParams(), "web")
    docker.docker("stop", "--time", "1", "web")
    acting.ahead = 60.0

    settled = await acting.settle(record)

    assert not settled.done
    assert (
        settled.detail
        == "the restart had not begun: somebody stopped it before the engine was asked"
    )
    assert docker.state("web") == "exited"


async def test_container_that_ended_long_after_the_restart_would_have_is_left(acting, docker):
    docker.run("web")
    acting.ahead = -3600.0
    record = await acting.run_and_die("restart", RestartParams(), "web")
    acting.ahead = 0.0
    docker.docker("stop", "--time", "1", "web")

    settled = await acting.settle(record)

    assert not settled.done
    assert "it ended later, for another reason" in settled.detail
    assert docker.state("web") == "exited"


async def test_engine_that_died_in_the_middle_of_the_restart(acting, own_engine):
    docker = own_engine()
    docker.run("web")
    client = DockerEngine(docker.url)
    acting = Acting(docker, client)
    record = await acting.run_and_die("restart", RestartParams(), "web")
    docker.kill()
    docker.start()
    docker.await_state("web", "exited")
    acting.ahead = 3600.0

    settled = await acting.settle(record)
    await client.close()

    assert settled.done, settled
    assert docker.state("web") == "running"


async def test_container_that_is_gone_settles(acting, docker):
    docker.run("web")
    actions = (("restart", RestartParams()), ("stop", Stop()), ("pause", NoParams()))
    records = [await acting.run_and_die(*each, "web") for each in actions]
    docker.docker("rm", "--force", "web")

    settled = [await acting.settle(record) for record in records]

    assert [each.detail for each in settled] == ["the container is gone"] * 3
    assert not any(each.done for each in settled)


async def test_what_was_paused_goes_on(acting, docker):
    docker.run("web")
    record = await acting.run_and_die("pause", NoParams(), "web")
    docker.docker("pause", "web")

    settled = await acting.settle(record)

    assert settled.detail == "it had been left paused, and was unpaused"
    assert docker.state("web") == "running"
    assert (await acting.settle(record)).detail == "it is not paused"


async def test_start_stop_and_kill_settle_by_what_is_there(acting, docker):
    docker.run("web")
    acting.ahead = 60.0
    stop = await acting.run_and_die("stop", Stop(), "web")
    kill = await acting.run_and_die("kill", Kill(signal="HUP"), "web")
    acting.ahead = 120.0
    assert (await acting.settle(stop)).done is False
    assert (await acting.settle(kill)).detail == "SIGHUP may have been sent; it is not sent again"

    docker.docker("stop", "--time", "1", "web")
    assert (await acting.settle(stop)).done is True
    start = await acting.run_and_die("start", NoParams(), "web")
    acting.ahead = 180.0
    assert (await acting.settle(start)).done is False
    docker.docker("start", "web")
    assert (await acting.settle(start)).done is True
