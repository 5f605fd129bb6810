"""The errors a person or another part of dockmend meets, each with the exit code it ends a command
with.

They live at the bottom of the layers so that every part raises the same ones and the command line
can turn any of them into one sentence: what went wrong, where, what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_OF_OTHERS = re.compile(r"OCI runtime|unable to find (?:user|group)|mkdir /", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')


class DockmendError(Exception):
    """Anything dockmend says on purpose. Its text is a sentence for a person; no secret, no
    traceback."""

    exit_code = 1


class UsageError(DockmendError):
    """Wrong flags, settings or rules: exit code 2."""

    exit_code = 2


class Unreachable(DockmendError):
    """The engine or the daemon cannot be reached: exit code 3."""

    exit_code = 3


class JournalError(DockmendError):
    """The journal cannot be written. No action may be taken while this is so (invariant 4)."""


class EngineError(DockmendError):
    """The engine said no, or said nothing.

    `status` is the HTTP status, None where there was no answer at all.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def unanswered(self) -> bool:
        """Whether the engine's own answer is lost, so that it may have done what was asked.

        A proxy before it says so with 502 and 504 (RFC 9110, 15.6.3 and 15.6.5).
        """
        return self.status in (None, 502, 504)


class Temporary(EngineError):
    """Worth another try later: no answer, time-out, 409 of a passing state, 429, 5xx."""


class EngineAway(Temporary, Unreachable):
    """Nobody answers at the engine's address: refused, no such socket, connection lost."""

    exit_code = 3


class Permanent(EngineError):
    """Trying the same again cannot help: 4xx, "marked for removal"."""


class NotFound(Permanent):
    """The object does not exist (404)."""


def lacking(error: BaseException) -> str | None:
    """What the host has too little of: memory, disk, files, processes; None where it is a fault of
    dockmend's own.

    A sick host is no reason to give up: what it could not do now it may do later.
    """
    if isinstance(error, OSError):
        return f"the host could not do it: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return "the host has no memory left for it"
    if "start new thread" in str(error):  # threading's word, a RuntimeError
        return "the host has no thread or process left for it"
    return None


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error or warning in a file a person wrote. Lines and columns count from 1; 0: the file as
    a whole."""

    path: str
    line: int
    column: int
    message: str
    rule: str | None = None
    level: Literal["error", "warning"] = "error"

    @classmethod
    def of_file(
        cls, path: str, message: str, level: Literal["error", "warning"] = "error"
    ) -> Problem:
        """About the file itself: it is missing, or others may write it. A line of it would send a
        reader to its text"""
        return cls(path, 0, 0, message, level=level)

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        rule = f"rule {self.rule}: " if self.rule else ""
        level = "warning: " if self.level == "warning" else ""
        return f"{place}: {level}{rule}{self.message}"


class InvalidFiles(UsageError):
    """Files with errors; `problems` holds all of them, of all files at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def own_words(said: str) -> str:
    """What the engine itself says in a refusal or in State.Error, to be compared with what it is
    known to say.

    Its runtime, and its messages about users and folders, repeat what an image names (a command, a
    user, a working directory), of any wording, mostly in quotes: that is a stranger's text. All of
    it comes last, or in quotes.
    """
    return _QUOTED.sub('""', _OF_OTHERS.split(said, maxsplit=1)[0])
