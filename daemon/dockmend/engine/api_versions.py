"""What differs between versions of the Engine API, and between the engines that speak them: all of
it, in one place.

Everything else asks here by the version that was settled with the engine, and never by a release's
number. Versions are measured on the engines of docs/engines.md, or taken from Docker's "Engine API
version history".
"""

from __future__ import annotations

from typing import NamedTuple

from dockmend.errors import Unreachable


class ApiVersion(NamedTuple):
    """A version of the Engine API, such as 1.48; compares as its numbers do."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


OLDEST = ApiVersion(1, 40)
"""Docker 19.03: before it, health and network answers have other shapes."""

NEWEST = ApiVersion(1, 48)
"""Docker 28.0, for GwPriority. Engines up to 29 speak it, and 1.49 to 1.51 add nothing that
dockmend asks for.

It must stay below 1.52, from which on inspect leaves out `Config.MacAddress`: nothing else tells
whether the MAC address of the main network was configured.
"""

STOP_TAKES_SIGNAL = ApiVersion(1, 42)
"""From here on `stop` and `restart` send the signal that they are given (Docker 23). Before, it is
ignored without a word, and the container gets its own stop signal."""

SEVERAL_NETWORKS = ApiVersion(1, 44)
"""From here on a container is made in several networks at once; before, in one, and connected to
the others."""

RANDOM_MACS = ApiVersion(1, 47)
"""From here on an engine may make up a MAC address at random, anew at each start. Before, it is
02:42 and the four bytes of the IPv4 address. (Measured: made from the address with 1.45, random
with 1.51.)"""

CONNECT_TAKES_MAC = ApiVersion(1, 54)
"""From here on `connect` puts a container into a network with the MAC address that it is given.
Before, it answers 200 and ignores it, so only making the container anew brings a configured address
back."""


def parsed(version: str) -> ApiVersion | None:
    """A version as the engine writes it; None if it is none."""
    major, _, minor = version.partition(".")
    return ApiVersion(int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def settled(url: str, newest: str, oldest: str) -> ApiVersion:
    """The newest version that both know. `newest` and `oldest` are what the engine at `url` says
    that it speaks.

    Raises Unreachable if there is no such version, or if it is no Docker Engine that answers.
    """
    spoken, since = parsed(newest), parsed(oldest) or ApiVersion(1, 0)
    if spoken is None:
        raise Unreachable(f"{url}: this is no Docker Engine: it names no API version")
    if spoken < OLDEST:
        raise Unreachable(
            f"the engine at {url} is too old: it speaks API {spoken}, dockmend needs {OLDEST} "
            "(Docker 19.03) or newer"
        )
    if since > NEWEST:
        raise Unreachable(
            f"the engine at {url} is too new: it speaks API {since} and up, dockmend knows up to "
            f"{NEWEST}: update dockmend"
        )
    return min(spoken, NEWEST)


def configured_mac(version: ApiVersion, shown: str, ipv4: str, *, ran: bool) -> str | None:
    """The MAC address that was asked for in a network other than the main one, by an inspect answer
    alone.

    `shown` and `ipv4`: the addresses that the answer has for that network, "" if it has none.
    `ran`: whether the container was ever started. Returns "" if none was asked for, and None if the
    answer does not tell.
    """
    if not ran:
        return shown  # nothing has been made up yet
    if not shown or version >= RANDOM_MACS:
        return None
    generated = (
        shown.lower().startswith(f"{_MADE_UP}:")
        if not ipv4
        else shown.lower() == _mac_of_address(ipv4)
    )
    return "" if generated else shown


def _mac_of_address(ipv4: str) -> str:
    """The MAC address that an engine before RANDOM_MACS makes up for an IPv4 address; "" if it is
    none."""
    parts = ipv4.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        return ""
    return ":".join([_MADE_UP, *(f"{int(part):02x}" for part in parts)])


_MADE_UP = "02:42"
