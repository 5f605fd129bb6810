"""One message to a person: made once, kept in the outbox until a channel took it."""

from __future__ import annotations

from typing import Final

import msgspec

from dockmend.settings.channels import Channel, Kind, Severity

__all__ = [
    "LARGEST_BODY",
    "LARGEST_LOG",
    "LONGEST_TITLE",
    "Channel",
    "Kind",
    "Message",
    "Severity",
    "bounded",
    "cut",
]

LONGEST_TITLE: Final = 80
"""Characters: what a phone shows of a notification's first line."""
LARGEST_BODY: Final = 4096
"""Characters. Most services take no more; apprise cuts what a service does not take."""
LARGEST_LOG: Final = 2048
"""Characters of all log lines together."""
BAR: Final = "│ "
"""How a line of a container's log begins."""


class MessagePart(msgspec.Struct, frozen=True):
    """One message of those that a list stands for, or the newest of several about one trouble
    (`count`)."""

    key: str
    title: str
    at: float
    severity: Severity
    over: bool = False  # it tells the end of a trouble
    count: int = 1


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is told.

    `key`: the trouble, as in `down/TARGET`; a `resolved` has the key of what it resolves. `title`:
    up to LONGEST_TITLE characters. `body`: plain text. `last_lines`: of the container's log, apart,
    so that a channel may leave them out. `next_step`: a command line to paste; "" if there is none.
    `at`: wall seconds. `host`: where it happened. `parts`: of a list, what it stands for.
    """

    kind: Kind
    severity: Severity
    key: str
    target: str = ""
    object_name: str = ""
    title: str
    body: str = ""
    last_lines: tuple[str, ...] = ()
    next_step: str = ""
    at: float
    host: str = ""
    parts: tuple[MessagePart, ...] = ()

    def text(self, logs: int) -> str:
        """The body as it is sent, with the next step and the newest `logs` lines of the log.

        The log stands last, since a service may cut off an end, and each of its lines bears a bar:
        no stranger's line can be taken for dockmend's own.
        """
        step = f"Now: {self.next_step}" if self.next_step else ""
        lines = [f"{BAR}{line}" for line in (self.last_lines[-logs:] if logs > 0 else ())]
        log = "\n".join(("Its log ends with:", *lines)) if lines else ""
        return "\n\n".join(part for part in (self.body, step, log) if part)


def bounded(message: Message) -> Message:
    """The message with nothing in it longer than it may be: what wrote its parts may be a
    stranger."""
    room, lines = LARGEST_LOG, []
    for line in reversed(message.last_lines):
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return msgspec.structs.replace(
        message,
        title=cut(message.title, LONGEST_TITLE),
        body=cut(message.body, LARGEST_BODY),
        # half a command is none
        next_step=message.next_step if len(message.next_step) <= LARGEST_BODY else "",
        last_lines=tuple(reversed(lines)),
        key=message.key[:LARGEST_BODY],
        target=message.target[:LARGEST_BODY],
        object_name=message.object_name[:LARGEST_BODY],
    )


def cut(text: str, most: int) -> str:
    """A text of at most `most` characters; its end says that it is not whole."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
