"""The log: what a person and a machine read, and that no stranger's text and no stuck terminal
harms either."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from dockmend.journal.records import ActionRecord, Incident
from dockmend.model import Actor, Change, Container, Event
from dockmend.tell.log import LogTeller, about_incident, configure
from dockmend.tell.log_sink import LogSink
from dockmend.tell.sanitize import iso, shown, topic_level
from tests.lab.waiting import eventually

WEB = Container("1" * 64, "web", state="running", health="unhealthy")
EVIL = "web\x1b[2J\r\n2026 forged line\u202e\u2028"


class Stream(io.StringIO):
    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


class Log:
    """A configured log and what has been written to it."""

    def __init__(self, **options: Any) -> None:
        self.stream = Stream(options.pop("terminal", False))
        self.outlet = configure(stream=self.stream, **options)

    @property
    def text(self) -> str:
        assert self.outlet.flush(5)
        return self.stream.getvalue()

    @property
    def lines(self) -> list[str]:
        return [line.partition(" ")[2] for line in self.text.splitlines()]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def an_incident(number: int = 1, **changes: Any) -> Incident:
    plain = Incident(
        id=f"i{number}", rule="heal", trigger="container.unhealthy", target="container:web",
        kind="container", object_id=WEB.id, object_name="web", trouble="t", opened_at=100.0,
        updated_at=100.0,
    )  # fmt: skip
    return replace(plain, **changes)


def an_action(**changes: Any) -> ActionRecord:
    plain = ActionRecord(
        id="a1", incident="i1", rule="heal", target="container:web", attempt=1, action="restart",
        object_id=WEB.id, object_name="web", params={}, began_at=100.0,
    )  # fmt: skip
    return replace(plain, **changes)


def a_change(trigger: str, **changes: Any) -> Change:
    return replace(Change((trigger,), "container", WEB, "container:web", "t", 100.0), **changes)


# ---------------------------------------------------------------------------------------- the story


def heal(teller: LogTeller) -> None:
    teller.connected(True)
    teller.change(a_change("container.unhealthy", note="its health check failed"))
    teller.incident(an_incident())
    teller.incident(an_incident(waiting_for="for", due_at=130.0))
    teller.incident(an_incident(state="acting", attempts=1))
    teller.action(an_action())
    teller.action(an_action(ended_at=101.5, outcome="failed", detail="no such process"))
    teller.incident(
        an_incident(waiting_for="backoff", due_at=103.5, updated_at=101.5, reason="no such process")
    )
    teller.incident(an_incident(state="acting", attempts=2))
    teller.action(an_action(attempt=2))
    teller.action(an_action(attempt=2, ended_at=100.3, outcome="done", detail="restarted"))
    teller.incident(an_incident(state="verifying"))
    teller.incident(an_incident(state="closed", outcome="healed", closed_at=102.3))


def test_a_person_reads_the_story():
    log = Log(format="console")
    heal(LogTeller())
    assert log.lines == [
        "connected to the engine",
        "web is unhealthy: its health check failed",
        "web is unhealthy: waits 30 s: if it still is then, it is treated [i1]",
        "web is unhealthy → restart (rule heal) [i1]",
        "warning: web: restart failed in 1.5 s: no such process [i1]",
        "web is unhealthy: waits 2 s: no such process [i1]",
        "web → restart (rule heal, attempt 2) [i1]",
        "web: restart done in 0.3 s: restarted [i1]",
        "web healed in 2.3 s (rule heal) [i1]",
    ]


def test_no_time_at_all_is_not_told():
    log = Log(format="console")
    teller = LogTeller()
    teller.incident(an_incident())
    teller.incident(
        an_incident(
            waiting_for="backoff", due_at=100.0, updated_at=100.0, reason="no; now it is tried"
        )
    )
    teller.action(an_action(ended_at=100.01, outcome="done"))
    teller.incident(an_incident(state="closed", outcome="healed", closed_at=100.01))
    teller.incident(
        an_incident(2, waiting_for="backoff", due_at=100.2, updated_at=100.0, reason="waiting")
    )
    teller.incident(
        an_incident(3, waiting_for="backoff", due_at=400.0, updated_at=100.0, reason="waiting")
    )
    assert log.lines == [
        "web is unhealthy: no; now it is tried [i1]",
        "web: restart done [i1]",
        "web healed (rule heal) [i1]",
        "web is unhealthy: waits 0.2 s: waiting [i2]",
        "web is unhealthy: waits 5 min: waiting [i3]",
    ]


def test_a_step_is_told_of_the_container_that_it_is_done_to():
    log = Log(format="console")
    teller = LogTeller()
    teller.incident(an_incident(state="acting", attempts=1))
    teller.action(an_action(object_name="guest"))
    assert log.lines == ["guest → restart (rule heal) [i1]"]


def test_only_what_is_known_is_said_of_an_end_that_may_become_a_restart():
    log = Log(format="console")
    teller = LogTeller()
    for again in (False, True):
        teller.change(
            a_change(
                "container.stopped", cause="stopped", runs_again=again, note="somebody stopped it"
            )
        )
    assert log.lines == ["web ended: somebody stopped it", "web was restarted: somebody stopped it"]


def test_what_a_person_asked_for_is_not_called_unhealthy():
    log = Log(format="console")
    teller = LogTeller()
    teller.incident(an_incident(state="acting", attempts=1, actor="uid 0 (root)"))
    teller.action(an_action())
    assert log.lines == ["web (asked for by uid 0 (root)) → restart (rule heal) [i1]"]


def test_a_machine_reads_the_same_with_fields():
    log = Log(format="json")
    heal(LogTeller())
    rows = log.rows
    assert rows[-1]["event"] == "web healed in 2.3 s (rule heal)"
    assert rows[-1]["incident"] == "i1"
    assert (rows[-1]["rule"], rows[-1]["target"], rows[-1]["outcome"]) == (
        "heal",
        "container:web",
        "healed",
    )
    assert rows[3]["action"] == "restart"
    assert all(
        row["timestamp"].endswith("Z") and row["level"] in ("info", "warning") for row in rows
    )


@pytest.mark.parametrize(
    ("outcome", "reason", "expected"),
    [
        ("failed", "5 attempts", "error: web did not heal: 5 attempts (rule heal) [i1]"),
        ("recovered", "recovered on its own", "web recovered on its own (rule heal) [i1]"),
        (
            "recovered",
            "recovered on its own: it is gone",
            "web recovered on its own: it is gone (rule heal) [i1]",
        ),
        ("recovered", "recovered with its owner", "web recovered with its owner (rule heal) [i1]"),
        (
            "recovered",
            "it was triggered again",
            "web recovered: it was triggered again (rule heal) [i1]",
        ),
        (
            "suppressed",
            "it is paused",
            "web is unhealthy: nothing is done: it is paused (rule heal) [i1]",
        ),
        (
            "interrupted",
            "it is gone",
            "warning: web is unhealthy: interrupted: it is gone (rule heal) [i1]",
        ),
        ("dry_run", "would restart", "web is unhealthy: would restart (rule heal) [i1]"),
        (
            "on_purpose",
            "stopped by a person",
            "web: left alone: stopped by a person (rule heal) [i1]",
        ),
        ("done", "done", "web: done in 2.0 s (rule heal) [i1]"),
    ],
)
def test_every_end_is_said_once(outcome, reason, expected):
    log = Log(format="console")
    teller = LogTeller()
    for _ in range(2):
        teller.incident(
            an_incident(state="closed", outcome=outcome, reason=reason, closed_at=102.0)
        )
    assert log.lines == [expected]


def test_a_suppression_that_is_repeated_is_folded():
    log = Log(format="console")
    teller = LogTeller()
    for count in range(1, 101):
        teller.incident(
            an_incident(state="closed", outcome="suppressed", reason="cooldown", count=count)
        )
    for number in range(2, 50):  # as many incidents of their own
        teller.incident(
            an_incident(number, state="closed", outcome="suppressed", reason="cooldown")
        )
    later = {"opened_at": 5000.0, "updated_at": 5000.0}
    teller.incident(
        an_incident(99, state="closed", outcome="suppressed", reason="cooldown", **later)
    )
    assert log.lines == [
        "web is unhealthy: nothing is done: cooldown (rule heal) [i1]",
        "web is unhealthy: nothing is done: cooldown (10 times) (rule heal) [i1]",
        "web is unhealthy: nothing is done: cooldown (100 times) (rule heal) [i1]",
        "web is unhealthy: nothing is done: cooldown (rule heal) [i99]",
    ]
    for number in range(10_000):
        teller.incident(
            an_incident(number, state="closed", outcome="suppressed", target=f"container:{number}")
        )
    assert len(teller._suppressed) <= 2048
    assert len(teller._told) <= 256  # closed ones only


def test_the_rest_of_what_is_worth_knowing():
    log = Log(format="console")
    teller = LogTeller()
    for up in (True, True, False, False, True):
        teller.connected(up)
    teller.gap("marker")
    for why in ("refused", "refused", None, None):
        teller.degraded("mqtt", why)
    teller.breaker("heal", "container:web", True)
    teller.breaker("heal", "container:web", False)
    teller.paused(1)
    teller.snapshot("data", 1024, 5.0)
    teller.change(a_change("container.network_lost", network="shop"))
    teller.change(a_change("engine.lost"))  # told by `connected`
    teller.change(a_change("container.healthy"))
    teller.change(a_change("container.die", event=Event("container", "die", Actor())))
    assert log.lines == [
        "connected to the engine",
        "warning: the engine is lost: connecting again",
        "the engine is back",
        "warning: events may have been lost: everything was listed again cause=marker",
        "warning: mqtt does not work error=refused",
        "mqtt works again",
        (
            "error: rule heal gives up on container:web; to let it try again: dockmend reset heal "
            "container:web"
        ),
        "rule heal treats container:web again",
        "pauses in force pauses=1",
        "snapshot of volume data completed bytes=1024",
        "web lost network shop",
    ]


def test_a_flood_of_changes_is_cut_short_and_said():
    log = Log(format="console")
    teller = LogTeller()
    for number in range(1000):
        teller.change(a_change("container.crashed", at=100.0 + number / 1000))
    teller.change(a_change("container.crashed", at=101.0))
    assert len(log.lines) == 52
    assert log.lines[-2:] == [
        "and more changes than are worth a line each changes=950",
        "web crashed",
    ]


# ------------------------------------------------------------------------------------ forms, levels


@pytest.mark.parametrize(
    ("format", "terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("console", False, False)],
)
def test_auto_is_for_people_on_a_terminal_only(format, terminal, is_json):
    log = Log(format=format, terminal=terminal)
    structlog.get_logger().info("hello", number=1)
    assert log.text.startswith("{") == is_json


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Log(format="console", terminal=True), None
    structlog.get_logger().error("red")
    assert "\x1b[31m" in coloured.text
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Log(format="console", terminal=True)
    structlog.get_logger().error("red")
    assert "\x1b" not in plain.text


def test_debug_is_kept_back_unless_asked_for():
    log = Log(format="console")
    structlog.get_logger().debug("hidden")
    assert log.lines == []
    log = Log(format="console", level="debug")
    structlog.get_logger().debug("shown")
    assert log.lines == ["shown"]


async def test_the_incidents_id_is_on_every_line_of_its_work_and_on_no_other():
    log = Log(format="json")

    async def deeper() -> None:
        await asyncio.sleep(0)
        structlog.get_logger("dockmend.engine").info("asking")

    async def treat(incident: str) -> None:
        with about_incident(incident):
            async with asyncio.TaskGroup() as group:
                group.create_task(deeper())

    async with asyncio.TaskGroup() as group:
        for incident in ("i1", "i2"):
            group.create_task(treat(incident))
    structlog.get_logger().info("no incident")
    assert sorted(str(row.get("incident")) for row in log.rows) == ["None", "i1", "i2"]


def test_libraries_speak_the_same_way_and_never_in_format_strings():
    log = Log(format="console")
    logging.getLogger("aiohttp").warning("100%s %s", " done", EVIL)
    logging.getLogger("aiohttp").info("not worth it")
    assert len(log.lines) == 1
    assert log.lines[0].startswith("warning: 100 done web\\x1b[2J")


# ---------------------------------------------------------------------------------- strangers' text


@pytest.mark.parametrize("format", ["console", "json"])
def test_strangers_text_is_escaped_and_bounded(format):
    log = Log(format=format)
    teller = LogTeller()
    teller.incident(
        an_incident(
            object_name=EVIL, state="closed", outcome="failed", reason="x\x07" + "y" * 100_000
        )
    )
    structlog.get_logger().warning(EVIL, name=EVIL, **{EVIL: [EVIL, {"deep": EVIL}]}, lone="\udcff")
    text = log.text
    assert len(text.splitlines()) == 2
    assert len(text.split("\u2028")) == 1
    assert not set("\x1b\r\x07\u202e") & set(text)
    assert len(text) < 5000


def test_a_fault_is_one_line_for_a_person_and_whole_for_a_machine():
    def fail() -> None:
        raise TypeError("evil \x1b[2J\nline")

    for form in ("console", "json"):
        log = Log(format=form)
        try:
            fail()
        except TypeError as error:
            structlog.get_logger().error("a part failed", exc_info=error)
            structlog.get_logger().exception("again")
        lines = log.text.splitlines()
        assert len(lines) == 2
        assert all(
            "TypeError" in line and "test_log.py" in line and "\x1b" not in line for line in lines
        )
        assert ("Traceback" in log.text) == (form == "json")


def test_texts_helpers():
    assert shown("plain ünïcode → 日本") == "plain ünïcode → 日本"
    assert shown("a\tb\x9b") == "a\\tb\\x9b"
    assert shown("x" * 1000, 10) == "x" * 9 + "…"
    assert shown("ab\x1b\x1b", 10) == "ab\\x1b\\x1b"
    assert shown("ab\x1b\x1b\x1b", 10) == "ab\\x1b…", (
        "what is escaped has no more room, and is never cut in two"
    )
    assert topic_level("a/b+c#d\x00e\u2028") == "a_b_c_d_e_"
    assert topic_level("") == "_"
    assert iso(None) is iso(0.0) is None
    assert iso(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"


# ------------------------------------------------------------------------------------ stuck streams


def test_a_terminal_that_takes_nothing_holds_up_nobody_and_loses_the_oldest():
    reading, writing = os.pipe()
    dropped: list[int] = []
    with os.fdopen(writing, "w") as stream:
        outlet = LogSink(stream, most=100)
        outlet.on_drop = dropped.append
        for number in range(5000):
            outlet.write(f"{number} " + "x" * 2000)  # a hundred of them are more than a pipe takes
        assert not outlet.flush(0.05)
        assert len(outlet._lines) <= 100
        seen = bytearray()

        def drain() -> None:
            while chunk := os.read(reading, 65536):
                seen.extend(chunk)

        thread = threading.Thread(target=drain)
        thread.start()
        assert outlet.flush(10)
    thread.join(10)
    os.close(reading)
    lines = seen.decode().splitlines()
    assert lines[-1].startswith("4999 ")
    notices = [int(line[1:].split()[0]) for line in lines if "older lines were dropped" in line]
    # one notice, or a second for what came before the pipe was full
    assert sum(notices) == sum(dropped) > 0
    assert len(lines) - len(notices) + sum(dropped) == 5000


def test_a_reader_that_went_away_and_a_terminal_without_arrows_are_no_errors():
    reading, writing = os.pipe()
    os.close(reading)
    dropped: list[int] = []
    stream = os.fdopen(writing, "w", buffering=1)
    outlet = LogSink(stream)
    outlet.on_drop = dropped.append
    outlet.write("nobody")
    assert eventually(lambda: dropped) == [1]
    with pytest.raises(BrokenPipeError):
        stream.close()

    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii")
    outlet = LogSink(ascii_only)
    outlet.write("web → restart")
    assert outlet.flush(5)
    assert raw.getvalue() == b"web \\u2192 restart\n"


def test_of_what_no_rule_is_about_it_is_not_news_that_it_was_removed():
    log = Log(format="console")
    teller = LogTeller(lambda change: change.target != "container:builder")
    for target in ("container:web", "container:builder"):
        teller.change(a_change("container.missing", target=target))
        teller.change(a_change("container.crashed", target=target))
    assert log.lines == ["web is missing", "web crashed", "web crashed"]
