"""`dockmend demo`: a break, the heal and its record, on this host's own engine, in a few seconds.

Everything is the demo's own and throw-away: the image, the container, the daemon with its one rule, the state folder.
The daemon that runs is the real one, in a process of its own; it is kept from everything else by `heal: off`, a policy
that allows nothing but `restart`, and a rule that names the one container.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dockmend.cli.options import engine_of, options, settings
from dockmend.cli.text import say
from dockmend.errors import DockmendError, EngineError, JournalError, NotFound

if TYPE_CHECKING:
    from dockmend.engine.client import DockerEngine
    from dockmend.journal.records import ActionRecord, Incident

T = TypeVar("T")

MARK = "org.dockmend.demo"  # on what the demo makes; its value says whose it is
MADE = f"{MARK}.container"  # on its container, whose image bears MARK
PREFIX = "dockmend-demo-"
PATIENCE = 45.0  # seconds for each thing that is waited for
METRICS = (
    "dockmend_heals_total",
    "dockmend_actions_total",
    "dockmend_time_to_heal_seconds_sum",
    "dockmend_decisions_total",
)

RULE = """\
version: 1
rules:
  - name: heal-the-demo
    description: Restart the demo's container when its health check fails.
    when: container.unhealthy
    match: {{name: {name}}}
    then: restart
"""
CONFIG = "heal: off\npolicy: {allow: [restart]}\n"
BOUND = "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGTERM); from dockmend.cli import main; main()"
"""The daemon ends with the demo, even if that is killed: 1 is PR_SET_PDEATHSIG."""
START = "echo well >/health; exec sleep 86400"
CHECK = 'read state </health && [ "$state" = well ]'


@click.command()
@options("config", "engine", "state")
def demo(**flags: Any) -> int:
    """Breaks a throw-away container on this host's engine and shows how it is healed, recorded and counted.

    Nothing else on the engine is touched; everything the demo made is removed again, by its id.
    """
    found = settings(flags)

    async def work() -> int:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with AsyncExitStack() as stack:
            engine = engine_of(found)
            stack.push_async_callback(engine.close)
            await Demo(engine, found.engine, stack).play()
        say("removed   the container, its image, the daemon and its state: nothing is left")
        return 0

    try:
        return asyncio.run(work())
    except asyncio.CancelledError:
        return 143  # SIGTERM; what was made is removed by now


class Demo:
    """One run of it. Whatever it makes is handed to `stack` at once, for its removal."""

    def __init__(self, engine: DockerEngine, url: str | None, stack: AsyncExitStack) -> None:
        self.engine = engine
        self.url = url
        self.stack = stack
        self.name = f"{PREFIX}{secrets.token_hex(3)}"
        self.state = Path()
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None

    async def play(self) -> None:
        from dockmend.cli.rootfs import one_file
        from dockmend.journal.sqlite import read_only

        info = await self.engine.connect()
        say(f"engine    {self.engine.url}, Docker Engine {info.version} on {info.name}")
        await self._clear_leftovers()
        container = await self._container(await self._image())
        await self._healthy(container)
        say(f"started   container {self.name}: healthy")
        await self._daemon()
        say("started   dockmend with this one rule:")
        for line in RULE.format(name=self.name).splitlines()[2:]:
            say(f"            {line}")
        broke_at = time.time()
        await self.engine.put_archive(container, "/", _once(one_file("health", b"sick\n")))
        say("broke     its health: the check fails from now on, and dockmend does not know yet")
        incident = await self._until("dockmend heals it", lambda: self._closed(container))
        say(f"mended    {self.name}: {incident.outcome}, {(incident.closed_at or 0) - broke_at:.1f} s after the break")
        with read_only(self.state / "journal.sqlite3") as journal:
            told = journal.story(incident.id)
        assert told is not None
        self._show(*told)
        if incident.outcome == "recovered":
            raise DockmendError("somebody else mended it first: another dockmend or healer watches this engine")
        if incident.outcome != "healed":
            raise DockmendError(f"the demo's container was not healed: {incident.reason}\n{self._log()}")

    def _show(self, incident: Incident, actions: list[ActionRecord]) -> None:
        from dockmend.cli.incidents import story

        say()
        say("What `dockmend incidents ID` tells:")
        for line in story(incident, actions, time.time()):
            say(f"  {line}")
        say()
        say("What `/metrics` counts:")
        for line in self._page("/metrics").splitlines():
            if line.startswith(METRICS) and not line.endswith(" 0.0"):
                say(f"  {line}")
        say()

    # ------------------------------------------------------------------------------------------------ what it makes

    async def _image(self) -> str:
        """An image of this host's own shell and sleep: they are put into a container of an empty one, and committed."""
        from dockmend.cli import rootfs

        files = await asyncio.to_thread(rootfs.tar)
        empty = f"{self.name}:{_owner()}"
        await self.engine.load_empty_image(empty)
        self.stack.push_async_callback(_gone, self.engine.remove_image, empty)
        config = {"Image": empty, "Cmd": ["/bin/sh"], "Labels": {MARK: _owner()}, "NetworkDisabled": True}
        builder = await self.engine.create(f"{self.name}-builder", config)
        try:
            await self.engine.put_archive(builder, "/", _once(files))
            image = await self.engine.commit(builder, self.name, "latest", message="dockmend demo")
            self.stack.push_async_callback(_gone, self.engine.remove_image, image)
        finally:
            await self.engine.remove(builder, force=True)
        size = f"{len(files) / 1e6:.1f} MB"
        say(f"made      image {self.name} of this host's own shell and sleep ({size}); nothing was pulled")
        return image

    async def _container(self, image: str) -> str:
        second = 1_000_000_000
        config = {
            "Image": image,
            "Cmd": ["/bin/sh", "-c", START],
            "Labels": {MADE: _owner()},  # MARK is its image's too, and what an image says does not count
            "StopSignal": "SIGKILL",  # sleep as PID 1 is deaf to SIGTERM: the restart need not wait for it
            "NetworkDisabled": True,
            "Healthcheck": {
                "Test": ["CMD", "/bin/sh", "-c", CHECK],
                "Interval": second // 2,
                "Timeout": 5 * second,
                "Retries": 2,
            },
        }
        container = await self.engine.create(self.name, config)
        self.stack.push_async_callback(_gone, self.engine.remove, container, force=True)
        await self.engine.start(container)
        return container

    async def _daemon(self) -> None:
        """The real daemon on a state folder, rules and a port of its own; ready when this returns."""
        folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX))
        self.state = Path(folder)
        (self.state / "owner").write_text(_owner())
        (self.state / "rules.d").mkdir()
        (self.state / "rules.d" / "demo.yaml").write_text(RULE.format(name=self.name))
        (self.state / "dockmend.yaml").write_text(CONFIG)
        self.port = _free_port()
        command = [
            sys.executable, "-c", BOUND, "run", "--config", f"{folder}/dockmend.yaml",
            "--rules", f"{folder}/rules.d", "--state", folder,
            "--listen", f"127.0.0.1:{self.port}", "--log-format", "console",
            *(["--engine", self.url] if self.url else []),
        ]  # fmt: skip
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("DOCKMEND_", "NOTIFY_", "WATCHDOG_"))
        }
        with (self.state / "log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=kept, start_new_session=True
            )
        self.stack.push_async_callback(self._end_daemon, self.process)
        await self._until("dockmend is ready", lambda: self._page("/readyz") != "")

    async def _end_daemon(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(15):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _clear_leftovers(self) -> None:
        """What a demo that was killed left: folders, containers, images whose owner is a process that is no more."""
        from dockmend.snapshots.owner import gone

        await asyncio.to_thread(_clear_folders)
        for container in (await self.engine.listing()).containers:
            if any(gone(container.labels.get(key, "")) for key in (MARK, MADE)):
                await _gone(self.engine.remove, container.id, force=True)
        images = sorted(await self.engine.images(), key=lambda image: MARK not in image.labels)
        for image in images:  # the marked ones first: they are made of the others
            bare = [tag.partition(":")[2] for tag in image.tags if tag.startswith(PREFIX)]
            if any(gone(owner) for owner in (image.labels.get(MARK, ""), *bare)):
                await _gone(self.engine.remove_image, image.id)

    # -------------------------------------------------------------------------------------------------- what it awaits

    async def _healthy(self, container: str) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            now = await self.engine.inspect(container)
            if now.health == "healthy":
                return
            if not now.running:
                raise DockmendError(
                    f"the demo's container ended with exit code {now.exit_code} {now.error}: "
                    "does the engine run on a machine of another kind than this one?"
                )
            if time.monotonic() > end:
                raise DockmendError(f"the demo's container is {now.health or 'without health'} after {PATIENCE:g} s")
            await asyncio.sleep(0.1)

    async def _until(self, what: str, probe: Callable[[], T | None]) -> T:
        """Asks `probe` until it has an answer; DockmendError with the daemon's log where that never comes."""
        end = time.monotonic() + PATIENCE
        while True:
            if found := await asyncio.to_thread(probe):
                return found
            if self.process is not None and self.process.returncode is not None:
                raise DockmendError(f"the demo's dockmend ended with {self.process.returncode}:\n{self._log()}")
            if time.monotonic() > end:
                raise DockmendError(f"waited {PATIENCE:g} s until {what}:\n{self._log()}")
            await asyncio.sleep(0.1)

    def _closed(self, container: str) -> Incident | None:
        from dockmend.journal.sqlite import read_only

        try:
            with read_only(self.state / "journal.sqlite3") as journal:
                return next((each for each in journal.incidents(container) if each.state == "closed"), None)
        except JournalError:
            return None

    def _page(self, path: str) -> str:
        """A page of the demo's daemon, "" while it does not say 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            error.close()
            return ""
        except OSError:
            return ""

    def _log(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join((self.state / "log").read_text(errors="replace").splitlines()[-15:])
        return ""


def _clear_folders() -> None:
    from dockmend.snapshots.owner import gone

    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # not ours to read, or no demo's
            if folder.lstat().st_uid == os.geteuid() and gone((folder / "owner").read_text()):
                shutil.rmtree(folder, ignore_errors=True)


async def _gone(remove: Callable[..., Any], id: str, **how: Any) -> None:
    """Removes something of the demo's. Gone already is as good; one failure keeps no other from its turn."""
    try:
        await remove(id, **how)
    except NotFound:
        pass
    except EngineError as error:
        say(f"          could not remove {id[:19]}: {error}")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _owner() -> str:
    from dockmend.snapshots.owner import command_owner

    return command_owner()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
