"""The log tells of another dockmend that is seen on the engine: two that do not share a lock both
act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dockmend.model import HELPER_LABEL
from tests.fakes.engine import FakeEngine
from tests.unit.test_daemon import running, settings, until

LOOKS = "a container looks like another dockmend on this engine"
MADE = "a container was made for another dockmend"


def told(lines: list[Any], what: str) -> list[Any]:
    return [each for each in lines if each["event"].startswith(what)]


@pytest.mark.parametrize("change", [{}, {"dry_run": True}, {"only": "1" * 64}])
async def test_the_log_names_containers_that_look_like_dockmend(
    tmp_path: Path, change: dict[str, Any]
):
    fake = await FakeEngine(tmp_path).start()
    fake.add_image("dockmend:latest")
    fake.add_container("other", image="dockmend:latest")
    with capture_logs() as lines:
        async with running(fake, settings(tmp_path).model_copy(update=change)):
            fake.add_container("web")
            fake.add_container("late", image="dockmend:latest")
            if not change:
                await until(lambda: len(told(lines, LOOKS)) == 2, "both were told")
    assert [each["containers"] for each in told(lines, LOOKS)] == (
        [] if change else [["other"], ["late"]]
    )
    await fake.stop()


async def test_the_log_tells_once_of_a_dockmend_that_made_a_helper_on_this_engine(tmp_path: Path):
    fake = await FakeEngine(tmp_path).start()
    # it may be of one that is no more
    fake.add_container("before", labels={HELPER_LABEL: "abc/i0"})
    with capture_logs() as lines:
        async with running(fake, settings(tmp_path)) as daemon:
            fake.add_container("own", labels={HELPER_LABEL: f"{daemon.own.objects.instance}/i1"})
            for number in range(2):
                fake.add_container(f"helper{number}", labels={HELPER_LABEL: f"abc/i{number}"})
            await until(lambda: daemon.mirror.container_named("helper1"), "they are known")
    (line,) = told(lines, MADE)
    assert line["container"] in ("helper0", "helper1")  # whichever is looked at first
    await fake.stop()
