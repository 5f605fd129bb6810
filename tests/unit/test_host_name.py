"""What the host is called: a person's name for it, else the system's; in a container of no name,
the engine's."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dockmend.app import host_name
from dockmend.app.host_name import KEPT, found, keep, kept
from dockmend.engine.engine_api import EngineInfo
from dockmend.errors import EngineAway
from dockmend.settings import Paths, Settings

ID = "0123456789ab"


class Engine:
    """Says its host's name, or nothing."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.asked = 0

    async def connect(self) -> EngineInfo:
        self.asked += 1
        if self.name is None:
            raise EngineAway("no")
        return EngineInfo("id", self.name, "1", "1.45")


def settings(state: Path, host: str | None = None) -> Settings:
    return Settings(paths=Paths(state=state), host=host)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whether it runs in a container, and how the system is called there."""

    def be(name: str, *, container: bool = True) -> None:
        monkeypatch.setattr(host_name, "in_container", lambda: container)
        monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=name))

    return be


@pytest.mark.parametrize(
    ("chosen", "system", "container", "named", "asked"),
    [
        ("mine", ID, True, "mine", 0),
        (None, "nas", True, "nas", 0),  # `hostname:` of the container, or the host's network
        (None, ID, False, ID, 0),  # a host may be called anything
        (None, ID, True, "engine", 1),
    ],
)
async def test_a_person_s_name_wins(
    chosen, system, container, named, asked, tmp_path: Path, inside
):
    inside(system, container=container)
    engine: Any = Engine("engine")
    assert await found(settings(tmp_path, chosen), engine) == named
    assert engine.asked == asked


async def test_after_a_reboot_the_name_is_known_before_the_engine_answers(tmp_path: Path, inside):
    inside(ID)
    away, there = Engine(None), Engine("nas")
    assert await found(settings(tmp_path), away) == ID  # type: ignore[arg-type]
    assert await found(settings(tmp_path), there) == "nas"  # type: ignore[arg-type]
    away = Engine(None)
    assert await found(settings(tmp_path), away) == "nas"  # type: ignore[arg-type]
    assert away.asked == 0
    keep(tmp_path, "other")  # as the engine says later: for the next start
    assert host_name.host_name(settings(tmp_path)) == "other"


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-x", "a b", "x\n", "ä", "x" * 254, "#", "+"])
async def test_what_is_no_name_of_a_host_goes_nowhere(name: str, tmp_path: Path, inside):
    inside(ID)
    assert await found(settings(tmp_path), Engine(name)) == ID  # type: ignore[arg-type]
    assert not (tmp_path / KEPT).exists()
    (tmp_path / KEPT).write_text(f"{name}\n\n{name}")
    assert kept(tmp_path) is None


def test_a_link_is_not_followed(tmp_path: Path, inside):
    inside(ID)
    (tmp_path / "elsewhere").write_text("other\n")
    (tmp_path / KEPT).symlink_to(tmp_path / "elsewhere")
    assert kept(tmp_path) is None
    keep(tmp_path, "nas")
    assert (kept(tmp_path), (tmp_path / "elsewhere").read_text()) == ("nas", "other\n")


def test_elsewhere_nothing_is_kept(tmp_path: Path, inside):
    inside("nas", container=True)
    keep(tmp_path, "engine")
    assert not (tmp_path / KEPT).exists()
