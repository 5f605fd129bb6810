"""The process that hands messages to apprise: a request a line on standard input, an answer a line
on standard output.

It is a process because a call of the library cannot be ended from a thread, and because importing
it costs 36 MiB that are given back when the process goes. It ends as soon as its standard input
does, so none outlives dockmend. Requests of one URL come one after the other; those of different
URLs run in threads of their own, so one that hangs holds up none of the others; who started this
process ends it when one does (sender.py).

What comes in is not looked at here but for its form: the URL is the owner's, who may name any
service; the text is a stranger's, and is passed on as text.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

READY: Final = 0
"""The id of the answer that nobody asked for: the library is loaded, requests are served from now
on."""
LARGEST_ANSWER: Final = 16 * 1024
"""Bytes of one line of standard output."""
MOST_LINES: Final = 10
"""Of what the library logged about one message."""
LONGEST_LINE: Final = 500
"""Characters of one of them."""
LARGEST_HEARD: Final = 256 * 1024
"""Bytes of a receiver's answer that are read; what follows is nobody's concern."""
_MEMORY: Final = 256 * 1024 * 1024
"""Bytes: what a receiver makes the library hold fills the memory of this process, and no more. With
dockmend's own it is less than MemoryHigh= of the unit, from where on both would be slowed down."""
_STACK: Final = 2 * 1024 * 1024
"""Bytes of a thread's stack, which count as its memory. Python 3.13 reads no deeply nested JSON on
less."""
_PR_SET_DUMPABLE: Final = 4
_WHY: Final = "Socket Exception"
"""How the one line of the library's debugging output begins that says why nobody answered; others
hold the message."""


class SendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`type`: info, success, warning or failure, as the library has them. `only_look`: nothing is
    sent, and accepted is a URL that the library understands."""

    id: int
    url: str
    title: str = ""
    body: str = ""
    type: str = "info"
    only_look: bool = False


class SendAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`said`: what the library logged; it may quote the URL."""

    id: int
    accepted: bool
    said: tuple[str, ...] = ()


def main() -> None:
    """Answers requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints is no answer
    _confine()
    threading.stack_size(_STACK)
    try:
        services: Services | None = Services()
        _hear_no_end()
    except ImportError:
        services = None
    lock = threading.Lock()
    _answer(SendAnswer(id=READY, accepted=services is not None), answers, lock)
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=SendRequest)
        try:
            threading.Thread(
                target=_serve, args=(services, request, answers, lock), daemon=True
            ).start()
        except (
            RuntimeError,
            MemoryError,
        ):
            # No memory, or no task of the unit, is left for one more thread.
            _answer(
                SendAnswer(id=request.id, accepted=False, said=("too many at once",)), answers, lock
            )
    os._exit(0)  # what a thread still does nobody waits for


def _serve(
    services: Services | None, request: SendRequest, answers: BinaryIO, lock: threading.Lock
) -> None:
    try:
        if services is None:
            answer = SendAnswer(id=request.id, accepted=False, said=("apprise cannot be loaded",))
        else:
            answer = services.send(request)
    except BaseException as error:  # noqa: BLE001 - whatever a plugin does wrong is an answer, and ends no other's
        answer = SendAnswer(
            id=request.id, accepted=False, said=(f"{type(error).__name__} in the library",)
        )
    _answer(answer, answers, lock)


def _answer(answer: SendAnswer, answers: BinaryIO, lock: threading.Lock) -> None:
    line = msgspec.json.encode(answer)
    if len(line) > LARGEST_ANSWER:
        line = msgspec.json.encode(msgspec.structs.replace(answer, said=()))
    with lock, contextlib.suppress(OSError):
        answers.write(line + b"\n")


class Services:
    """The library's services by URL: each knows when it was last asked, and how fast it may be
    asked again."""

    def __init__(self) -> None:
        import apprise  # noqa: PLC0415 - only this process loads it

        self._apprise = apprise
        self._asset = apprise.AppriseAsset(
            body_format=apprise.NotifyFormat.TEXT, interpret_emojis=False, interpret_escapes=False,
            # a POST that is redirected becomes a GET, and is taken for accepted
            http_redirects=False,
            pgp_autogen=False, pem_autogen=False, allow_templates=False,
            storage_mode=apprise.PersistentStoreMode.MEMORY,
            service_timeout=0,  # who started this process watches the time
        )  # fmt: skip
        self._services: dict[str, Any] = {}

    def send(self, request: SendRequest) -> SendAnswer:
        """One message to one service; blocks."""
        service = self._service(request.url)
        if service is None:
            return SendAnswer(
                id=request.id, accepted=False, said=("apprise does not understand this URL",)
            )
        if request.only_look:
            return SendAnswer(id=request.id, accepted=True)
        result = service.notify(
            body=request.body,
            title=request.title,
            notify_type=request.type,
            log_level=logging.DEBUG,
        )
        said = [
            f"{each.level}: {each.message}"
            for each in result.logs()
            if _tells(each.level, each.message)
        ]
        return SendAnswer(
            id=request.id,
            accepted=bool(result),
            said=tuple(line[:LONGEST_LINE] for line in said[:MOST_LINES]),
        )

    def _service(self, url: str) -> Any:
        """What the library makes of a URL; None: it does not understand it. Asks nobody."""
        service = self._services.get(url)
        if service is None:
            plugin = self._apprise.Apprise.instantiate(url, asset=self._asset)
            if plugin is None:
                return None
            if "overflow=" not in url:
                # What a service does not take is cut, not refused: half a message is better than
                # none.
                plugin.overflow_mode = self._apprise.OverflowMode.TRUNCATE
            service = self._services[url] = self._apprise.Apprise(asset=self._asset)
            service.add(plugin)
        return service


def _hear_no_end() -> None:
    """The library reads all of an answer; from here on that is its beginning, whatever a receiver
    sends."""
    import requests  # noqa: PLC0415 - only this process loads it

    whole: Any = requests.models.Response.iter_content

    def beginning(
        self: Any, chunk_size: int | None = 1, decode_unicode: bool = False
    ) -> Iterator[Any]:
        room = LARGEST_HEARD
        for piece in whole(self, chunk_size, decode_unicode):
            yield piece[:room]
            room -= len(piece)
            if room <= 0:
                self.close()
                return

    requests.models.Response.iter_content = beginning  # type: ignore[method-assign]


def _tells(level: str, message: str) -> bool:
    return level not in ("TRACE", "DEBUG", "INFO") or message.startswith(_WHY)


def _confine() -> None:
    """No more memory than it needs, no files, no core that would hold the URLs; the first to go if
    memory is short."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_DATA, _MEMORY),
    ):
        _, hard = resource.getrlimit(what)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(
                what, (most if hard == resource.RLIM_INFINITY else min(most, hard),) * 2
            )
    with contextlib.suppress(Exception):  # a core that is piped to a program knows no limit
        import ctypes  # noqa: PLC0415 - where that is forbidden, the rest is done all the same

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    logging.getLogger("apprise").propagate = False
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    logging.raiseExceptions = False


if __name__ == "__main__":
    main()
