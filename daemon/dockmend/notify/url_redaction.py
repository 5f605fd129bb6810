"""What the library said about a URL, without the URL: it may quote it, whole or in parts, as it is
or decoded."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote, unquote_plus

from dockmend import redaction
from dockmend.redaction import MARK
from dockmend.tell.sanitize import shown

LONGEST: Final = 300
"""Characters of a line that is told."""
_PARTS = re.compile(r"[/:@?&=#,;+\s\[\]]+")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_WITH_PATH = re.compile(r"(with url: )\S+")
_PORT = re.compile(r"(?:[^/?#]*@)?[^/?#@]*:([0-9]{1,5})(?![^/?#])")


def wiped(lines: Iterable[str], url: str) -> tuple[str, ...]:
    """The lines, one by one, without anything that the URL holds, host and path too: in many
    services these are tokens.

    Stays: words of one or two characters, and the host's port.
    """
    scheme, _, rest = url.partition("://")
    found: set[str] = {url, rest, *_encoded(rest)}
    for word in _PARTS.split(rest):
        for text in (word, unquote(word), unquote_plus(word)):
            found.update(each for part in (text, *_PARTS.split(text)) for each in _written(part))
    port = _PORT.match(rest)
    stays = {scheme, port[1] if port is not None else ""}
    hidden = [word for word in found - stays if len(word) > 2]
    every = re.compile(
        "|".join(map(re.escape, sorted(hidden, key=len, reverse=True))), re.IGNORECASE
    )
    return tuple(_wiped(line, every) for line in lines)


def _written(text: str) -> tuple[str, ...]:
    """A word as it is, and as a URL, JSON and Python write it."""
    return text, quote(text, safe=""), quote(text), json.dumps(text)[1:-1], ascii(text)[1:-1]


def _encoded(rest: str) -> Iterable[str]:
    """User and password as a header has them."""
    user = rest.partition("/")[0].rpartition("@")[0]
    if user:
        for each in (user, unquote(user)):
            yield base64.b64encode(each.encode()).decode().rstrip("=")


def _wiped(line: str, every: re.Pattern[str]) -> str:
    clean = every.sub(MARK, line) if every.pattern else line
    clean = _WITH_PATH.sub(rf"\g<1>{MARK}", _ADDRESS.sub(MARK, clean))
    return shown(redaction.text(clean), LONGEST)
