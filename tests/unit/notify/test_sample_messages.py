"""Samples: one of each kind, in the words of the real ones, and nobody can take one for a real
message."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dockmend.notify import wording
from dockmend.notify.message import LONGEST_TITLE, Kind
from dockmend.notify.sample_messages import SAYS_SO, sample
from dockmend.notify.wording import Where
from dockmend.settings.channels import LISTED

NOW = datetime(2026, 12, 2, 3, 9, tzinfo=UTC).timestamp()
NAS = Where("nas", lambda at: datetime.fromtimestamp(at, UTC))


@pytest.mark.parametrize("kind", LISTED)
def test_a_sample_is_of_its_kind_and_says_in_title_and_body_that_it_is_a_test(kind):
    told = sample(kind, NOW, NAS)
    assert told.kind is kind
    assert told.title.startswith("TEST ")
    assert told.body.startswith(SAYS_SO)
    assert told.body.endswith("Host: nas")
    assert len(told.title) <= LONGEST_TITLE
    # never the key of a trouble: nothing resolves it, nothing is resolved by it
    assert told.key == f"test/{kind}"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            Kind.DOWN,
            (
                "🔴 example is down",
                "Exit code 1 at 03:05",
                "SQLite: database is locked",
                "Now: docker logs",
            ),
        ),
        (
            Kind.GAVE_UP,
            (
                "gave up after 3 tries",
                "Tried: restart 03:05 (failed)",
                "dockmend reset label:heal example",
            ),
        ),
        (Kind.FLAPPING, ("was healed 3 times within an hour", "Healed at 02:29, 02:49, 03:09")),
        (Kind.RESOLVED, ("✅ example is well again", "It lasted 4 min, since 03:05.")),
        (
            Kind.DEGRADED,
            (
                "dockmend on nas cannot work: the engine does not answer since 03:05",
                "Now: systemctl",
            ),
        ),
        (Kind.NEEDS_YOU, ("✋ example needs you", "Now: docker inspect example")),
        (
            Kind.HEALED,
            (
                "✅ example healed in 1.4 s (2nd time today)",
                "Rule label:heal, 1 try: healthy again.",
            ),
        ),
    ],
)
def test_a_sample_reads_as_the_real_message(kind, words):
    told = sample(kind, NOW, NAS)
    for each in words:
        assert each in f"{told.title}\n{told.text(5)}"


def test_the_words_are_those_of_real_messages(monkeypatch):
    """Changed there, they are changed here."""
    real = wording.healed
    monkeypatch.setattr(
        wording, "healed", lambda incident, nth, now, where: real(incident, 7, now, where)
    )
    assert "(7th time today)" in sample(Kind.HEALED, NOW, NAS).title


def test_what_a_rule_tells_has_no_sample():
    with pytest.raises(ValueError, match="its owner's own text"):
        sample(Kind.TOLD, NOW, NAS)
