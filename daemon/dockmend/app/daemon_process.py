"""`dockmend run`: from settings to an exit code."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import structlog

from dockmend.app import host_name
from dockmend.app.daemon import Daemon
from dockmend.app.engine_lock import EngineLock, runtime_folder
from dockmend.app.leadership import Leadership
from dockmend.app.lock import locked
from dockmend.app.memory_trimming import rest_the_collector
from dockmend.app.shutdown import ACTIONS, Shutdown
from dockmend.app.supervision import PartFailed
from dockmend.app.worker_threads import WorkerThreads
from dockmend.control.pidfiles import announced
from dockmend.engine.client import DockerEngine
from dockmend.engine.discover import EngineAddress, discover
from dockmend.errors import UsageError
from dockmend.guards import trusted
from dockmend.journal.sqlite import SqliteJournal
from dockmend.settings import EngineFound, Policy, Settings
from dockmend.tell.log import configure
from dockmend.tell.log_sink import LogSink
from dockmend.timekeeping import Clock

log = structlog.get_logger("dockmend")


def run(settings: Settings, policy: Callable[[], Policy]) -> int:
    """Runs the daemon until a signal; 0 after a clean end, 1 where a part could not be kept
    running.

    `policy` reads the settings' policy again, for a reload.
    """
    outlet = configure(settings.log_format)
    for warning in settings.warnings:
        log.warning(warning, id="setting_warning")
    for note in settings.notes:
        log.info(note, id="setting_note")
    rest_the_collector()
    address = discover(os.environ, Path.home(), settings.engine)
    used = address.told()
    settings = settings.model_copy(update={"engine_found": EngineFound.model_validate(used)})
    with (
        locked(settings.paths.state),
        announced(settings.paths.socket, settings.paths.state, os.environ, used),
    ):
        return asyncio.run(_main(settings, address, policy, outlet))


async def _main(
    settings: Settings, address: EngineAddress, policy: Callable[[], Policy], outlet: LogSink
) -> int:
    if address.warning is not None:
        log.warning(address.warning, id="engine_address_warning")
    engine = DockerEngine.at(
        address, trusted=trusted(lambda: daemon.guards.policy), root=settings.engine_root
    )
    settings = settings.model_copy(update={"host": await host_name.found(settings, engine)})
    clock = Clock()
    journal = SqliteJournal(settings.paths.journal, clock)
    daemon: Daemon
    outlet.on_drop = lambda count: daemon.metrics.dropped("log", count)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(WorkerThreads(thread_name_prefix="work"))
    stopping = Shutdown(outlet)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.asked)
    loop.add_signal_handler(signal.SIGHUP, lambda: daemon.reloading.ask())  # noqa: PLW0108 - daemons follow each other
    # A dry run and the daemon of `dockmend demo` are in nobody's way, so they wait for nobody.
    waits = not settings.dry_run and not settings.only
    lock = EngineLock(runtime_folder(os.environ), settings.paths.state) if waits else None
    code = 0
    turn = Leadership(lock)
    try:
        while True:
            daemon = Daemon(
                settings,
                engine,
                journal,
                clock=clock,
                dice=random.SystemRandom(),
                policy=policy,
                turn=turn,
            )
            await daemon.run(stopping.event, ACTIONS)
            if stopping.event.is_set():
                break
            turn = Leadership(lock, turn.holder)
    except* PartFailed as failed:
        why = "; ".join(str(each) for each in failed.exceptions)
        log.error("giving up", id="giving_up", error=why)  # noqa: TRY400 - its traceback was logged where it was raised
        code = 1
    except* UsageError as wrong:
        raise _first(wrong) from None
    finally:
        if lock is not None:
            lock.release()
        await engine.close()
    return code


def _first(group: BaseExceptionGroup[UsageError]) -> UsageError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, UsageError)
    return error
