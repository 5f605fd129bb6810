"""Strangers' text in a message: shown as it was written, and obeyed by nobody.

Names, log lines, health output and errors come from strangers. A service may read a mention in them
(`@everyone`), a link or markup, and who gets a message of dockmend's trusts it. So what begins one
of those is replaced by a character that looks alike and means nothing. What a stranger wrote stands
in quotes that it cannot close, or in lines that bear a bar (message.py): it cannot pass for a
sentence of dockmend's, or for its command to paste.

An IP address and a telephone number stay as they are, though some phones make links of them: in a
line of a log an address is often the answer that the reader looks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from dockmend.tell.sanitize import shown

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
_QUOTES: Final = str.maketrans(dict.fromkeys('"“”„‟«»＂″〝〞', "'"))  # noqa: RUF001 - those that look like one
_DOTS: Final = {
    ".": "\N{ONE DOT LEADER}",
    "\N{SMALL FULL STOP}": "\N{ONE DOT LEADER}",
    "\N{FULLWIDTH FULL STOP}": "\N{ONE DOT LEADER}",
    "\N{IDEOGRAPHIC FULL STOP}": "\N{WHITE BULLET}",
    "\N{HALFWIDTH IDEOGRAPHIC FULL STOP}": "\N{WHITE BULLET}",
}
"""What browsers take for the dot in a host's name, and what is shown instead of it."""
_DOT: Final = f"[{''.join(_DOTS)}]"
_OF_A_HOST: Final = re.compile(rf"(?i)\bwww{_DOT}|(?<=[\w-]){_DOT}(?=[^\W\d_]{{2}})")
"""The dot that makes a link of a host's name without a scheme: many services and phones do."""
_SLASHES: Final = "\N{DIVISION SLASH}" * 2
_BEGINS_MARKUP: Final = re.compile(r"\A(?=[#=+-])")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)
"""What an engine takes as a container's name."""
_TARGET: Final = re.compile(r"[a-z]+:[a-zA-Z0-9][a-zA-Z0-9_./:-]*", re.ASCII)


def defused(text: str, most: int = LONGEST_LINE) -> str:
    """One line of at most `most` characters and two, without control characters, mentions, links
    and markup."""
    told = shown(text.strip(), most).translate(_LOOKS_LIKE).replace("://", f":{_SLASHES}")
    return _BEGINS_MARKUP.sub("\N{MIDDLE DOT}", _no_link(told))


def quoted(text: str, most: int = LONGEST_LINE) -> str:
    """The same in quotes, where a sentence of dockmend's goes on behind it."""
    return f'"{defused(text, most).translate(_QUOTES)}"'


def lines(texts: Iterable[str]) -> tuple[str, ...]:
    """Lines of a log, those that say nothing left out."""
    return tuple(line for line in map(defused, texts) if line)


def name(text: str, most: int = LONGEST_NAME) -> str:
    """A name in a sentence: what an engine takes as one is shown as it is."""
    return _no_link(shown(text, most)) if _NAME.fullmatch(text) else defused(text, most)


def _no_link(text: str) -> str:
    return _OF_A_HOST.sub(lambda found: found[0][:-1] + _DOTS[found[0][-1]], text)


def pastable(text: str) -> bool:
    """Whether a name or a target may stand in a command that a person is to paste."""
    return bool(_NAME.fullmatch(text) or _TARGET.fullmatch(text))
