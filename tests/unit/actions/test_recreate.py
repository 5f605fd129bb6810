"""recreate: from which image, and what is removed once the new one took the old one's place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.actions import recreate_missing
from dockmend.actions.action import ActionFailed
from dockmend.actions.container_swap import Undo, remove_old
from dockmend.actions.definition import OWNER_LABELS
from dockmend.actions.recreate import _owner_labels, _source
from dockmend.errors import NotFound
from dockmend.model import Container
from tests.unit.actions.stage import ID, WEB, Script, Stage

MINE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
OLD = "web.dockmend-old-i0abc0abc0abc0ab"
UNDO = Undo(
    step="remove", name="web", old=ID, aside=OLD, temporary="", was_running=True, start=True,
    stop_timeout=10.0, began_at=1000.0, at=1000.0, new="7" * 64,
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
    assert (
        await _source(Stage(engine=moved).context, "recreate web", "web", MINE, "same")
    ).reference == MINE


@pytest.mark.parametrize(
    "names", [{}, {"web": OTHER}], ids=["its name too", "its name is another's"]
)
async def test_an_image_that_is_gone_is_not_replaced_by_what_bears_its_name(
    names: dict[str, str],
) -> None:
    ctx = Stage(engine=engine(**names)).context
    with pytest.raises(
        ActionFailed, match="its image 111111111111 is gone; name another"
    ) as failure:
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


async def test_making_again_takes_no_other_image_if_its_own_and_the_name_are_gone() -> None:
    raw = {"Id": ID, "Image": MINE, "Config": {"Image": "web"}}
    with pytest.raises(
        ActionFailed, match="cannot make web again: its image web is gone"
    ) as failure:
        await recreate_missing._definition(
            Stage(engine=engine()).context, "make web again", raw, None
        )
    assert not failure.value.again


LABELLED = {
    "Id": ID, "Name": "/web", "Image": MINE,
    "Config": {"Image": "web", "Labels": {"mine": "yes", "dockmend.heal": "true"}},
}  # fmt: skip


def of(known: Container) -> Any:
    """A context whose mirror knows this container."""
    return SimpleNamespace(view=SimpleNamespace(container=lambda container_id: known))


def test_whose_labels_are_is_known_from_when_the_image_was_there() -> None:
    known = replace(WEB, labels={"mine": "yes"}, image_labels={"dockmend.heal": "true"})
    assert set(_owner_labels(of(known), "recreate web", LABELLED)) == {"mine"}


def test_without_that_a_container_with_labels_is_not_recreated() -> None:
    unknown = of(
        replace(WEB, image_labels={"mine": "yes", "dockmend.heal": "true"}, image_unknown=True)
    )
    with pytest.raises(
        ActionFailed, match="nobody knows which of its labels are its owner's"
    ) as failure:
        _owner_labels(unknown, "recreate web", LABELLED)
    assert not failure.value.again
    assert _owner_labels(unknown, "recreate web", {"Id": ID, "Config": {"Labels": {}}}) == ()


async def test_what_is_made_again_without_its_image_has_its_owners_labels_alone() -> None:
    ctx = Stage(engine=engine(web=OTHER)).context
    made = await recreate_missing._definition(
        ctx, "make web again", LABELLED | {OWNER_LABELS: ["mine"]}, None
    )
    assert made.body["Labels"] == {"mine": "yes"}
    with pytest.raises(ActionFailed, match="nobody knows which of its labels are its owner's"):
        await recreate_missing._definition(ctx, "make web again", LABELLED, None)
