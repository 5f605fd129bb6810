from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from dockmend.rules import time_zones
from dockmend.rules.language_error import LanguageError
from dockmend.rules.time_windows import compile_windows

NOON_IN_SUMMER = 1_782_900_000.0  # 2026-07-01 10:00 UTC


@pytest.fixture(autouse=True)
def _fresh_zone():
    time_zones.local_zone.cache_clear()
    yield
    time_zones.local_zone.cache_clear()


@pytest.mark.parametrize(
    ("name", "hour"), [("Europe/Berlin", 12), (":Asia/Tokyo", 19), ("UTC", 10)]
)
def test_without_a_zone_the_hosts_own_counts(monkeypatch, name, hour):
    monkeypatch.setenv("TZ", name)
    assert time_zones.wall_clock(NOON_IN_SUMMER, None).hour == hour
    test = compile_windows(f"{hour:02}:00-{hour:02}:30").hold
    assert test(NOON_IN_SUMMER)
    assert not test(NOON_IN_SUMMER + 1800)


def test_without_tz_the_hosts_file_counts(monkeypatch):
    monkeypatch.delenv("TZ", raising=False)
    assert time_zones.wall_clock(NOON_IN_SUMMER, None).utcoffset() is not None


def test_a_zone_nobody_can_read_falls_back_to_the_offset_of_now(monkeypatch):
    monkeypatch.setenv("TZ", "/no/such/zone")
    offset = time_zones.wall_clock(NOON_IN_SUMMER, None).utcoffset()
    assert offset is not None
    assert abs(offset) <= timedelta(hours=14)


def test_zones_by_name():
    assert time_zones.zone("UTC") is UTC
    with pytest.raises(LanguageError, match="did you mean"):
        time_zones.zone("Europe/Berln", 3)


def test_a_host_without_a_zone_database_says_so(monkeypatch):
    monkeypatch.setattr(time_zones, "available_timezones", set)
    with pytest.raises(LanguageError, match="install the package tzdata"):
        time_zones.zone("Europe/Nowhere")
