"""A fault of dockmend's own about one container keeps it from no other, wherever it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dockmend.mirror import Mirror, conditions, runs
from dockmend.mirror.deadlines import Deadlines
from dockmend.pipeline import error_isolation
from dockmend.pipeline.dispatcher import Dispatcher
from dockmend.pipeline.error_isolation import ErrorIsolation
from tests.fakes.engine import FakeEngine
from tests.unit.test_daemon import running, settings, until


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    one = await FakeEngine(tmp_path).start()
    yield one
    await one.stop()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(
        error_isolation.log, "error", lambda event, **about: found.append(about["about"])
    )
    return found


def odd(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
    """From now on that function trips over the container `odd`."""
    plain = getattr(where, name)

    def trips(first: Any, *rest: Any, **given: Any) -> Any:
        if "odd" in repr((first, *rest)):
            raise ValueError("there is something odd")
        return plain(first, *rest, **given)

    monkeypatch.setattr(where, name, trips)


@pytest.mark.parametrize(
    ("where", "name"),
    [(runs, "judge"), (runs, "look_ends"), (Mirror, "apply"), (conditions, "networks"),
        (Dispatcher, "offer")],
    ids=["when its cause is due", "when it is looked at", "when an event comes",
        "when it is listed", "by a rule"],
)  # fmt: skip
async def test_the_other_containers_are_followed(
    fake: FakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
    where: Any,
    name: str,
):
    fake.add_container("odd")
    fake.add_container("web", health=True)
    began = fake.container("web")["State"]["StartedAt"]
    async with running(fake, settings(tmp_path)) as one:
        odd(monkeypatch, where, name)
        fake.crash("odd", 7)
        fake.emit(fake.container("odd"), "update")
        fake.log.end_streams()
        await until(lambda: told, "dockmend trips over it")
        fake.set_health("web", "unhealthy")
        await until(
            lambda: fake.container("web")["State"]["StartedAt"] != began, "the other one is healed"
        )
        await until(lambda: one.watch.up, "the stream is taken again")


def test_each_fault_is_told_once(told: list[str]):
    one = ErrorIsolation()
    for _ in range(5):
        assert one.of("c" * 64, ValueError("odd")) == ()
        one.of("d" * 64, ValueError("odd"))
    assert told == ["c" * 12, "d" * 12]
    for number in range(5000):
        one.of("e" * 64, ValueError(str(number)))
    assert len(told) == error_isolation.TOLD_MOST


def test_what_else_is_due_comes_on_time():
    due, seen = Deadlines(), list[str]()

    def trips(now: float) -> list[Any]:
        raise ValueError("odd")

    due.later(1.0, trips)

    def comes(now: float) -> list[Any]:
        seen.append("next")
        return []

    due.later(2.0, comes)
    with pytest.raises(ValueError, match="odd"):
        due.tick(3.0)
    due.later(0.5, trips)
    due.on_fault = ErrorIsolation().of
    assert due.tick(3.0) == []
    assert seen == ["next"]
