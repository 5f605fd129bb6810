"""Volumes' contents in the fake: tar entries by path, written and read as the engine's archive
calls do."""

from __future__ import annotations

import io
import tarfile
from typing import Any

Entries = dict[str, tuple[tarfile.TarInfo, bytes]]


def pack(entries: Entries, root: str) -> bytes:
    """A tar of everything under names that begin with `root`, the root itself first."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        top = entries.get("", (None, b""))[0] or tarfile.TarInfo()
        top.name, top.type, top.mode = (
            f"{root}/",
            tarfile.DIRTYPE,
            top.mode if "" in entries else 0o755,
        )
        tar.addfile(top)
        for name in sorted(entries):
            if name:
                told, data = entries[name]
                told.name = f"{root}/{name}"
                tar.addfile(told, io.BytesIO(data))
    return stream.getvalue()


def unpack(entries: Entries, data: bytes, prefix: str) -> None:
    """Takes what lies under `prefix` out of a tar; ValueError for one that is cut short."""
    if not data.endswith(bytes(1024)):
        raise ValueError("unexpected EOF")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            name = member.name.strip("/").removeprefix("./")
            if name != prefix and not name.startswith(f"{prefix}/"):
                continue
            file = tar.extractfile(member)
            entries[name.removeprefix(prefix).strip("/")] = (member, file.read() if file else b"")


def entries_of(
    archives: dict[str, dict[str, Any]], container: dict[str, Any], path: str
) -> tuple[Entries, str] | None:
    """The volume mounted at `path` of a container and the name of its root in an archive; None
    where there is none."""
    for mount in container["Mounts"]:
        if mount["Destination"].rstrip("/") == path.rstrip("/"):
            return archives[mount["Name"]], mount["Destination"].strip("/").rpartition("/")[2]
    return None
