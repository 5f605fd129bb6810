"""exec, set_limits and remove on a real engine: done, refused, cut short, settled."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from dockmend.actions import exec_command
from dockmend.actions.action import REGISTRY, ActionFailed
from dockmend.rules.action_parameters import Exec, Remove, SetLimits
from tests.integration.acting import Acting
from tests.integration.test_actions_death import killed
from tests.lab import PrivateEngine, eventually
from tests.lab.waiting import eventually_async

LONG = ["sh", "-c", "sleep 4242 & sleep 4242"]


def exec_params(*command: str, **more: object) -> Exec:
    return Exec.model_validate({"command": list(command), **more})


def sleepers(docker: PrivateEngine, name: str) -> int:
    return docker.docker("exec", name, "ps").count("sleep 4242")


# --------------------------------------------------------------------------------------------- exec
async def test_exec_tells_exit_code_and_output_with_nothing_that_a_terminal_obeys(
    acting: Acting, docker: PrivateEngine
) -> None:
    docker.run("web", "--label", "word=quoted\"; rm -rf /; '")
    script = "printf 'one\\n\\033[31mtwo\\007\\n' ; echo \"$WORD:$(pwd):$(id -u)\"; exit 3"

    done = await acting.run(
        "exec",
        exec_params(
            "sh",
            "-c",
            script,
            env={"WORD": "{container.labels[word]}"},
            user="1000",
            workdir="/tmp",
            exit_code=[0, 3],
        ),
        "web",
    )

    assert done.detail == "exit code 3: one ⏎ [31mtwo ⏎ quoted\"; rm -rf /; ':/tmp:1000"


async def test_exec_fails_with_any_other_exit_code(acting: Acting, docker: PrivateEngine) -> None:
    docker.run("web")

    with pytest.raises(ActionFailed, match="exit code 4: no such luck"):
        await acting.run("exec", exec_params("sh", "-c", "echo no such luck; exit 4"), "web")
    with pytest.raises(ActionFailed, match="executable file not found"):
        await acting.run("exec", exec_params("nowhere-to-be-found"), "web")
    docker.docker("pause", "web")
    with pytest.raises(ActionFailed, match="paused"):
        await acting.run("exec", exec_params("true"), "web")
    docker.docker("unpause", "web")
    docker.docker("stop", "web")
    with pytest.raises(ActionFailed, match="not running"):
        await acting.run("exec", exec_params("true"), "web")


async def test_exec_keeps_little_of_much(acting: Acting, docker: PrivateEngine) -> None:
    docker.run("web")

    done = await acting.run(
        "exec", exec_params("sh", "-c", "echo begins; yes | head -c 20000000; echo ends"), "web"
    )

    assert done.detail.startswith("exit code 0: begins ⏎ y ⏎ y")
    assert done.detail.endswith("y ⏎ ends")
    assert len(done.detail) < 8000


@pytest.mark.parametrize("host", [True, False], ids=["from the host", "from inside"])
async def test_exec_that_takes_too_long_is_ended_with_its_children(
    acting: Acting, docker: PrivateEngine, host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.run("web")
    if not host:  # as of a remote engine: its processes are not ours to see
        monkeypatch.setattr(exec_command, "kill_marked", lambda *_: 0)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await acting.run("exec", exec_params(*LONG), "web")

    assert sleepers(docker, "web") == 0
    assert docker.state("web") == "running"


async def test_only_what_bears_the_mark_in_that_container_is_killed(
    acting: Acting, docker: PrivateEngine
) -> None:
    docker.run("web")
    docker.run("other")
    env = ("--env", f"{exec_command.MARK}=m1")
    for name in ("web", "other"):
        docker.docker("exec", "--detach", *env, name, "sleep", "4242")
        docker.docker(
            "exec", "--detach", "--env", f"{exec_command.MARK}=m11", name, "sleep", "4242"
        )
    eventually(lambda: sleepers(docker, "web") == 2 and sleepers(docker, "other") == 2)

    assert exec_command.kill_marked(docker.inspect("web")["Id"], "m1") == 1

    eventually(lambda: sleepers(docker, "web") == 1)
    assert sleepers(docker, "other") == 2


@pytest.mark.parametrize("after", [0.0, 0.1, 0.6])
async def test_exec_of_a_dead_dockmend_is_not_run_twice(
    acting: Acting, docker: PrivateEngine, after: float
) -> None:
    docker.run("web")
    params = {"command": ["sh", "-c", "echo begun >>/ran; sleep 0.4; echo ended >>/ran"]}

    settled = await killed(acting, "exec", params, "web", after, writes=2)
    if not settled.done:
        await acting.run("exec", Exec.model_validate(params), "web")

    assert docker.docker("exec", "web", "cat", "/ran").split() == ["begun", "ended"]


async def test_exec_of_a_dead_dockmend_is_ended_when_its_time_is_over(
    acting: Acting, docker: PrivateEngine
) -> None:
    docker.run("web")
    subject = await acting.client.inspect("web")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_failing(acting))
        await eventually_async(lambda: _sleeps(docker))
        acting.undo["exec"]["until"] = 0.0

        settled = await acting.settle(acting.record("exec", subject))

    assert settled.detail == "the command had run for longer than it may, and was ended"
    assert sleepers(docker, "web") == 0
    assert "exit code 137" in task.result()


async def _failing(acting: Acting) -> str:
    with pytest.raises(ActionFailed) as failure:
        await acting.run("exec", exec_params(*LONG), "web")
    return str(failure.value)


async def _sleeps(docker: PrivateEngine) -> bool:
    return await asyncio.to_thread(sleepers, docker, "web") == 2


async def test_exec_that_never_began_begins(acting: Acting, docker: PrivateEngine) -> None:
    docker.run("web")
    first = await acting.run_and_die("exec", exec_params("touch", "/ran"), "web")
    assert (await acting.settle(first)).detail == "nothing had been done yet"
    execution = await acting.client.exec_create("web", ["touch", "/ran"])
    record = replace(first, undo={"exec": first.undo["exec"] | {"id": execution}})
    acting.ahead = exec_command.BEGINS

    settled = await acting.settle(record)

    assert (settled.done, settled.detail) == (False, "the command had not begun")


# --------------------------------------------------------------------------------------- set_limits
def host(docker: PrivateEngine, name: str) -> dict[str, object]:
    return dict(docker.inspect(name)["HostConfig"])


async def test_memory_grows_to_its_ceiling_and_no_further(
    acting: Acting, docker: PrivateEngine
) -> None:
    docker.run("web", "--memory", "100m")
    growth = SetLimits.model_validate({"memory": "+50%", "ceiling": "200m"})

    first = await acting.run("set_limits", growth, "web")
    second = await acting.run("set_limits", growth, "web")

    assert first.detail == "memory 100 MiB → 150 MiB, memory and swap 200 MiB → 250 MiB"
    assert second.detail == "memory 150 MiB → 200 MiB, memory and swap 250 MiB → 300 MiB"
    assert host(docker, "web")["Memory"] == 200 << 20
    with pytest.raises(
        ActionFailed, match=r"it is 200 MiB, and the rule's ceiling 200 MiB"
    ) as failure:
        await acting.run("set_limits", growth, "web")
    assert not failure.value.again


async def test_the_kernel_holds_to_the_new_limit(acting: Acting, docker: PrivateEngine) -> None:
    docker.run("web", "--memory", "20m", "--memory-swap", "20m")
    eat = ("exec", "web", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=30M count=1 2>/dev/null")
    assert docker.docker(*eat, "|| echo killed", check=False) in ("", "Killed")

    await acting.run("set_limits", SetLimits.model_validate({"memory": "80m"}), "web")

    docker.docker(*eat)
    assert (host(docker, "web")["Memory"], host(docker, "web")["MemorySwap"]) == (
        80 << 20,
        80 << 20,
    )


@pytest.mark.parametrize(
    ("options", "params", "told"),
    [
        ((), {"memory": "64m"}, "memory unlimited → 64 MiB, memory and swap unlimited → 128 MiB"),
        (("--memory=64m", "--memory-swap=-1"), {"memory": "128m"}, "memory 64 MiB → 128 MiB"),
        (("--memory=64m", "--memory-swap=64m"), {"memory": "+64m", "ceiling": "1g"},
         "memory 64 MiB → 128 MiB, memory and swap 64 MiB → 128 MiB"),
        (("--memory=128m", "--memory-reservation=100m"), {"memory": "64m"},
         ("memory 128 MiB → 64 MiB, memory and swap 256 MiB → 192 MiB, memory reservation 100 MiB "
         "→ 64 MiB")),
        ((), {"cpu": 0.5, "pids": 50}, "cpu unlimited → 0.5, pids unlimited → 50"),
        (("--cpu-quota=20000", "--cpu-period=50000"), {"cpu": 1.5}, ("cpu quota in µs "
        "20000 → 75000")),
        (("--restart=always",), {"restart_policy": "unless-stopped"}, ("restart policy always → "
        "unless-stopped")),
        (("--restart=on-failure:3",), {"restart_policy": "on-failure"},
         "it has these limits already: restart policy on-failure"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("running", [True, False])
async def test_each_limit_is_set_and_told(
    acting: Acting,
    docker: PrivateEngine,
    options: tuple[str, ...],
    params: dict[str, object],
    told: str,
    running: bool,
) -> None:
    docker.run("web", *options)
    if not running:
        docker.docker("stop", "web")

    done = await acting.run("set_limits", SetLimits.model_validate(params), "web")

    assert done.detail == told
    again = (
        await acting.run("set_limits", SetLimits.model_validate(params), "web")
        if "ceiling" not in params
        else None
    )
    assert again is None or again.detail.startswith("it has these limits already")


async def test_what_cannot_grow_is_said(acting: Acting, docker: PrivateEngine) -> None:
    docker.run("web")
    docker.run("once", "--rm")

    with pytest.raises(ActionFailed, match="it has none"):
        await acting.run(
            "set_limits", SetLimits.model_validate({"memory": "+50%", "ceiling": "1g"}), "web"
        )
    with pytest.raises(ActionFailed, match="AutoRemove"):
        await acting.run(
            "set_limits", SetLimits.model_validate({"restart_policy": "always"}), "once"
        )


@pytest.mark.parametrize("after", [0.0, 0.02, 0.2])
async def test_a_growth_of_a_dead_dockmend_is_not_done_twice(
    acting: Acting, docker: PrivateEngine, after: float
) -> None:
    docker.run("web", "--memory", "100m")
    params = {"memory": "+50%", "ceiling": "1g"}

    settled = await killed(acting, "set_limits", {**params, "ceiling": "1g"}, "web", after)
    if not settled.done:
        await acting.run("set_limits", SetLimits.model_validate(params), "web")

    assert host(docker, "web")["Memory"] == 150 << 20


# ------------------------------------------------------------------------------------------- remove
async def test_remove_takes_what_it_is_told_and_never_a_named_volume(
    acting: Acting, docker: PrivateEngine
) -> None:
    for name in ("plain", "thorough"):
        docker.run(name, "--volume", f"{name}:/data", "--volume", "/anonymous")
        docker.docker("stop", name)
    before = len(docker.api("GET", "/volumes")[1]["Volumes"])

    assert (await acting.run("remove", Remove(), "plain")).detail == "removed"
    assert len(docker.api("GET", "/volumes")[1]["Volumes"]) == before
    assert (
        await acting.run("remove", Remove(volumes=True), "thorough")
    ).detail == "removed with its anonymous volumes"

    names = {row["Name"] for row in docker.api("GET", "/volumes")[1]["Volumes"]}
    assert len(names) == before - 1
    assert {"plain", "thorough"} <= names
    assert docker.api("GET", "/containers/json?all=1")[1] == []


async def test_what_runs_is_removed_by_force_only(acting: Acting, docker: PrivateEngine) -> None:
    docker.run("web")
    stale = await acting.client.inspect("web")

    with pytest.raises(ActionFailed, match="it runs") as failure:
        await acting.run("remove", Remove(), "web")
    assert not failure.value.again
    assert (await acting.run("remove", Remove(force=True), "web")).detail == "removed"
    assert (
        await REGISTRY["remove"].run(acting.context(stale), Remove(), stale)
    ).detail == "it was gone already"


@pytest.mark.parametrize("after", [0.0, 0.05, 0.3])
async def test_remove_of_a_dead_dockmend_is_finished(
    acting: Acting, docker: PrivateEngine, after: float
) -> None:
    docker.run("web")

    settled = await killed(acting, "remove", {"force": True}, "web", after)

    assert settled.done is (docker.api("GET", "/containers/json?all=1")[1] == [])
    if not settled.done:
        assert (await acting.run("remove", Remove(force=True), "web")).detail == "removed"
