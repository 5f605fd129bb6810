"""Texts with a form of their own: sizes, rates and addresses. Each parser raises ValueError with a
sentence."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from dockmend.rules import durations


class Address(NamedTuple):
    """Where a server listens; the host without brackets."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """True where only this host can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


LEAST_RESERVE = 16 << 20
"""Bytes: what the journal needs to go on for a while."""

_SIZE = re.compile(r"([0-9]{1,12}) ?([kmgt])(?:i?b)?", re.IGNORECASE)


def reserve(value: object) -> int:
    """Bytes of a text such as `512MiB` or `2g`."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a size such as 512MiB or 2GiB")
    size = int(match[1]) << (10 * (1 + "kmgt".index(match[2].lower())))
    if size < LEAST_RESERVE:
        raise ValueError(
            "expected at least 16MiB: without a journal that can be written, nothing is healed"
        )
    return size


def rate(value: object) -> tuple[int, float] | None:
    """(count, seconds) of a text such as `30 per 1m`; None for `none`."""
    return None if value == "none" else durations.per(value)


def address(value: object) -> Address:
    """An address to listen at: `127.0.0.1:9468`, `[::1]:9468`, `localhost:9468`."""
    text = value.strip() if isinstance(value, str) else ""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{value!r}: put the IPv6 address in brackets, as in [::1]:9468")
    if not colon or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{value!r} is no address, expected HOST:PORT such as 127.0.0.1:9468")
    if not host or not re.fullmatch(r"[A-Za-z0-9._:%-]+", host):
        raise ValueError(
            f"{value!r}: the host is missing or not one; 0.0.0.0:{port} listens everywhere"
        )
    return Address(host, int(port))
