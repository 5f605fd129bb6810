"""The process that sends: started when needed, ended in time, and told nothing that others can
read."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dockmend import processes
from dockmend.notify import sender as module
from dockmend.notify.message import Kind, Severity
from dockmend.notify.sender import COMMAND, Sender, Verdict, type_of
from dockmend.settings.secrets import Secret
from tests.lab.waiting import eventually_async
from tests.unit.machine import Machine
from tests.unit.notify.making import a_message

CHILD = (sys.executable, "-I", "-B", str(Path(__file__).with_name("a_child.py")))
URL = Secret("json://user:hunter2@127.0.0.1/secret-path")
OTHER = Secret("json://127.0.0.1/other")


@asynccontextmanager
async def sending(environ: dict[str, str] | None = None) -> AsyncIterator[tuple[Sender, Machine]]:
    machine = Machine()
    async with Sender(machine.clock(), environ or {}, command=CHILD) as sender:
        yield sender, machine


async def send(sender: Sender, body: str, url: Secret = URL) -> Verdict:
    return await sender.send(url, a_message(body=body), 0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)


def gone(pid: int) -> Callable[[], bool]:
    return lambda: not processes.started(pid)


async def test_one_process_takes_all_messages_and_is_gone_when_it_had_none_for_a_minute():
    async with sending() as (sender, machine):
        assert sender.processes == []
        assert await send(sender, "ok") == Verdict(accepted=True)
        [pid] = sender.processes
        machine.passes(59)
        assert await send(sender, "refuse") == Verdict(accepted=False)
        assert sender.processes == [pid]
        machine.passes(59)
        assert await send(sender, "ok") == Verdict(accepted=True), "a minute since the last one"
        assert sender.processes == [pid]
        machine.passes(60)
        await eventually_async(lambda: not sender.processes, what="it ended")
        assert gone(pid)()
        assert (await send(sender, "ok")).accepted, "another one is started"


async def test_a_receiver_that_hangs_is_given_up_at_the_deadline_and_holds_up_no_other():
    async with sending() as (sender, machine), asyncio.TaskGroup() as group:
        assert (await send(sender, "ok")).accepted
        [first] = sender.processes
        hanging = group.create_task(send(sender, "hang"))
        await eventually_async(
            lambda: len(sender._fit.pending) == 1 if sender._fit else False, what="it hangs"
        )
        assert (await send(sender, "ok", OTHER)).accepted
        assert not hanging.done()
        machine.passes(20)
        slow = group.create_task(send(sender, "hang", OTHER))
        await eventually_async(
            lambda: len(sender._fit.pending) == 2 if sender._fit else False, what="both hang"
        )
        machine.passes(10)
        assert await hanging == Verdict(accepted=False, said=("no answer within 30 s",))
        assert (await send(sender, "ok")).accepted
        assert first in sender.processes, "the other one that it has at work is let end"
        assert len(sender.processes) == 2, "what is new goes to another one"
        assert not slow.done()
        machine.passes(20)
        assert not (await slow).accepted
        await eventually_async(lambda: first not in sender.processes, what="it was killed")
        assert gone(first)()


async def test_a_process_that_starts_slowly_is_waited_for(tmp_path: Path):
    """Killed before it has loaded the library, it would begin anew with each try, and nothing was
    ever sent."""
    machine, slow = Machine(), (*CHILD, str(tmp_path / "loaded"))
    async with Sender(machine.clock(), {}, command=slow) as sender, asyncio.TaskGroup() as group:
        sent = group.create_task(send(sender, "ok"))
        await eventually_async(
            lambda: len(sender._fit.pending) == 1 if sender._fit else False, what="it is asked"
        )
        machine.passes(module.START - 1)
        (tmp_path / "loaded").touch()
        assert await sent == Verdict(accepted=True)


async def test_a_process_that_never_starts_is_given_up(tmp_path: Path):
    machine, never = Machine(), (*CHILD, str(tmp_path / "never"))
    async with Sender(machine.clock(), {}, command=never) as sender, asyncio.TaskGroup() as group:
        sent = group.create_task(send(sender, "ok"))
        await eventually_async(
            lambda: len(sender._fit.pending) == 1 if sender._fit else False, what="it is asked"
        )
        machine.passes(module.START)
        assert await sent == Verdict(
            accepted=False, said=("the process for messages did not start within 300 s",)
        )
        await eventually_async(lambda: not sender.processes, what="it was killed")


async def test_what_the_process_started_is_killed_with_it():
    async with sending() as (sender, machine):
        pid = int((await send(sender, "child")).said[0])
        assert not gone(pid)()
        machine.passes(60)
        await eventually_async(gone(pid), what="the grandchild is gone")


async def test_no_process_is_left_at_the_end():
    async with sending() as (sender, _):
        await send(sender, "ok")
        [pid] = sender.processes
    assert gone(pid)()


async def test_no_process_is_left_if_the_daemon_is_cancelled():
    pids: list[int] = []

    async def run() -> None:
        async with sending() as (sender, _):
            await send(sender, "ok")
            pids.extend(sender.processes)
            await send(sender, "hang")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        await eventually_async(lambda: bool(pids), what="it runs")
        task.cancel()
    await eventually_async(gone(pids[0]), what="it is gone")


@pytest.mark.parametrize("body", ["die", "babble", "endless"])
async def test_a_process_that_fails_is_an_answer_and_another_one_is_started(body):
    async with sending() as (sender, _):
        assert await send(sender, body) == Verdict(
            accepted=False, said=("the process for messages ended",)
        )
        assert (await send(sender, "ok")).accepted
        await eventually_async(lambda: len(sender.processes) == 1, what="the failed one is gone")


async def test_a_process_that_cannot_be_started_is_an_answer(tmp_path):
    async with Sender(Machine().clock(), {}, command=(str(tmp_path / "no"),)) as sender:
        verdict = await send(sender, "ok")
    assert verdict == Verdict(
        False, ("the process for messages cannot be started: No such file or directory",)
    )


async def test_the_url_is_on_no_command_line_and_in_no_environment():
    environ = {
        "DOCKMEND_NOTIFY_URL": URL.reveal(), "NOTIFY_SOCKET": "/run/x",
        "HTTPS_PROXY": "http://proxy:1", "TZ": "UTC", "HOME": "/root", "PYTHONPATH": "/evil",
    }  # fmt: skip
    async with sending(environ) as (sender, _):
        await send(sender, "ok")
        [pid] = sender.processes
        for name in ("cmdline", "environ"):
            assert b"hunter2" not in Path(f"/proc/{pid}/{name}").read_bytes()
        shown, folder, _, leads = (await send(sender, "show", Secret("json://h"))).said
    names = {each.partition("=")[0] for each in shown.split()}
    assert names == {"HTTPS_PROXY", "TZ", "HOME", "LANG"} | names & {"LC_CTYPE"}
    assert (folder, leads) == ("/", "True")


async def test_what_it_said_is_told_without_the_url():
    async with sending() as (sender, _):
        verdict = await send(sender, "quote")
    assert verdict.said[0] == "could not reach ***"
    assert len(verdict.said[1]) == 300


def test_code_comes_from_the_installation_only():
    assert COMMAND[1:] == ("-I", "-B", "-m", "dockmend.notify.apprise_process")


@pytest.mark.parametrize(
    ("kind", "severity", "expected"),
    [
        (Kind.DOWN, Severity.CRITICAL, "failure"), (Kind.DOWN, Severity.WARNING, "warning"),
        (Kind.HEALED, Severity.INFO, "success"), (Kind.RESOLVED, Severity.CRITICAL, "success"),
        (Kind.TOLD, Severity.INFO, "info"),
    ],
)  # fmt: skip
def test_a_service_may_show_how_grave_it_is(kind, severity, expected):
    assert type_of(a_message(kind=kind, severity=severity)) == expected
