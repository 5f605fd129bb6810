"""`dockmend demo`: a break, the heal and its record, on this host's own engine, in a few seconds.

Everything is the demo's own and throw-away: the image, the container, the daemon with its one rule,
the state folder. The daemon that runs is the real one, in a process of its own; it is bound to the
one container by its id (`--only`), so that it can change nothing else on the engine, and its policy
allows nothing but `restart`.

What the demo makes is written down in its folder before the engine is asked. Only by that a later
demo removes what one that was killed has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import stat
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
from dockmend.cli.terminal_text import say
from dockmend.control.pidfiles import RUNTIME_VARIABLE
from dockmend.errors import DockmendError, EngineError, JournalError, NotFound

if TYPE_CHECKING:
    from dockmend.engine.engine_api import Engine
    from dockmend.journal.records import ActionRecord, Incident
    from dockmend.owned import OwnedObject
    from dockmend.ownership import Ownership

T = TypeVar("T")

MADE = "made.sqlite3"  # what the demo made, in its folder
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
BOUND = (
    "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGTERM); from dockmend.cli "
    "import main; main()"
)
"""The daemon ends with the demo, even if that is killed: 1 is PR_SET_PDEATHSIG."""
START = "echo well >/health; exec sleep 86400"
CHECK = 'read state </health && [ "$state" = well ]'


@click.command()
@options("config", "engine", "state")
def demo(**flags: Any) -> int:
    """Breaks a throw-away container on this host's engine and shows how it is healed, recorded and
    counted.

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
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX)))
            await asyncio.to_thread((folder / "owner").write_text, _owner())
            own = await stack.enter_async_context(_owning(engine, folder))
            await Demo(own, found.engine, folder, stack).play()
        say("removed   the container, its image, the daemon and its state: nothing is left")
        return 0

    try:
        return asyncio.run(work())
    except asyncio.CancelledError:
        return 143  # SIGTERM; what was made is removed by now


class Demo:
    """One run of it. Whatever it makes is handed to `stack` at once, for its removal."""

    def __init__(self, own: Ownership, url: str | None, state: Path, stack: AsyncExitStack) -> None:
        self.own = own
        self.engine = own.engine
        self.url = url
        self.stack = stack
        self.name = f"{PREFIX}{secrets.token_hex(3)}"
        self.state = state
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None

    async def play(self) -> None:
        from dockmend.cli.demo_rootfs import one_file
        from dockmend.journal.sqlite import read_only

        info = await self.own.connect()
        say(f"engine    {self.engine.url}, Docker Engine {info.version} on {info.name}")
        await self._clear_leftovers()
        container = await self._container(await self._image())
        await self._healthy(container)
        say(f"started   container {self.name}: healthy")
        await self._daemon(container)
        say("started   dockmend with this one rule:")
        for line in RULE.format(name=self.name).splitlines()[2:]:
            say(f"            {line}")
        broke_at = time.time()
        await self.engine.put_archive(container, "/", _once(one_file("health", b"sick\n")))
        say("broke     its health: the check fails from now on, and dockmend does not know yet")
        incident = await self._until("dockmend heals it", lambda: self._closed(container))
        say(
            f"mended    {self.name}: {incident.outcome}, "
            f"{(incident.closed_at or 0) - broke_at:.1f} s after the break"
        )
        with read_only(self.state / "journal.sqlite3") as journal:
            told = journal.story(incident.id)
        assert told is not None
        self._show(*told)
        if incident.outcome == "recovered":
            raise DockmendError(
                "somebody else mended it first: another dockmend or healer watches this engine"
            )
        if incident.outcome != "healed":
            raise DockmendError(
                f"the demo's container was not healed: {incident.reason}\n{self._log()}"
            )

    def _show(self, incident: Incident, actions: list[ActionRecord]) -> None:
        from dockmend.cli.incidents_command import story

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

    # -------------------------------------------------------------------------------- what it makes

    async def _image(self) -> str:
        """An image of this host's own shell and sleep: they are put into a container of an empty
        one, and committed."""
        from dockmend.cli import demo_rootfs

        files = await asyncio.to_thread(demo_rootfs.tar)
        empty = f"{self.name}:empty"
        row = await self.own.claim("image", empty, _owner(), "demo")
        self.stack.push_async_callback(_gone, self.own, row)
        await self.engine.load_empty_image(empty)
        config = {"Image": empty, "Cmd": ["/bin/sh"], "NetworkDisabled": True}
        builder = await self._made(f"{self.name}-builder", config)
        await self.engine.put_archive(builder, "/", _once(files))
        row = await self.own.claim("image", f"{self.name}:latest", _owner(), "demo")
        self.stack.push_async_callback(_gone, self.own, row)
        image = await self.engine.commit(builder, self.name, "latest", message="dockmend demo")
        size = f"{len(files) / 1e6:.1f} MB"
        say(
            f"made      image {self.name} of this host's own shell and sleep ({size}); nothing "
            "was pulled"
        )
        return image

    async def _container(self, image: str) -> str:
        second = 1_000_000_000
        config = {
            "Image": image,
            "Cmd": ["/bin/sh", "-c", START],
            # sleep as PID 1 is deaf to SIGTERM: the restart need not wait for it
            "StopSignal": "SIGKILL",
            "NetworkDisabled": True,
            "Healthcheck": {
                "Test": ["CMD", "/bin/sh", "-c", CHECK],
                "Interval": second // 2,
                "Timeout": 5 * second,
                "Retries": 2,
            },
        }
        container = await self._made(self.name, config)
        await self.engine.start(container)
        return container

    async def _made(self, name: str, config: dict[str, Any]) -> str:
        row = await self.own.create(name, config, _owner(), "demo")
        self.stack.push_async_callback(_gone, self.own, row)
        return row.object_id

    async def _daemon(self, container: str) -> None:
        """The real daemon on a state folder, rules and a port of its own; ready when this
        returns."""
        folder = str(self.state)
        (self.state / "rules.d").mkdir()
        (self.state / "rules.d" / "demo.yaml").write_text(RULE.format(name=self.name))
        (self.state / "dockmend.yaml").write_text(CONFIG)
        self.port = _free_port()
        command = [
            sys.executable, "-c", BOUND, "run", "--config", f"{folder}/dockmend.yaml",
            "--rules", f"{folder}/rules.d", "--state", folder, "--only", container,
            "--listen", f"127.0.0.1:{self.port}", "--log-format", "console",
            *(["--engine", self.url] if self.url else []),
        ]  # fmt: skip
        # No command is to find this daemon.
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("DOCKMEND_", "NOTIFY_", "WATCHDOG_"))
        } | {RUNTIME_VARIABLE: folder}
        with (self.state / "log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=kept,
                start_new_session=True,
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
        """What a demo that was killed left: by what it wrote down in its folder, and by nothing
        else."""
        for folder in await asyncio.to_thread(_left_folders):
            with contextlib.suppress(JournalError):
                async with _owning(self.engine, folder) as left:
                    left.objects.engine_id = self.own.objects.engine_id
                    # the images after what was made of them
                    for row in reversed(left.objects.here("demo")):
                        await _gone(left, row)
                    if left.objects.rows:
                        continue  # of another engine, or not removed yet
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    # ------------------------------------------------------------------------------- what it awaits

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
                raise DockmendError(
                    f"the demo's container is {now.health or 'without health'} after {PATIENCE:g} s"
                )
            await asyncio.sleep(0.1)

    async def _until(self, what: str, probe: Callable[[], T | None]) -> T:
        """Asks `probe` until it has an answer; DockmendError with the daemon's log where that never
        comes."""
        end = time.monotonic() + PATIENCE
        while True:
            if found := await asyncio.to_thread(probe):
                return found
            if self.process is not None and self.process.returncode is not None:
                raise DockmendError(
                    f"the demo's dockmend ended with {self.process.returncode}:\n{self._log()}"
                )
            if time.monotonic() > end:
                raise DockmendError(f"waited {PATIENCE:g} s until {what}:\n{self._log()}")
            await asyncio.sleep(0.1)

    def _closed(self, container: str) -> Incident | None:
        from dockmend.journal.sqlite import read_only

        try:
            with read_only(self.state / "journal.sqlite3") as journal:
                return next(
                    (each for each in journal.incidents(container) if each.state == "closed"), None
                )
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


def _left_folders() -> list[Path]:
    """Folders of this user's demos whose process is no more."""
    from dockmend.snapshots.helper_owner import gone

    found = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # not ours to read, or no demo's
            facts = folder.lstat()
            if (
                stat.S_ISDIR(facts.st_mode)
                and facts.st_uid == os.geteuid()
                and gone((folder / "owner").read_text())
            ):
                found.append(folder)
    return found


@contextlib.asynccontextmanager
async def _owning(engine: Engine, folder: Path) -> AsyncIterator[Ownership]:
    """What the demo with this folder has made. Raises JournalError."""
    from dockmend.journal.sqlite import SqliteJournal
    from dockmend.owned import OwnedObjects
    from dockmend.ownership import Ownership

    journal = SqliteJournal(folder / MADE, time.time, beside=True)
    await journal.open()
    try:
        yield Ownership(
            engine,
            journal,
            time.time,
            OwnedObjects(await journal.instance(), await journal.owned()),
        )
    finally:
        await journal.close()


async def _gone(own: Ownership, row: OwnedObject) -> None:
    """Removes something of the demo's. Gone already is as good; one failure keeps no other from its
    turn."""
    try:
        if row.kind == "container":
            await own.remove(row, volumes=True)
            return
        with contextlib.suppress(NotFound):
            await own.engine.remove_image(row.name)
        own.forget(row)
    except EngineError as error:
        say(f"          could not remove {row.name}: {error}")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _owner() -> str:
    from dockmend.snapshots.helper_owner import command_owner

    return command_owner()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
