"""What a definition refers to is resolved, and refused, before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.actions.action import ActionFailed
from dockmend.actions.definition_references import resolve
from tests.unit.actions.stage import WEB, Stage

OLD, NEW = "1" * 64, "2" * 64


def stage(**new: Any) -> Stage:
    """`db` was replaced: OLD is gone, and NEW bears its name."""
    one = Stage()
    found = replace(WEB, id=NEW, name="db", **new)
    one.engine.containers = {NEW: found, "db": found}
    one.identities.named(OLD, "db")
    return one


async def names(one: Stage, host: dict[str, Any], *, start: bool = True) -> dict[str, str]:
    return dict(
        (await resolve(one.context, "recreate web", {"HostConfig": host}, start=start)).renamed
    )


@pytest.mark.parametrize("key", ["NetworkMode", "PidMode", "IpcMode"])
async def test_a_namespace_of_one_that_was_replaced_is_that_of_what_took_its_place(key: str):
    one = stage()
    assert await names(one, {key: f"container:{OLD}"}) == {OLD: NEW}
    assert one.identities.in_its_place(OLD) == [NEW]  # nobody need guess it by the name again
    assert one.identities.heir_of(OLD) == OLD  # dockmend did not put it there


async def test_every_reference_is_resolved_and_nothing_is_done():
    one = stage()
    host = {
        "Links": ["/db:/web/data"],
        "VolumesFrom": [f"{OLD}:ro", "gone"],
        "NetworkMode": "bridge",
    }
    found = await resolve(one.context, "recreate web", {"HostConfig": host}, start=True)
    assert found.renamed == {"db": "db", OLD: NEW}
    assert list(found.gone) == ["gone"]
    assert one.engine.did() == []


@pytest.mark.parametrize(
    ("reference", "sentence", "again"),
    [
        (
            f"container:{'3' * 64}",
            "333333333333, is gone; nothing tells what took its place",
            False,
        ),
        (f"container:{OLD}", "db, is gone; make that one again first", True),
    ],
)
async def test_one_that_nobody_is_meant_by_is_refused(reference: str, sentence: str, again: bool):
    one = stage()
    one.engine.containers.clear()
    with pytest.raises(ActionFailed) as failure:
        await names(one, {"NetworkMode": reference})
    assert sentence in str(failure.value)
    assert failure.value.again is again


@pytest.mark.parametrize("host", [{"IpcMode": f"container:{OLD}"}, {"Links": ["/db:/web/data"]}])
async def test_what_must_run_for_it_to_start_is_asked_only_where_it_is_to(host: dict[str, Any]):
    one = stage(state="exited")
    with pytest.raises(ActionFailed, match="db, does not run; start that one first") as failure:
        await names(one, host)
    assert failure.value.again
    assert await names(one, host, start=False)
