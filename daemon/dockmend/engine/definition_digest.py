"""Made as: a short text that is the same for two containers that were made the same way, and else
another.

It tells a container that somebody changed before making it again from one that was only removed and
made again. It goes by what decides whether a container works: its image, its command, its
environment, what it mounts, its limits. Labels and names are left out, since tools stamp them anew
each time, and so is what the engine or a client fills in by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import defstruct

from dockmend.model import main_network

CONFIG = (
    "Cmd",
    "Entrypoint",
    "Env",
    "Healthcheck",
    "StopSignal",
    "StopTimeout",
    "Tty",
    "User",
    "WorkingDir",
)
HOST = (
    "Binds", "BlkioWeight", "CapAdd", "CapDrop", "CpuPeriod", "CpuQuota", "CpuShares", "CpusetCpus",
    "DeviceRequests", "Devices", "Dns", "ExtraHosts", "GroupAdd", "Init", "Memory",
    "MemoryReservation", "MemorySwap", "Mounts", "NanoCpus", "OomKillDisable", "PidsLimit",
    "PortBindings", "Privileged", "ReadonlyRootfs", "Runtime", "SecurityOpt", "ShmSize", "Sysctls",
    "Tmpfs", "Ulimits", "UsernsMode",
)  # fmt: skip
NAMESPACES = ("IpcMode", "NetworkMode", "PidMode")
SETS = frozenset({"Binds", "CapAdd", "CapDrop", "Env", "ExtraHosts", "GroupAdd", "SecurityOpt"})
"""Lists of texts whose order means nothing: Compose writes some of them in another one each
time."""
DIGITS = 8
"""Bytes of the digest: what is compared are the few containers that ever had one name."""
_HEXADECIMAL = frozenset("0123456789abcdef")


def _parts(name: str, *fields: str) -> Any:
    """Only these are read: labels, which may be long, are not even decoded."""
    return defstruct(name, [(field, Any, None) for field in fields])


_Made = defstruct("_Made", [
    ("Image", str, ""),
    ("Config", _parts("_Config", *CONFIG) | None, None),
    ("HostConfig", _parts("_HostConfig", *HOST, *NAMESPACES) | None, None),
])  # fmt: skip
_decoder = msgspec.json.Decoder(_Made)
_encoder = msgspec.json.Encoder(order="deterministic")


def made_as(answer: bytes) -> str:
    """Of an inspect answer; "" where that cannot be read."""
    try:
        made: Any = _decoder.decode(answer)
    except msgspec.MsgspecError:
        return ""
    parts: dict[str, Any] = {"Image": made.Image}
    for names, given in ((CONFIG, made.Config), (HOST, made.HostConfig)):
        parts |= {
            name: value for name in names if (value := _plain(name, getattr(given, name, None)))
        }
    for name in NAMESPACES:
        parts[name] = _namespace(name, str(getattr(made.HostConfig, name, None) or ""))
    return blake2b(_encoder.encode(parts), digest_size=DIGITS).hexdigest()


def _plain(name: str, value: Any) -> Any:
    if name == "Binds":
        value = [each for each in _texts(value) if not _anonymous(each.partition(":")[0])]
    if name == "Mounts" and isinstance(value, list):
        mounts = [
            each
            for each in value
            if isinstance(each, dict) and not _anonymous(str(each.get("Source") or ""))
        ]
        return sorted(mounts, key=lambda each: str(each.get("Target")))
    return sorted(_texts(value)) if name in SETS else value


def _texts(value: Any) -> Iterable[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _anonymous(source: str) -> bool:
    """Whether a mount is of an anonymous volume: Compose names it when it makes the next
    container."""
    return not source or (len(source) == 64 and _HEXADECIMAL.issuperset(source))


def _namespace(name: str, mode: str) -> str:
    """Without the owner's id: who makes a whole project again makes the owner again first."""
    if mode.startswith("container:"):
        return "container:"
    return main_network(mode) if name == "NetworkMode" else mode
