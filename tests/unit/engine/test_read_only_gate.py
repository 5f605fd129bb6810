"""What changes the engine passes only where it may."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from dockmend.engine.client import DockerEngine
from dockmend.engine.engine_api import Engine
from dockmend.engine.read_only_gate import LOOKS, OF_ONE, ActingSwitch, gated
from dockmend.errors import Permanent

CHANGES = {
    "restart", "start", "stop", "kill", "pause", "unpause", "remove", "rename", "update", "create",
    "exec_create", "exec_start", "connect_network", "disconnect_network", "create_network",
    "create_volume", "remove_volume", "commit", "remove_image", "tag_image", "load_empty_image",
    "put_archive",
}  # fmt: skip


class Records:
    """An engine that counts what reaches it."""

    url = "unix:///nowhere"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **named: Any) -> None:
            self.calls.append(name)

        return call


def test_of_every_call_of_the_protocol_it_is_known_whether_it_changes_something():
    calls = {name for name, _ in inspect.getmembers(Engine) if not name.startswith("_")}
    assert calls == CHANGES | (LOOKS & calls)
    assert not CHANGES & LOOKS
    assert OF_ONE < CHANGES
    assert all(hasattr(DockerEngine, name) for name in CHANGES)


@pytest.mark.parametrize("name", sorted(CHANGES))
async def test_a_dry_run_changes_nothing(name: str):
    engine = Records()
    through = gated(engine, ActingSwitch(why_not="this is a dry run"))
    with pytest.raises(Permanent, match="nothing is changed on the engine: this is a dry run"):
        await getattr(through, name)("web")
    assert engine.calls == []
    await through.inspect("web")
    assert through.url == engine.url
    assert engine.calls == ["inspect"]


@pytest.mark.parametrize("name", sorted(CHANGES))
async def test_one_that_is_bound_to_a_container_changes_no_other(name: str):
    engine = Records()
    through = gated(engine, ActingSwitch(only="c1"))
    with pytest.raises(Permanent, match="may act on c1 only"):
        await getattr(through, name)("web")
    if name in OF_ONE:
        await getattr(through, name)("c1")
    assert engine.calls == [name] * (name in OF_ONE)


@pytest.mark.parametrize("name", sorted(CHANGES))
async def test_else_everything_passes(name: str):
    engine = Records()
    await getattr(gated(engine, ActingSwitch()), name)("web")
    assert engine.calls == [name]
