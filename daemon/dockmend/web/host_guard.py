"""Under which names this server may be asked: the Host header, against rebinding.

A page of a stranger can make a browser send requests to this port under a name of the stranger's
own (DNS rebinding). It cannot forge the Host header, so names that are not ours are refused.
Addresses written as numbers are no names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def host_allowed(header: str | None, names: Iterable[str]) -> bool:
    """Whether a Host header names this server: an address, `localhost`, or one of `names` (ports do
    not matter)."""
    name = _without_port(header or "")
    if name is None:
        return False
    if name == "localhost" or _is_address(name):
        return True
    return name in {each.lower().rstrip(".") for each in names}


def _without_port(header: str) -> str | None:
    """The lower-case name or address of a Host header; None where it is none."""
    text = header.strip().lower()
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        if not bracket or not _is_port(port):
            return None
        return address
    name, colon, port = text.partition(":")
    if not name or not _is_port(colon + port):
        return None
    return name.rstrip(".")


def _is_port(text: str) -> bool:
    return not text or (
        text[0] == ":" and (not text[1:] or (text[1:].isascii() and text[1:].isdigit()))
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
