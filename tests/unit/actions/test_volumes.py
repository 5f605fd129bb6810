"""snapshot_volume: what was held still is let go, again and again if need be."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.actions import volumes
from dockmend.actions.action import ActionFailed
from dockmend.actions.volume_selection import select
from dockmend.errors import EngineAway, EngineError, NotFound, Permanent, Temporary
from dockmend.model import Container, Mount, Network
from tests.unit.actions.stage import ID, WEB, Stage


class Pausing(Stage):
    """A stage whose engine really pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.engine.on = {
            "pause": lambda: self.engine.set(state="paused"),
        }

    def state(self) -> str:
        return self.engine.containers[ID].state


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(volumes, "UNPAUSE_WAIT", 0.0)


async def test_let_go_until_the_engine_does_it():
    stage = Pausing()
    stage.engine.trouble["unpause"] = [Temporary("busy", 500), Temporary("no answer"), None]
    async with volumes._still(stage.context, [WEB]):
        assert stage.state() == "paused"
    assert stage.engine.did() == ["pause", "unpause", "unpause", "unpause"]


async def test_one_that_stays_paused_keeps_the_record_open():
    """EngineAway is what makes the runner leave the intent to be settled."""
    stage = Pausing()
    stage.engine.trouble["unpause"] = Temporary("busy", 500)
    with pytest.raises(EngineAway, match="web is still paused: busy"):
        async with volumes._still(stage.context, [WEB]):
            pass
    assert stage.engine.did("pause") == ["unpause"] * volumes.UNPAUSE_TRIES


async def test_let_go_whatever_went_wrong_in_between():
    stage = Pausing()
    with pytest.raises(ZeroDivisionError):
        async with volumes._still(stage.context, [WEB]):
            raise ZeroDivisionError
    assert stage.engine.did() == ["pause", "unpause"]


@pytest.mark.parametrize(
    "gone", [NotFound("no such container", 404), Permanent("is not paused", 409)]
)
async def test_nothing_more_is_needed_where_somebody_else_ended_it(gone: Any):
    stage = Pausing()
    stage.engine.trouble["unpause"] = gone
    async with volumes._still(stage.context, [WEB]):
        pass
    assert stage.engine.did() == ["pause", "unpause"]


@pytest.mark.parametrize(
    "said", [Permanent("already paused", 409), Temporary("not now", 409), Temporary("no", 500)]
)
async def test_one_that_a_person_paused_in_between_stays_paused(said: EngineError):
    """An engine that refuses has not done it: the pause is somebody else's (campaign, seed
    2135)."""
    stage = Pausing()
    stage.engine.set(state="paused")
    stage.engine.trouble["pause"] = said
    async with volumes._still(stage.context, [WEB]):
        pass
    assert stage.engine.did() == ["pause"]


@pytest.mark.parametrize(
    "error",
    [
        Temporary("not understood"),
        EngineAway("the connection was cut"),
        Temporary("a proxy's gateway time-out", 504),
    ],
)
async def test_one_that_was_paused_though_the_answer_was_lost_is_let_go(error: EngineError):
    """Else it would stay paused, and be taken for a person's ever after (campaign, seed 2113)."""
    stage = Pausing()

    def lost() -> None:
        stage.engine.set(state="paused")
        raise error

    stage.engine.on["pause"] = lost
    async with volumes._still(stage.context, [WEB]):
        assert stage.state() == "paused"
    assert stage.engine.did() == ["pause", "unpause"]


async def test_an_engine_that_will_not_pause_it_makes_no_snapshot():
    stage = Pausing()
    stage.engine.on = {}
    stage.engine.trouble["pause"] = Temporary("cgroup frozen", 500)
    with pytest.raises(ActionFailed, match="cannot hold web still: cgroup frozen"):
        async with volumes._still(stage.context, [WEB]):
            pytest.fail("it was not held still")
    assert stage.engine.did() == ["pause"]


@pytest.mark.parametrize(
    ("mounts", "wanted", "said"),
    [
        ((), None, "web has no volumes; a bind mount must be named"),
        (
            (Mount("bind", "", "/srv", "/srv"),),
            None,
            "web has no volumes; a bind mount must be named",
        ),
        ((Mount("bind", "", "/srv", "/srv"),), ["/srv"], "bind_roots allows none"),
        ((Mount("tmpfs", "", "", "/scratch"),), ["/scratch"], "/scratch is a tmpfs"),
        (
            (Mount("volume", "data", "/x", "/data"),),
            ["date"],
            "web has no volume 'date'; it has: data",
        ),
        (
            (Mount("volume", "plugin/../../x", "/x", "/data"),),
            None,
            "has a name that cannot be a folder's",
        ),
    ],
)
async def test_what_cannot_be_selected(
    mounts: tuple[Mount, ...], wanted: list[str] | None, said: str
):
    with pytest.raises(ActionFailed, match=said) as failed:
        await select(Stage().context, wanted, Container(id=ID, name="web", mounts=mounts))
    assert not failed.value.again


async def test_a_network_has_no_volumes():
    with pytest.raises(ActionFailed, match="lane is a network"):
        await select(Stage().context, None, Network(id="n", name="lane"))


async def test_a_volume_mounted_twice_is_read_once():
    mounts = (Mount("volume", "data", "/v/data", "/a"), Mount("volume", "data", "/v/data", "/b"))
    selection = await select(
        Stage().context, ["data", "/a", "*"], Container(id=ID, name="web", mounts=mounts)
    )
    assert [source.name for source in selection.sources] == ["data"]
    assert selection.covers("data", "")
    assert selection.covers("", "/v/data/below")
    assert selection.covers("", "/v")
    assert not selection.covers("other", "/v/database")
