"""YAML's own traps: what YAML made of what a person wrote, and what to write instead.

Each function gives the whole message of one trap, so that the traps can be read in one place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dockmend.rules.language_error import quoted as shown

_TAG = "tag:yaml.org,2002:"
_SYNONYMS = {
    "on": "when", "trigger": "when", "triggers": "when", "event": "when", "condition": "if",
    "action": "then", "actions": "then", "do": "then", "steps": "then", "select": "match",
    "selector": "match", "wait_for": "for", "ignore": "exclude", "except": "exclude",
    "always": "finally", "dryrun": "dry_run", "shadow": "dry_run", "title": "name", "id": "name",
    "retries": "attempts", "window": "during",
}  # fmt: skip
"""What other tools call it."""


def quoted(text: str) -> str:
    """As it is written in YAML so that it stays text."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def rest(line: str, column: int) -> str:
    """What a person meant as the value that begins at `column` (from 0): up to a comment, the end
    of the line, or of the list or mapping in brackets that it stands in."""
    value = re.split(r"\s#|,\s", line[column:], maxsplit=1)[0].strip()
    while value.endswith(("}", "]")) and value.count("{") + value.count("[") < value.count(
        "}"
    ) + value.count("]"):
        value = value[:-1].rstrip()
    return value


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The key that was probably meant: also by what other tools call it; None where nothing is
    near."""
    names = list(known)
    near = _SYNONYMS.get(word.lower())
    if near not in names and len(word) <= 80:
        near = next(iter(difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)), None)
    return near if near in names else None


def alias(line: str, column: int) -> str:
    """An unquoted value that begins with a star."""
    value = rest(line, column) or "*"
    return f"YAML reads an unquoted {value} as a reference to an anchor: write {quoted(value)}"


def tag(name: str, text: str) -> str:
    """An explicit tag, of a person's intent (`!0`) or of a library's (`!!python/…`)."""
    if name.startswith(_TAG):
        return (
            f"the tag !!{name[len(_TAG) :]} is refused: rules are plain data, expected a "
            "value without a tag"
        )
    value = f"{name} {text}".strip()
    return f"YAML reads an unquoted {name} as a tag: write {quoted(value)}"


def key(text: str, value: object) -> str:
    """A key that YAML made something else of than text."""
    if isinstance(value, bool):
        meant = ' (did you mean "when"?)' if text.lower() == "on" else ""
        made = f"YAML reads the key {text} as the boolean {str(value).lower()}{meant}"
        return f"{made}: write {quoted(text)} if it is a name"
    if value is None:
        return "a key is empty: expected a name before the colon"
    return f"YAML reads the key {text} as a number: write {quoted(text)}"


LONGEST_NUMBER = 60
"""Characters of a number; Python writes no number of more than 4,300 digits, and none of these
means anything."""


def number(text: str) -> tuple[int | float | None, str | None]:
    """The number YAML 1.1 makes of a scalar, and the trap where that is not what it looks like."""
    plain = text.replace("_", "")
    if len(text) > LONGEST_NUMBER:
        return (
            None,
            (
                f"YAML reads {text[:20]}… as a number of {len(text)} characters: "
                "expected a smaller one or text"
            ),
        )
    if ":" in plain:
        try:
            value = _sexagesimal(plain)
        except ValueError:
            return None, f"{text} is not a number"
        made = f"YAML reads {text} as the number {value:g} (base 60)"
        return None, f"{made}: write {quoted(text)}, or a duration such as 90s"
    try:
        if re.fullmatch(r"[-+]?0[0-7]+", plain):
            made = f"YAML reads {text} as the octal number {int(plain, 8)}"
            return None, f"{made}: write {quoted(text)}, or a number without the 0"
        if re.fullmatch(r"[-+]?(0x[0-9a-fA-F]+|0b[01]+)", plain):
            return int(plain, 0), None
        if re.fullmatch(r"[-+]?[0-9]+", plain):
            return int(plain), None
        if plain.lstrip("+-").lower() in (".inf", ".nan"):
            return (
                None,
                (
                    f"YAML reads {text} as a number without bounds: expected a number or text "
                    "in quotes"
                ),
            )
        return float(plain), None
    except ValueError:
        return None, f"{text} is not a number"


def _sexagesimal(text: str) -> float:
    sign = -1 if text.startswith("-") else 1
    total = 0.0
    for part in text.lstrip("+-").split(":"):
        total = total * 60 + float(part)
    return sign * total


def syntax(problem: str, context: str, line: str, column: int) -> tuple[str, int]:
    """The message for a text that is not YAML, and its column; `column` (from 1) is where libyaml
    sees the trouble."""
    if (message := _of_start(problem, context, line, column)) is not None:
        return message, column
    if braces := re.search(r"[:\-,]\s+(\{[\w.:%-]+\}[^\s,#}].*?|\{[\w.:%-]+\} \S.*?)\s*$", line):
        meant = rest(braces.group(1), 0)
        return (
            f"YAML reads an unquoted {{ as the start of a mapping: write {quoted(meant)}",
            braces.start(1) + 1,
        )
    if (cut := re.search(r"(?<=[\s\[{,])/[^/\s]*\s+#", line)) and "flow" in context:
        message = f'YAML reads what follows " #" as a comment and keeps {cut[0].rstrip("# ")}'
        return f"{message}: put the whole pattern into quotes", cut.start() + 1
    if "mapping values are not allowed" in problem:
        return (
            (
                "YAML reads an unquoted `: ` as the end of a key: put the text "
                "into quotes, or mend the indent"
            ),
            column,
        )
    if "quoted scalar" in context:
        return (
            (
                "a quote is opened and never closed: close it, or double a quote that is meant "
                "literally"
            ),
            column,
        )
    if after := re.search(r"""[:\-]\s+("[^"]*"|'[^']*')\s*[^\s#]""", line):
        message = (
            f"something follows the closing quote of {after.group(1)}: put the whole value "
            "into quotes"
        )
        return message, after.start(1) + 1
    what = " ".join(part for part in (context, problem) if part) or "it is not YAML"
    return f"not readable as YAML: {what}; check quotes, brackets and the indent", column


def _of_start(problem: str, context: str, line: str, column: int) -> str | None:
    """A value whose first character means something to YAML."""
    value = rest(line, column - 1)
    if "alias" in context:
        return alias(line, column - 1)
    if "scanning a tag" in context:
        return f"YAML reads an unquoted {value} as a tag: write {quoted(value)}"
    if "block scalar" in context:
        return (
            f"YAML reads an unquoted {value[:1]} as the start of a folded text: write "
            f"{quoted(value)}"
        )
    if line[column - 1 : column] == "\t" or "tab" in problem:
        return "a tab stands where YAML expects spaces: indent with spaces"
    if "cannot start any token" in problem:
        return f"YAML allows no unquoted value that begins with {value[:1]}: write {quoted(value)}"
    return None


def kind(value: object) -> str:
    """What YAML made of a value, in a person's words."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {shown(value)}" if value else "an empty text"
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def wrong_type(value: Any, text: str | None, key: str, expected: str) -> str:
    """What to write instead, where YAML made something of the value that was not meant; else an
    empty text."""
    if value is False and key in ("cooldown", "attempts", "backoff", "rate", "verify"):
        return f" (YAML reads {text} so): write none to switch it off"
    if isinstance(value, int) and not isinstance(value, bool) and expected.startswith("a duration"):
        return f' (did you mean "{value}s"?)'
    if not expected.startswith(("text", "a name", "a text")):
        return ""
    if isinstance(value, Mapping) and len(value) == 1:
        name, inner = next(iter(value.items()))
        if inner is None:
            return f' (YAML reads an unquoted {{…}} so): write "{{{name}}}"'
    if isinstance(value, bool | int | float) and text is not None:
        return f" (YAML reads an unquoted {text} so): write {quoted(text)}"
    return ""
