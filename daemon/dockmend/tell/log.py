"""The log: set up once, readable on a terminal, JSON in service, and safe to read whatever
strangers call their things.

Work on an incident binds its id (`structlog.contextvars.bound_contextvars(incident=ID)`, or
`about_incident`), so that every line of that work carries it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from dockmend.tell.incident_log import LogTeller
from dockmend.tell.log_sink import LogSink
from dockmend.tell.sanitize import iso, shown

__all__ = ["LogTeller", "about_incident", "configure"]

LONGEST = 2000  # characters of one field; a traceback may be four times as long

_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m", "debug": "\x1b[2m"}
_PLAIN = "\x1b[0m"


def configure(
    format: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
    level: str = "info",
) -> LogSink:
    """Sends all of structlog, and the standard library's warnings and errors, to `stream` (standard
    error if None).

    `auto` is for a person where the stream is a terminal and JSON elsewhere. Never waits for the
    stream; the outlet that is returned can be flushed, and is at exit.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    console = format == "console" or (format == "auto" and terminal)
    outlet = LogSink(stream)
    render: Processor = (
        Console(colours=terminal and not os.environ.get("NO_COLOR")) if console else as_json
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _stamp,
            _error,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(outlet),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
    return outlet


def about_incident(incident: str) -> AbstractContextManager[None]:
    """Every line logged within carries this incident's id; follows into tasks that are begun
    within."""
    return structlog.contextvars.bound_contextvars(incident=incident)


class Console:
    """One line for a person: time, what happened, the rest as key=value, the incident's id. `about`
    is left out."""

    def __init__(self, colours: bool = False) -> None:
        self._colours = colours

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        at, level, text = (
            event.pop("timestamp"),
            event.pop("level"),
            shown(str(event.pop("event")), LONGEST),
        )
        incident = event.pop("incident", None)
        for hidden in ("id", "about", "exception"):
            event.pop(hidden, None)
        if level not in ("info", "debug"):
            text = f"{level}: {text}"
        if self._colours and level in _COLOURS:
            text = f"{_COLOURS[level]}{text}{_PLAIN}"
        pairs = "".join(f" {shown(str(key), 60)}={_value(value)}" for key, value in event.items())
        mark = f" [{shown(str(incident), 40)}]" if incident else ""
        return f"{time.strftime('%H:%M:%S', time.localtime(at))} {text}{pairs}{mark}"


def as_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """One JSON object. `id` names the kind of event and stays the same if the sentence changes
    (docs/logs.md); what libraries log has the id `library`. `about` becomes fields of its own."""
    fields = {
        "timestamp": iso(event.pop("timestamp")),
        "level": event.pop("level"),
        "id": event.pop("id", "library"),
        "event": event.pop("event"),
        **event.pop("about", {}),
        **event,
    }
    safe = {
        shown(str(key), 60): _safe(value, 8000 if key == "exception" else LONGEST)
        for key, value in fields.items()
    }
    return msgspec.json.encode(safe).decode()


def _stamp(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["timestamp"] = time.time()
    return event


def _error(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """An exception as a sentence for people (`error`) and whole for JSON (`exception`)."""
    given = event.pop("exc_info", None)
    if isinstance(given, tuple):
        given = given[1]
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is None:
        return event
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""  # noqa: PTH119 - a name
    event.setdefault("error", f"{type(error).__name__}: {error}{where}")
    event["exception"] = "".join(traceback.format_exception(error))
    return event


class _Lines:
    """What structlog writes to: every level is the same to it."""

    def __init__(self, outlet: LogSink) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = (
            self.log
        ) = outlet.write
        self.warn = self.fatal = self.failure = self.err = self.msg = outlet.write


class _Bridge(logging.Handler):
    """What libraries say through the standard library goes the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = structlog.get_logger()
            log.log(
                record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
            )
        except Exception:  # noqa: BLE001 - a library's broken message must not break the work it reports on
            self.handleError(record)


def _value(value: object) -> str:
    text = shown(
        value if isinstance(value, str) else json.dumps(_safe(value), ensure_ascii=False), 400
    )
    return json.dumps(text, ensure_ascii=False) if " " in text and isinstance(value, str) else text


def _safe(value: object, most: int = LONGEST) -> Any:
    """Only what JSON knows, every text fit to be shown (a traceback keeps its lines)."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {shown(str(key), 100): _safe(each) for key, each in list(value.items())[:100]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(each) for each in list(value)[:100]]
    text = str(value)[:most]
    return text if text.isprintable() else "\n".join(shown(line, most) for line in text.split("\n"))
