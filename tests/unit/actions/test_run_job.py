"""run with a path of the host: what is mounted is what was allowed, as far as that can be seen from
outside."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dockmend.actions.action import ActionFailed
from dockmend.actions.run_job import run
from dockmend.model import Container, Image
from dockmend.rules.action_parameters import RunParams
from tests.unit.actions.stage import WEB, Script, Stage

JOB = "j" * 64


class Engine(Script):
    """An engine for one job, which ends at once."""

    async def inspect_image(self, image: str) -> Image:
        return Image("sha256:" + "1" * 64, (image,))

    async def create(self, name: str, body: dict[str, Any], **_: Any) -> str:
        self._called("create", body)
        self.containers[JOB] = Container(JOB, "job")
        return JOB

    async def wait(self, container: str, timeout: float) -> int:
        self._called("wait")
        return 0

    async def remove(self, container: str, force: bool = False, volumes: bool = False) -> None:
        self._called("remove")

    @asynccontextmanager
    async def logs(self, container: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async def nothing() -> AsyncIterator[bytes]:
            return
            yield

        yield nothing()


@pytest.mark.parametrize("when", ["never", "create", "start"])
async def test_a_path_that_is_bent_before_it_is_mounted_is_not_used(
    tmp_path: Path, when: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "in").mkdir(parents=True)
    outside.mkdir()
    engine = Engine()

    def bend() -> None:
        (root / "in").rename(root / "was")
        (root / "in").symlink_to(outside)

    engine.on[when] = bend
    stage = Stage(engine=engine)
    ctx = dataclasses.replace(stage.context, bind_roots=(root,))
    params = RunParams.model_validate({"image": "tools:1", "volumes": [f"{root}/in:/in"]})
    if when == "never":
        assert (await run(ctx, params, WEB)).detail == "tools:1: exit code 0"
        return
    with pytest.raises(ActionFailed, match=r"outside|replaced by a link"):
        await run(ctx, params, WEB)
    assert engine.did().count("start") == (1 if when == "start" else 0)
    assert engine.did()[-1] == "remove"
    assert "wait" not in engine.did()


async def test_a_job_is_not_run_from_another_image_than_the_one_that_is_named() -> None:
    """The engine would take one whose id begins with the name of an image that is gone."""
    engine = Engine()
    engine.inspect_image = Script().inspect_image  # type: ignore[method-assign]
    with pytest.raises(ActionFailed, match="No such image: abc123"):
        await run(Stage(engine=engine).context, RunParams.model_validate({"image": "abc123"}), WEB)
    assert not {"create", "start"} & set(engine.did())
