"""Patterns over names, labels and attributes: a glob, or /a regular expression/; a list means any
of them.

A glob has `*` (any run of characters), `?` (any one) and `[a-z]`, `[!a-z]` (one of a set); it is
case-sensitive and holds for the whole text. A regular expression stands between slashes and is
*searched*: `^` and `$` anchor it. Those that can run away are refused (regex_safety.py), and a text
longer than LONGEST_SEARCHED never matches one.

Patterns are compiled to the cheapest test there is: most are a prefix, a suffix or a plain
comparison.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from dockmend.rules import regex_safety
from dockmend.rules.language_error import LanguageError, quoted

Test = Callable[[str], bool]

LONGEST_PATTERN: Final = 500
LONGEST_SEARCHED: Final = 1024
"""Characters of a text a regular expression is tried on; fewer if it costs more
(runaway.longest_searched)."""

_SET = re.compile(r"\[[^]]*\]")
_SPECIAL = re.compile(r"[*?\[]")
_OF_NAMES = re.compile(r"[\w.:/@*?\[\]!+-]*", re.ASCII)
"""What names, image references and globs of them are written with."""
_OF_REGEX = frozenset("^$|()\\{}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, parsed. `literal` is set where it matches exactly one text; `prefix` and
    `suffix` are what every match begins and ends with ("" where nothing is known)."""

    text: str
    test: Test
    literal: str | None = None
    prefix: str = ""
    suffix: str = ""
    everything: bool = False

    @property
    def is_ends(self) -> bool:
        """True for `prefix*suffix`: any text that begins and ends so, and is long enough,
        matches."""
        return self.literal is None and self.text == f"{self.prefix}*{self.suffix}"


def compile_pattern(text: str) -> Test:
    """The test for one glob or /regular expression/. Raises LanguageError."""
    return parse_pattern(text).test


def literal(text: str) -> str | None:
    """The one text a pattern matches, None where it can match several. Raises LanguageError."""
    return parse_pattern(text).literal


def any_of(patterns: Sequence[Pattern]) -> Test:
    """The cheapest test that holds where any of the patterns does."""
    if len(patterns) == 1:
        return patterns[0].test
    if any(pattern.everything for pattern in patterns):
        return _anything
    literals = frozenset(pattern.literal for pattern in patterns if pattern.literal is not None)
    prefixes = tuple(pattern.prefix for pattern in patterns if _is_prefix(pattern))
    others = tuple(
        pattern.test for pattern in patterns if pattern.literal is None and not _is_prefix(pattern)
    )
    if not prefixes and not others:
        return literals.__contains__

    def test(text: str) -> bool:
        return text in literals or text.startswith(prefixes) or any(other(text) for other in others)

    return test


@lru_cache(maxsize=4096)
def parse_pattern(text: str) -> Pattern:
    """Parse and compile one pattern. Raises LanguageError with the offset inside `text`."""
    if len(text) > LONGEST_PATTERN:
        message = f"a pattern has at most {LONGEST_PATTERN} characters, this one has {len(text)}"
        raise LanguageError(message, LONGEST_PATTERN)
    if len(text) > 1 and text.startswith("/") and text.endswith("/"):
        return _regex(text)
    return _glob(text)


def parse_name(text: str) -> Pattern:
    """As `parse_pattern`, for what never begins with a slash or holds a comma: names and images.
    Raises LanguageError.

    The engine shows a container's name as `/web`; a pattern written so would never match, nor would
    `web, db`.
    """
    pattern = parse_pattern(text)
    is_regex = len(text) > 1 and text.startswith("/") and text.endswith("/")
    if not is_regex and (between := re.search(r"[,\s]", _SET.sub("", text))):
        message = (
            f"{quoted(text)} holds a comma or a space, as no name does: expected a list "
            "such as [web, db]"
        )
        raise LanguageError(message, between.start())
    if (
        not is_regex
        and (strange := _OF_NAMES.match(_SET.sub("", text)))
        and strange.end() < len(_SET.sub("", text))
    ):
        found = _SET.sub("", text)[strange.end()]
        raise LanguageError(
            f"{quoted(text)} holds {found}, as no name does{_instead(text, found)}",
            text.index(found),
        )
    if text.startswith("/") and not is_regex:
        raise LanguageError(
            f"{quoted(text)} begins with a slash, as no name does: expected {quoted(text[1:])}", 0
        )
    if not text:
        raise LanguageError("an empty text matches no name: expected a name or a pattern", 0)
    return pattern


def _instead(text: str, found: str) -> str:
    """What to write instead of a name with a character that no name has."""
    if found not in _OF_REGEX:
        return ": expected a name or a pattern of one, such as web or web-*"
    several = "" if found != "|" else f", or the list [{', '.join(text.strip('^$()').split('|'))}]"
    return f": expected {quoted(f'/{text}/')} for a regular expression{several}"


def _is_prefix(pattern: Pattern) -> bool:
    return pattern.literal is None and pattern.text == pattern.prefix + "*"


def _anything(_text: str) -> bool:
    return True


def _regex(text: str) -> Pattern:
    body = text[1:-1]
    if not body:
        raise LanguageError(
            'an empty regular expression matches everything: expected "*" for that', 0
        )
    limit = min(LONGEST_SEARCHED, regex_safety.longest_searched(body))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = re.compile(body).search

    def test(value: str) -> bool:
        return len(value) <= limit and search(value) is not None

    return Pattern(text, test, prefix=regex_safety.literal_start(body))


def _glob(text: str) -> Pattern:
    special = _SPECIAL.search(text)
    if special is None:
        return Pattern(text, text.__eq__, literal=text, prefix=text, suffix=text)
    prefix = text[: special.start()]
    rest = text[special.start() :].lstrip("*")
    # prefix*suffix, either of them possibly empty
    if special[0] == "*" and _SPECIAL.search(rest) is None:
        return Pattern(
            text,
            _ends(prefix, rest),
            prefix=prefix,
            suffix=rest,
            everything=not prefix and not rest,
        )
    inner = rest.rstrip("*")
    if (
        special[0] == "*"
        and not prefix
        and len(inner) < len(rest)
        and _SPECIAL.search(inner) is None
    ):
        return Pattern(text, lambda value: inner in value)
    pieces, suffix = _translate(text)
    match = re.compile("".join(pieces), re.DOTALL).fullmatch
    return Pattern(text, lambda value: match(value) is not None, prefix=prefix, suffix=suffix)


def _ends(prefix: str, suffix: str) -> Test:
    if not prefix and not suffix:
        return _anything
    if not suffix:
        return lambda value: value.startswith(prefix)
    if not prefix:
        return lambda value: value.endswith(suffix)
    least = len(prefix) + len(suffix)
    return lambda value: len(value) >= least and value.startswith(prefix) and value.endswith(suffix)


def _translate(text: str) -> tuple[list[str], str]:
    """A glob as pieces of a regular expression, and the plain text it ends with.

    What stands between two stars is found at its first place for good (an atomic group): a glob has
    no need to come back to it, and so cannot run away.
    """
    segments: list[list[str]] = [[]]
    suffix = ""
    place = 0
    while place < len(text):
        char = text[place]
        if char == "*":
            if segments[-1] or len(segments) == 1:
                segments.append([])
            suffix = ""
            place += 1
        elif char == "?":
            segments[-1].append(".")
            suffix = ""
            place += 1
        elif char == "[":
            piece, place = _set(text, place)
            segments[-1].append(piece)
            suffix = ""
        else:
            segments[-1].append(re.escape(char))
            suffix += char
            place += 1
    pieces = ["".join(segments[0])]
    if len(segments) > 1:
        pieces += [f"(?>.*?{''.join(segment)})" for segment in segments[1:-1]]
        pieces += [".*" + "".join(segments[-1])]
    return pieces, suffix


def _set(text: str, start: int) -> tuple[str, int]:
    """`[…]` at `start`: the piece of a regular expression, and the place after it."""
    place = start + 1
    negated = text[place : place + 1] in ("!", "^")
    if negated:
        place += 1
    end = text.find("]", place + 1)  # a ] that comes first is one of the set
    if end < 0:
        raise LanguageError(f"{quoted(text)}: the [ has no ]: expected a set such as [a-z]", start)
    items: list[str] = []
    while place < end:
        low = text[place]
        if place + 2 < end and text[place + 1] == "-":
            high = text[place + 2]
            if high < low:
                raise LanguageError(f"{quoted(text)}: {low}-{high} runs backwards", place)
            items.append(f"{re.escape(low)}-{re.escape(high)}")
            place += 3
        else:
            items.append(re.escape(low))
            place += 1
    return f"[{'^' if negated else ''}{''.join(items)}]", end + 1
