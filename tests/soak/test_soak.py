"""The soak's judge sees what it is there to see, and a few seconds of its load reach dockmend as
what they are."""

from __future__ import annotations

import pytest

from tests.lab import Daemon, PrivateEngine, eventually

from . import mix
from .sampling import Sample, judge, sample

MINUTES = 60


def run(resident: float = 0.0, files: float = 0.0, tasks: float = 0.0) -> list[Sample]:
    """An hour of samples that grow by so much an hour, on top of the first ten minutes' filling of
    caches."""
    rows = []
    for index in range(MINUTES * 6 + 1):
        hours, filling = index / 360, min(index, 60) / 60 * 20.0
        rows.append(
            Sample(index * 10.0, 60 + filling + resident * hours, int(30 + files * hours),
                int(15 + tasks * hours),
                   7, 0.0, 0, 0)
        )  # fmt: skip
    return rows


def test_what_fills_in_the_first_ten_minutes_is_no_growth():
    assert judge(run(), 600.0).passed
    assert judge(run(), 600.0).growth == 0.0


@pytest.mark.parametrize("leak", [{"resident": 7.0}, {"files": 6.0}, {"tasks": 6.0}])
def test_a_leak_of_memory_files_or_tasks_fails(leak: dict[str, float]):
    assert not judge(run(**leak), 600.0).passed


def test_a_peak_fails_though_the_end_is_low_again():
    rows = run()
    rows[200] = Sample(2000.0, 90.0, 30, 15, 7, 0.0, 0, 0)
    assert not judge(rows, 600.0).passed


def test_too_short_a_run_is_no_verdict():
    with pytest.raises(ValueError, match="1 samples after 600 s"):
        judge(run()[:61], 600.0)


def test_the_load_reaches_dockmend(docker: PrivateEngine):
    load = mix.Mix(docker, rate=100)
    load.make_fleet()
    daemon = Daemon(docker.url, rules={"soak.yaml": mix.RULES}, config=mix.CONFIG)
    try:
        daemon.start()
        load.start()
        seen: list[Sample] = []

        def reached() -> bool:
            seen.append(sample(daemon, 0.0))
            return seen[-1].events >= 500 and seen[-1].heals >= 2

        eventually(reached, 60, every=0.5, what="500 events and two heals")
        assert seen[-1].tasks >= 5
        assert seen[-1].files >= 10
    finally:
        load.stop()
        daemon.close()
    assert load.failed == []
    assert load.done["volume create"] > 50
