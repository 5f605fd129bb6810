"""Two inspect answers of a container before and after it was made anew, compared field by field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Raw = Mapping[str, Any]
Test = Callable[[Raw, Any, Any], bool]
"""Of the inspect answer before, the field before, the field after: whether that difference is
meant."""


def _always(before: Raw, old: Any, new: Any) -> bool:
    return True


def _handed_out(field: str) -> Test:
    """No endpoint asked for that address: the next one is as good."""

    def test(before: Raw, old: Any, new: Any) -> bool:
        places = [
            each["IPAMConfig"] or {} for each in before["NetworkSettings"]["Networks"].values()
        ]
        return all(not place.get(field) or place[field] != old for place in places)

    return test


CONFIGURED_MAC = "92:d0:c6:0a:29:"
"""How every MAC address begins that a case asks for: any other was made up by the engine."""


def _made_up(before: Raw, old: Any, new: Any) -> bool:
    return not any(str(each).startswith(CONFIGURED_MAC) for each in (old, new))


def _random_port(before: Raw, old: Any, new: Any) -> bool:
    wanted = [
        each["HostPort"]
        for ports in (before["HostConfig"]["PortBindings"] or {}).values()
        for each in ports
    ]
    return old not in wanted


def _anonymous_added(before: Raw, old: Any, new: Any) -> bool:
    """The same binds, and those of the anonymous volumes by name."""
    kept = list(old or ())
    added = [str(each) for each in new[len(kept) :]]
    return new[: len(kept)] == kept and all(
        re.fullmatch(r"[0-9a-f]{64}:/[^:]+", each) for each in added
    )


def _named_now(before: Raw, old: Any, new: Any) -> bool:
    return old is None and re.fullmatch(r"[0-9a-f]{64}", str(new)) is not None


def _of_anonymous(before: Raw, old: Any, new: Any) -> bool:
    return {old, new} <= {"", "z"} and any(
        re.fullmatch(r"[0-9a-f]{64}", m.get("Name", "")) for m in before["Mounts"]
    )


MAY_DIFFER: tuple[tuple[str, str, Test], ...] = (
    (r"Created|State\.(StartedAt|FinishedAt|Pid)", "times, and the process", _always),
    (r"State\.Health\..*|ExecIDs", "the check has begun anew, and may be under way", _always),
    (r"GraphDriver\.Data\..*", "a layer of its own", _always),
    (
        r"NetworkSettings\.(SandboxID|SandboxKey)|NetworkSettings\.(Networks\..*\.)?EndpointID",
        "made anew",
        _always,
    ),
    (
        r"NetworkSettings\.(Networks\..*\.)?IPAddress",
        "an address handed out, not asked for",
        _handed_out("IPv4Address"),
    ),
    (
        r"NetworkSettings\.(Networks\..*\.)?GlobalIPv6Address",
        "an address handed out, not asked for",
        _handed_out("IPv6Address"),
    ),
    (r"NetworkSettings\.(Networks\..*\.)?MacAddress", "made up by the engine", _made_up),
    (r"NetworkSettings\.Ports\..*\.HostPort", "a port of the engine's choice", _random_port),
    (r"HostConfig\.Binds", "anonymous volumes, by name now", _anonymous_added),
    (r"HostConfig\.Mounts\.\d+\.Source", "an anonymous volume, by name now", _named_now),
    (r"Mounts\..*\.Mode", "how a volume bound by name is written down", _of_anonymous),
)
"""What may differ: the field's path, why, and under which condition."""


def differences(before: Raw, after: Raw) -> list[str]:
    """Every difference that is not meant, as a line."""
    old, new = dict(_fields(_neutral(before))), dict(_fields(_neutral(after)))
    found = []
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        if was != now and not any(
            re.fullmatch(p, path) and test(before, was, now) for p, _, test in MAY_DIFFER
        ):
            found.append(f"{path}: {was!r} became {now!r}")
    return found


def _neutral(raw: Raw) -> Any:
    """The id, whole or short, is ID wherever it stands; mounts go by their place."""
    identity = str(raw["Id"])

    def without_id(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(identity, "ID").replace(identity[:12], "ID")
        if isinstance(value, dict):
            return {key: without_id(each) for key, each in value.items()}
        return [without_id(each) for each in value] if isinstance(value, list) else value

    # the engine keeps them as a map
    host = {**raw["HostConfig"], "Links": sorted(raw["HostConfig"]["Links"] or ())}
    mounts = {each["Destination"]: each for each in raw["Mounts"]}
    return without_id({**raw, "HostConfig": host, "Mounts": mounts})


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by their path. Binds and other lists of plain values are leaves; so are empty maps, as
    nothing."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _fields(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for index, each in enumerate(value):
            yield from _fields(each, f"{path}.{index}")
    else:
        yield path, value
