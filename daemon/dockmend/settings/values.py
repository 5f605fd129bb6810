"""Texts with a form of their own: durations, rates, addresses. Each parser raises ValueError with a sentence."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|[smhdw])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_RATE = re.compile(r"(\d{1,9})\s+per\s+(\S+)")


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


def duration(value: object) -> float:
    """Seconds of a text such as `90s`, `1h30m`, `250ms`."""
    if isinstance(value, str) and _DURATION.fullmatch(text := value.strip()):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    hint = f": did you mean {value}s?" if isinstance(value, int) and not isinstance(value, bool) and value > 0 else ""
    raise ValueError(f"{value!r} is no duration{hint or ', expected one such as 30s, 5m or 1h30m'}")


def rate(value: object) -> tuple[int, float] | None:
    """(count, seconds) of a text such as `30 per 1m`; None for `none`."""
    if value == "none":
        return None
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no rate, expected one such as 30 per 1m, or none")
    count, seconds = int(match[1]), duration(match[2])
    if count < 1 or seconds <= 0:
        raise ValueError(f"{value!r}: count and time must be more than 0; `none` switches the limit off")
    return count, seconds


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
        raise ValueError(f"{value!r}: the host is missing or not one; 0.0.0.0:{port} listens everywhere")
    return Address(host, int(port))
