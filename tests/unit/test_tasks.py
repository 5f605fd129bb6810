"""What must run for ever does: it is begun anew where it ends, and one that does nothing else takes
the daemon down."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from dockmend.app import supervision


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between, which take no time here."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(supervision, "asyncio", SimpleNamespace(sleep=sleep))
    return waited


@pytest.mark.parametrize("fault", [None, ValueError("a fault")], ids=["it returns", "it raises"])
async def test_a_part_that_ends_is_begun_anew_and_not_for_ever(
    waits: list[float], fault: Exception | None
):
    begun: list[int] = []

    async def part() -> None:
        begun.append(1)
        if fault is not None:
            raise fault

    with pytest.raises(
        supervision.PartFailed,
        match=f"^mqtt failed 5 times within 60 s: .*{fault or 'it returned'}",
    ):
        await supervision.forever("mqtt", part, lambda: 0.0)
    assert len(begun) == supervision.TOO_OFTEN
    assert waits == sorted(waits)


async def test_a_part_that_ends_seldom_is_begun_anew_for_ever(waits: list[float]):
    now = [0.0]

    async def part() -> None:
        now[0] += 20.0
        if now[0] > 2000.0:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await supervision.forever("mqtt", part, lambda: now[0])
    assert len(waits) == 100
