"""Which Docker Engine the tests run on: the installed one, or the next Debian release's, with
either image store.

The environment variable LAB_ENGINE says it for a whole run, and so for every program that the tests
start. pytest's option `--engine` sets it. What differs between the engines is in docs/engines.md.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

VARIABLE = "LAB_ENGINE"
UNPACKED = Path("/var/cache/dockmend-lab/next/root")
"""Where tests/lab/next_engine.sh unpacks Debian's next release's packages."""


class EngineKind(StrEnum):
    """The kinds of Docker Engine that dockmend is tested on."""

    INSTALLED = "installed"
    NEXT = "next"
    NEXT_CONTAINERD = "next-containerd"
    """The same as NEXT with the containerd image store, which is the default of new installations
    of Engine 29."""

    @classmethod
    def chosen(cls) -> EngineKind:
        """The kind that this run of the tests asks for; ValueError if LAB_ENGINE names none."""
        return cls(os.environ.get(VARIABLE, cls.INSTALLED))

    def choose(self) -> None:
        """Let this process, and the programs that it starts, use this kind."""
        os.environ[VARIABLE] = self

    @property
    def search_path(self) -> str:
        """The PATH on which dockerd, containerd, runc and docker are of this kind."""
        path = os.environ.get("PATH", os.defpath)
        if self is EngineKind.INSTALLED:
            return path
        return os.pathsep.join([str(UNPACKED / "usr/sbin"), str(UNPACKED / "usr/bin"), path])

    @property
    def options(self) -> tuple[str, ...]:
        """Options of dockerd that make an engine of this kind."""
        return (
            ("--feature", "containerd-snapshotter=true")
            if self is EngineKind.NEXT_CONTAINERD
            else ()
        )

    @property
    def lacking(self) -> str:
        """What a person has to do first if this kind is not on this machine; empty if it is."""
        if self is EngineKind.INSTALLED or (UNPACKED / "usr/sbin/dockerd").exists():
            return ""
        return "the next release's engine is not unpacked: run tests/lab/next_engine.sh"
