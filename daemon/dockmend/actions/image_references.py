"""Image references from text that strangers had a hand in: a container's name, a label, a payload.

The grammar is the one of the distribution project's reference package. What can be made to fit
without becoming another name for a person is (case, signs that are not allowed, length); what
cannot is refused.
"""

from __future__ import annotations

import hashlib
import re

LONGEST_REPOSITORY = 255
LONGEST_TAG = 128

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_DOMAIN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[0-9]{1,5})?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX_ID = re.compile(r"[0-9a-f]{64}")


def repository(text: str) -> str:
    """The repository a rendered text names; ValueError with a sentence where it names none."""
    first, slash, rest = text.strip().lower().partition("/")
    if (
        slash
        and (":" in first or "." in first or first == "localhost")
        and _DOMAIN.fullmatch(first)
    ):
        name = f"{first}/{_path(rest)}" if _path(rest) else ""
    else:
        name = _path(text.strip().lower())
    if not name:
        raise ValueError(f"{text[:80]!r} leaves nothing that could name an image")
    if len(name) > LONGEST_REPOSITORY:
        raise ValueError(
            f"the repository {name[:40]}… is longer than {LONGEST_REPOSITORY} characters"
        )
    if _HEX_ID.fullmatch(name):
        raise ValueError("a repository of 64 hexadecimal digits would be taken for an image's id")
    return name


def tag(text: str) -> str:
    """The tag a rendered text names; one that is too long keeps its beginning and a digest of the
    whole."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text.strip()).lstrip(".-")
    if not name:
        raise ValueError(f"{text[:80]!r} leaves nothing that could be a tag")
    if len(name) > LONGEST_TAG:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        name = f"{name[: LONGEST_TAG - len(digest) - 1]}-{digest}"
    return name


def _path(text: str) -> str:
    return "/".join(component for component in map(_component, text.split("/")) if component)


def _component(text: str) -> str:
    """One part of a path: letters and digits, with single separators between them."""
    if _COMPONENT.fullmatch(text):
        return text
    plain = re.sub(r"[^a-z0-9._-]+", "-", text)
    parts = re.split(r"([._-]+)", plain)
    kept = [part if i % 2 == 0 else _separator(part) for i, part in enumerate(parts)]
    return "".join(kept).strip("._-")


def _separator(text: str) -> str:
    return text if text in (".", "_", "__") or not text.strip("-") else "-"


__all__ = ["LONGEST_REPOSITORY", "LONGEST_TAG", "repository", "tag"]
