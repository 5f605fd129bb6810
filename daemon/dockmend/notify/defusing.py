"""Strangers' text in a message: shown as it was written, and obeyed by nobody.

Names, log lines, health output and errors come from strangers. A service may read a mention in them (`@everyone`), a
link or markup, and who gets a message of dockmend's trusts it. So what begins one of those is replaced by a character
that looks alike and means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from dockmend.tell.text import shown

LONGEST_LINE: Final = 200
"""Characters of one line of a log."""
LONGEST_NAME: Final = 48
"""Characters of a name in a title."""

_LOOKS_LIKE: Final = str.maketrans({
    "@": "\N{FULLWIDTH COMMERCIAL AT}",
    "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
    ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
    "`": "'",
    "*": "\N{ASTERISK OPERATOR}",
    "|": "\N{BROKEN BAR}",
    "~": "\N{TILDE OPERATOR}",
    "[": "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}",
    "]": "\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}",
})  # fmt: skip
_WWW: Final = re.compile(r"(?i)\bwww\.")
_SLASHES: Final = "\N{DIVISION SLASH}" * 2
_BEGINS_MARKUP: Final = re.compile(r"\A(?=[#=+-])")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)
"""What an engine takes as a container's name."""
_TARGET: Final = re.compile(r"[a-z]+:[a-zA-Z0-9][a-zA-Z0-9_./:-]*", re.ASCII)


def defused(text: str, most: int = LONGEST_LINE) -> str:
    """One line of at most `most` characters and a few, without control characters, mentions, links and markup."""
    told = shown(text.strip(), most).translate(_LOOKS_LIKE).replace("://", f":{_SLASHES}")
    told = _WWW.sub(lambda found: f"{found[0][:3]}\N{ONE DOT LEADER}", told)
    return _BEGINS_MARKUP.sub("\N{MIDDLE DOT}", told)


def lines(texts: Iterable[str]) -> tuple[str, ...]:
    """Lines of a log, those that say nothing left out."""
    return tuple(line for line in map(defused, texts) if line)


def name(text: str, most: int = LONGEST_NAME) -> str:
    """A name in a sentence: what an engine takes as one is shown as it is."""
    return shown(text, most) if _NAME.fullmatch(text) else defused(text, most)


def pastable(text: str) -> bool:
    """Whether a name or a target may stand in a command that a person is to paste."""
    return bool(_NAME.fullmatch(text) or _TARGET.fullmatch(text))
