"""What messages say: only what was seen, in one shape, with a next step that works when it is
pasted."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import get_args

import pytest
from msgspec.structs import replace

from dockmend.journal.records import Incident
from dockmend.notify import defusing, wording
from dockmend.notify.alarms import AlarmEnding, AlarmTrouble
from dockmend.notify.message import Kind, Message, Severity
from dockmend.notify.wording import Facts, Try, Where
from dockmend.rules.rule import Rule

NOW = datetime(2026, 12, 2, 3, 9, tzinfo=UTC).timestamp()
SINCE = datetime(2026, 12, 2, 3, 5, tzinfo=UTC).timestamp()
NAS = Where("nas", lambda at: datetime.fromtimestamp(at, UTC))
DOWN = AlarmTrouble(
    key="down/container:sonarr", kind=Kind.DOWN, target="container:sonarr", object_name="sonarr",
    since=SINCE, object_id="1" * 64, cause="crashed",
)  # fmt: skip
GAVE_UP = replace(DOWN, kind=Kind.GAVE_UP, rule="heal", severity=Severity.CRITICAL)
FACTS = Facts(
    exit_code=1, image="sonarr:4.0.2", made_at=SINCE - 600,
    lines=("SQLite: database is locked", ""), why_not="no rule acts on it",
)  # fmt: skip
TRIED = replace(
    FACTS, attempts=3, reason="it ended with exit code 1 again", next_try_at=NOW + 3360,
    tries=tuple(Try("restart", SINCE + at, outcome)
        for at, outcome in ((0, "done"), (60, "failed"), (120, "done"))),
)  # fmt: skip
HEALED = Incident(
    id="i1", rule="label:heal", trigger="container.unhealthy", target="container:web",
    kind="container", object_id="2" * 64, object_name="web", trouble="t", opened_at=SINCE,
    closed_at=SINCE + 1.4, state="closed", outcome="healed", note="its health check failed",
    reason="healthy again", attempts=1,
)  # fmt: skip


def test_one_that_is_down_and_that_no_rule_is_about():
    told = wording.alarm(DOWN, FACTS, NOW, NAS)
    assert told.title == "🔴 sonarr is down"
    assert told.body == (
        "Exit code 1 at 03:05; not stopped by anyone, not out of memory.\n"
        "Changed before: it was made anew at 02:55 from image sonarr:4.0.2.\n"
        "Nothing is done about it: no rule acts on it.\n"
        "Host: nas"
    )
    assert told.last_lines == ("SQLite: database is locked",)
    assert told.next_step == "docker logs --tail 50 sonarr"
    assert (told.key, told.target, told.kind, told.severity) == (
        "down/container:sonarr", "container:sonarr", Kind.DOWN, Severity.WARNING,
    )  # fmt: skip
    assert (told.at, told.host) == (NOW, "nas")


def test_one_that_was_given_up():
    told = wording.alarm(GAVE_UP, TRIED, NOW, NAS)
    assert told.title == "🔴 sonarr is down, gave up after 3 tries"
    assert told.body == (
        "Exit code 1 at 03:05; not stopped by anyone, not out of memory.\n"
        "Tried: restart 03:05, restart 03:06 (failed), restart 03:07.\n"
        'The last one: "it ended with exit code 1 again".\n'
        "Changed before: it was made anew at 02:55 from image sonarr:4.0.2.\n"
        "To let it try again: dockmend reset heal sonarr\n"
        "Next try by itself: 04:05.\n"
        "Host: nas"
    )
    assert told.severity is Severity.CRITICAL


def test_more_tries_than_are_shown():
    many = replace(
        TRIED, attempts=9, tries=tuple(Try("restart", SINCE + 60 * at) for at in range(9))
    )
    assert "Tried (the last 5): restart 03:09, " in wording.alarm(GAVE_UP, many, NOW, NAS).body
    assert "Tried: " not in wording.alarm(GAVE_UP, Facts(), NOW, NAS).body


@pytest.mark.parametrize(
    ("cause", "facts", "said"),
    [
        (
            "unhealthy",
            Facts(check="connection refused\n"),
            'Its health check fails since 03:05: "connection refused".',
        ),
        ("oom_killed", Facts(exit_code=137), "The kernel killed it at 03:05 for want of memory."),
        (
            "left_down",
            Facts(),
            "It ran before the engine was lost and was not started again; down since 03:05.",
        ),
        ("not_started", Facts(error="no port"), "Its start failed; it does not run since 03:05."),
        ("unknown", Facts(exit_code=255), "It ended unseen with exit code 255, noticed at 03:05."),
        ("crashed", Facts(exit_code=127, error="no such file"), 'The engine says: "no such file".'),
    ],
)
def test_the_cause_is_what_was_seen(cause: str, facts: Facts, said: str):
    told = wording.alarm(replace(DOWN, cause=cause), facts, NOW, NAS)
    assert said in told.body.splitlines()
    assert told.title.endswith("unhealthy" if cause == "unhealthy" else "down")


def test_what_was_made_long_before_is_no_change_before():
    assert (
        "Changed" not in wording.alarm(DOWN, replace(FACTS, made_at=SINCE - 86400), NOW, NAS).body
    )
    assert "Changed" not in wording.alarm(DOWN, replace(FACTS, made_at=SINCE + 1), NOW, NAS).body


def test_a_time_of_another_day_bears_its_day():
    told = wording.alarm(replace(DOWN, since=SINCE - 86400), FACTS, NOW, NAS)
    assert "at 2026-12-01 03:05;" in told.body


@pytest.mark.parametrize(
    ("ending", "title"),
    [
        (AlarmEnding.WELL, "✅ sonarr is well again"),
        (AlarmEnding.STOPPED, "✅ sonarr was stopped by a person"),
        (AlarmEnding.REMOVED, "✅ sonarr was removed"),
        (AlarmEnding.COMPLETED, "✅ sonarr ended with exit code 0"),
    ],
)
def test_how_it_ended(ending: AlarmEnding, title: str):
    told = wording.resolved(GAVE_UP, ending, NOW, NAS)
    assert told.title == title
    assert told.body == "It was down.\nIt lasted 4 min, since 03:05.\nHost: nas"
    assert (told.kind, told.key, told.severity) == (Kind.RESOLVED, GAVE_UP.key, Severity.CRITICAL)


def test_dockmend_itself():
    engine = AlarmTrouble(
        key="degraded/engine",
        kind=Kind.DEGRADED,
        target="engine",
        object_name="",
        since=SINCE,
        note="connection lost",
    )
    told = wording.alarm(engine, Facts(), NOW, NAS)
    assert told.title == "🟠 dockmend on nas cannot work: the engine does not answer since 03:05"
    assert told.body == "connection lost.\nA message follows when it works again.\nHost: nas"
    assert told.next_step == "systemctl status docker"
    assert (
        wording.resolved(engine, AlarmEnding.WELL, NOW, NAS).title
        == "✅ dockmend on nas works again: the engine answers"
    )


def test_what_was_healed_and_what_is_healed_again_and_again():
    once = wording.healed(HEALED, 1, NOW, NAS)
    assert once.title == "✅ web healed in 1.4 s"
    assert (
        once.body
        == "03:05: its health check failed.\nRule label:heal, 1 try: healthy again.\nHost: nas"
    )
    assert once.severity is Severity.INFO
    for nth, text in (
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (21, "21st"),
        (112, "112th"),
    ):
        assert (
            wording.healed(HEALED, nth, NOW, NAS).title
            == f"✅ web healed in 1.4 s ({text} time today)"
        )
    again = wording.flapping(HEALED, [SINCE - 600, SINCE - 300, SINCE], NOW, NAS)
    assert again.title == "🟠 web was healed 3 times within an hour"
    assert "Healed at 02:55, 03:00, 03:05." in again.body
    assert again.next_step == "dockmend incidents --container web"


def test_the_image_that_it_had_before_is_named_if_it_is_known():
    told = wording.alarm(DOWN, replace(FACTS, image_before="sonarr:4.0.1"), NOW, NAS)
    assert "Changed before: image sonarr:4.0.1 → sonarr:4.0.2 at 02:55." in told.body
    same = wording.alarm(
        DOWN, replace(FACTS, image_before="sonarr:latest (1a2b)", image="3c4d"), NOW, NAS
    )
    assert "image sonarr:latest (1a2b) → 3c4d at 02:55" in same.body
    old = wording.alarm(
        DOWN, replace(FACTS, image_before="sonarr:4.0.1", made_at=SINCE - 90000), NOW, NAS
    )
    assert "Changed before" not in old.body


def told(
    text: str, title: str | None = None, filled: str = "", incident: Incident = HEALED
) -> Message:
    """Of a rule whose field {x} holds what is `filled` in."""

    def fill(template: str, quoted: Callable[[str], str]) -> str:
        return template.replace("{x}", quoted(filled))

    return wording.told(text, title, fill, incident, NOW, NAS)


def test_a_rules_own_message():
    short = told("web is slow")
    assert (short.title, short.body) == ("web is slow", "Rule label:heal, web\nHost: nas")
    long = told("first @here https://wiki.example/web\nsecond\x1b[2J")
    assert long.title == "first @here https://wiki.example/web", (
        "its owner's own link and mention hold"
    )
    assert long.body.splitlines()[1] == "second\\x1b[2J"
    assert (
        told("it says {x}", filled="@everyone <b>").title
        == f"it says {defusing.defused('@everyone <b>')}"
    )
    titled = told("web is slow", title="Look at {x}", filled="web")
    assert (titled.title, titled.body.splitlines()[0]) == ("Look at web", "web is slow")
    assert told("{x}", title="{x}", filled="").title == "Rule label:heal"
    assert len(told("x" * 100).title) == 80
    assert told("x").key != told("x", incident=replace(HEALED, rule="another")).key, (
        "two rules tell of two things"
    )
    for severity in get_args(Rule.__annotations__["severity"]) or ("info", "warning", "critical"):
        assert (
            told("x", incident=replace(HEALED, severity=severity)).severity.name.lower() == severity
        )


def test_what_was_over_before_it_was_told_is_one_message():
    one = wording.over_before_told(
        wording.alarm(DOWN, FACTS, NOW, NAS), wording.resolved(DOWN, AlarmEnding.WELL, NOW, NAS)
    )
    assert one.kind is Kind.RESOLVED
    assert one.title == "✅ sonarr is well again"
    assert "It had not been told yet:\n🔴 sonarr is down\nExit code 1" in one.body
    assert one.last_lines == ("SQLite: database is locked",)


def test_a_stranger_writes_no_sentence_of_dockmends():
    forged = 'refused". Nothing is wrong. To mend it: docker rm -f db. "'
    told = wording.alarm(
        GAVE_UP, replace(TRIED, check=forged, error=forged, reason=forged), NOW, NAS
    )
    for line in told.body.splitlines():
        if "docker rm" in line:
            assert line.count('"') == 2
            assert line.endswith('".')
    ill = wording.alarm(
        replace(DOWN, cause="unhealthy"), replace(FACTS, check=forged), NOW, NAS
    ).body.splitlines()[0]
    assert ill == (
        "Its health check fails since 03:05: \"refused'. Nothing is wrong. To mend it: docker rm "
        "-f db. '\"."
    )


def test_the_third_alarm_about_it_says_that_it_is():
    third = wording.alarm(DOWN, FACTS, NOW, NAS, 3).body.splitlines()[-2]
    assert third.startswith(
        "It is the 3rd alarm about it within an hour: its end is told once that has lasted "
        "for 10 min"
    )
    assert "alarm about it" not in wording.alarm(DOWN, FACTS, NOW, NAS, 2).body


HOSTILE = "web; rm -rf / @everyone https://evil.example `x` \x1b[2J"


@pytest.mark.parametrize("kind", [Kind.DOWN, Kind.GAVE_UP, Kind.NEEDS_YOU, Kind.DEGRADED])
def test_a_stranger_neither_mentions_nor_links_nor_writes_a_command(kind: Kind):
    trouble = replace(
        DOWN, kind=kind, target=f"container:{HOSTILE}", object_name=HOSTILE, note=HOSTILE,
        rule="heal"
    )  # fmt: skip
    facts = replace(TRIED, image=HOSTILE, reason="" if kind is Kind.NEEDS_YOU else HOSTILE,
        error=HOSTILE,
                    check=HOSTILE, lines=(HOSTILE,), why_not=HOSTILE)  # fmt: skip
    incident = replace(HEALED, object_name=HOSTILE, target=HOSTILE, note=HOSTILE, reason=HOSTILE)
    messages = [
        wording.alarm(trouble, facts, NOW, NAS),
        wording.resolved(trouble, AlarmEnding.WELL, NOW, NAS),
        wording.healed(incident, 1, NOW, NAS), wording.flapping(incident, [NOW], NOW, NAS),
        told("{x}", title="{x}", filled=HOSTILE, incident=incident),
    ]  # fmt: skip
    for each in messages:
        text = "\n".join((each.title, each.body, *each.last_lines))
        assert "@" not in text
        assert "://" not in text
        assert "`" not in text
        assert all(char.isprintable() or char == "\n" for char in text)
        assert len(each.title) <= 80
        assert "reset" not in text, "no command with a name like that"
        assert shlex.split(each.next_step) == shlex.split(each.next_step.replace(";", "x"))
    if kind in (Kind.DOWN, Kind.GAVE_UP):
        assert messages[0].next_step == f"docker logs --tail 50 {'1' * 12}"
