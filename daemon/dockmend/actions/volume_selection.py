"""Which volumes a snapshot is of: from what a rule names and what a container has mounted.

Pure but for the resolving of bind mounts' paths, which must lie below the settings' `bind_roots`
after every symbolic link is followed: a container that can write a link must not make dockmend copy
the host.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dockmend.actions.action import ActionContext, ActionFailed
from dockmend.model import Container, Mount, Object, Volume
from dockmend.rules.patterns import parse_pattern
from dockmend.snapshots.helper_container import HelperSource
from dockmend.snapshots.manifest import VOLUME_NAME


@dataclass(frozen=True, slots=True)
class VolumeSelection:
    """`places` are the folders on the engine's host where the sources lie, as far as they are
    known."""

    sources: tuple[HelperSource, ...]
    places: tuple[str, ...]

    def covers(self, volume: str, place: str) -> bool:
        """True if a mount of this volume (or "") from this folder shows any of what is read."""
        if volume and any(
            source.kind == "volume" and source.name == volume for source in self.sources
        ):
            return True
        return bool(place) and any(
            _within(place, own) or _within(own, place) for own in self.places
        )

    def touches(self, container: Container) -> bool:
        return any(self.covers(mount.name, mount.source) for mount in container.mounts)


async def select(
    ctx: ActionContext, wanted: Sequence[str] | None, subject: Object
) -> VolumeSelection:
    """What to snapshot. `wanted`: names, patterns or paths (of a mount, inside or on the host) as
    the rule gives them.

    None means the container's named and anonymous volumes; a bind mount must be named. Raises
    ActionFailed.
    """
    if isinstance(subject, Volume):
        mounts: tuple[Mount, ...] = (Mount("volume", subject.name, subject.mountpoint, ""),)
    elif isinstance(subject, Container):
        mounts = subject.mounts
    else:
        raise ActionFailed(f"{subject.name} is a network: it has no volumes", again=False)
    if wanted is None:
        chosen = [mount for mount in mounts if mount.kind == "volume"]
        if not chosen:
            raise ActionFailed(
                f"{subject.name} has no volumes; a bind mount must be named in `volumes`",
                again=False,
            )
    else:
        chosen = [
            mount for text in wanted for mount in _named(ctx.render(text), mounts, subject.name)
        ]
    sources = {_source(ctx, mount): mount.source for mount in chosen}
    return VolumeSelection(tuple(sources), _places(sources.values()))


def _places(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(os.path.normpath(folder) for folder in folders if folder)


def still_inside(ctx: ActionContext, source: HelperSource) -> None:
    """After reading: a bind mount whose path was bent meanwhile is thrown away. Raises
    ActionFailed."""
    if source.kind == "bind":
        below_roots(ctx, source.path)


def _named(text: str, mounts: Sequence[Mount], name: str) -> list[Mount]:
    path = os.path.normpath(text) if text.startswith("/") else None
    by_path = [
        mount
        for mount in mounts
        if path and path in (os.path.normpath(mount.source or "."), mount.destination)
    ]
    if by_path:
        return by_path
    test = parse_pattern(text).test
    found = [mount for mount in mounts if mount.kind == "volume" and test(mount.name)]
    if not found:
        has = ", ".join(sorted(mount.name or mount.source for mount in mounts)) or "none"
        raise ActionFailed(f"{name} has no volume {text!r}; it has: {has}", again=False)
    return found


def _source(ctx: ActionContext, mount: Mount) -> HelperSource:
    if mount.kind == "volume":
        if not VOLUME_NAME.match(mount.name):
            raise ActionFailed(
                f"the volume {mount.name[:100]!r} has a name that cannot be a folder's", again=False
            )
        return HelperSource("volume", mount.name)
    if mount.kind != "bind":
        raise ActionFailed(
            f"{mount.destination} is a {mount.kind}: only volumes and bind mounts have snapshots",
            again=False,
        )
    path = below_roots(ctx, mount.source)
    return HelperSource("bind", _bind_name(path), path)


def below_roots(ctx: ActionContext, path: str) -> str:
    if not ctx.bind_roots:
        raise ActionFailed(
            f"{path} is a bind mount, and the settings' snapshots.bind_roots allows none",
            again=False,
        )
    try:
        real = Path(path).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ActionFailed(
            f"{path} cannot be checked from here, so it is not read: {error}", again=False
        ) from error
    if not any(_within(str(real), str(root.resolve())) for root in ctx.bind_roots):
        raise ActionFailed(
            f"{path} is outside the settings' snapshots.bind_roots (it is {real})", again=False
        )
    return str(real)


def _bind_name(path: str) -> str:
    """A folder's name for a path: its last part for a person, a digest for the rest."""
    last = re.sub(r"[^a-zA-Z0-9_.-]", "-", Path(path).name)[:60]
    return f"bind-{last}-{hashlib.sha256(path.encode()).hexdigest()[:12]}"


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
