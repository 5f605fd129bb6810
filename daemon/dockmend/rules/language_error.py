"""The one error every compiler of the rule language raises, so that the loader can put a line and a
column to it.

The compilers see a text without its file: they say what is wrong, what was expected and where
inside that text; `path:line:column` is the loader's to add.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LanguageError(ValueError):
    """A text of the rule language that cannot be understood.

    `offset` counts characters from 0 inside the text that was given; None where no single place is
    to blame.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' (did you mean "…"?)' for the nearest known word, "" where nothing is near; long words are
    not compared."""
    if not word or len(word) > 80:
        return ""
    lowered = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.65)
    return f' (did you mean "{lowered[near[0]]}"?)' if near else ""


def quoted(text: str, limit: int = 60) -> str:
    """A stranger's text as an error may show it: quoted, one line, cut."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    printable = "".join(char if char.isprintable() else "�" for char in shown)
    return f'"{printable}"'
