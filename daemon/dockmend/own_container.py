"""Whether dockmend runs in a container, and in which: nothing is ever done to that one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_ID = re.compile(r"/(?:[a-z]+-)?containers/([0-9a-f]{64})/(?:userdata/)?[^/]+")
"""The folder of a container: Docker's, and Podman's (`overlay-containers/ID/userdata`)."""
_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that an engine puts into each of its containers: Docker, Podman."""
_MADE = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"})


def own_containers(mountinfo: Path = Path("/proc/self/mountinfo")) -> frozenset[str]:
    """Ids found in the mounts the engine makes for a container (its hostname, hosts and
    resolv.conf).

    Only by where they are mounted: on the host itself the shared memory of every container made
    with `--ipc shareable` is a mount below the engine's folder of that container.
    """
    try:
        lines = mountinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    mounts = [fields for line in lines if len(fields := line.split()) > 4]
    found = [_ID.search(root) for _, _, _, root, point, *_ in mounts if point in _MADE]
    return frozenset(match[1] for match in found if match)


def in_container(marks: Iterable[Path] = _MARKS) -> bool:
    """Whether it runs in a container at all, also where its id cannot be found out."""
    return bool(own_containers()) or any(mark.exists() for mark in marks)
