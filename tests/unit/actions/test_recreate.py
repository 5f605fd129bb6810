"""recreate: from which image, and what is removed once the new one took the old one's place."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.actions import recreate_missing
from dockmend.actions.action import ActionFailed
from dockmend.actions.container_swap import Undo, remove_old
from dockmend.actions.recreate import _source
from dockmend.errors import NotFound
from tests.unit.actions.stage import ID, WEB, Script, Stage

MINE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
OLD = "web.dockmend-old-i0abc0abc0abc0ab"
UNDO = Undo(
    step="remove", name="web", old=ID, aside=OLD, temporary="", was_running=True, start=True, stop_timeout=10.0,
    began_at=1000.0, at=1000.0, new="7" * 64,
)  # fmt: skip


class Engine(Script):
    """`images`: what each name, or id, leads to."""

    names: dict[str, str]

    async def inspect_image_raw(self, image: str) -> dict[str, Any]:
        if image not in self.names:
            raise NotFound(f"No such image: {image}", 404)
        return {"Id": self.names[image]}

    async def remove(self, container: str, force: bool = False, volumes: bool = False) -> None:
        self._called("remove", container)


def engine(**names: str) -> Engine:
    one = Engine()
    one.names = {**{each: each for each in names.values()}, **names}
    return one


async def test_from_the_same_image_means_the_very_one_that_it_has() -> None:
    ctx = Stage(engine=engine(web=MINE)).context
    assert (await _source(ctx, "recreate web", "web", MINE, "same")).reference == "web"
    moved = engine(web=OTHER)
    moved.names[MINE] = MINE
    assert (await _source(Stage(engine=moved).context, "recreate web", "web", MINE, "same")).reference == MINE


@pytest.mark.parametrize("names", [{}, {"web": OTHER}], ids=["its name too", "its name is another's"])
async def test_an_image_that_is_gone_is_not_replaced_by_what_bears_its_name(names: dict[str, str]) -> None:
    ctx = Stage(engine=engine(**names)).context
    with pytest.raises(ActionFailed, match="its image 111111111111 is gone; name another") as failure:
        await _source(ctx, "recreate web", "web", MINE, "same")
    assert not failure.value.again


async def test_the_old_one_is_looked_at_before_it_is_removed() -> None:
    """Once it is gone its id, or the beginning of it, may be the name of a stranger's."""
    gone, there = engine(), engine()
    there.containers[ID] = WEB
    gone.containers.pop(ID, None)
    for one, did in ((gone, []), (there, ["remove"])):
        await remove_old(Stage(engine=one).context, UNDO)
        assert one.did() == did


async def test_what_is_made_again_is_not_made_of_another_image_if_its_own_and_the_name_are_gone() -> None:
    raw = {"Id": ID, "Image": MINE, "Config": {"Image": "web"}}
    with pytest.raises(ActionFailed, match="cannot make web again: its image web is gone") as failure:
        await recreate_missing._definition(Stage(engine=engine()).context, "make web again", raw, None)
    assert not failure.value.again
