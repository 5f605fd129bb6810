"""Rules that a clock or a start fires: over containers and volumes, once each, and caught up
once."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from itertools import pairwise

import msgspec

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, incidents
from tests.lab import Daemon, PrivateEngine, Recorder, eventually

EVERY = """
version: 1
rules:
  - name: often
    when: {every: 2s}
    match: {kind: volume, labels: {backup: "yes"}}
    then: {snapshot_volume: {consistency: live, keep: {last: 2}}}
"""

NIGHTLY = """
version: 1
rules:
  - name: nightly
    when: {schedule: "30 3 1 1 *", timezone: UTC, catch_up: once}
    match: {kind: volume}
    then: {snapshot_volume: {consistency: live}}
"""

STARTUP = """
version: 1
rules:
  - name: freshen
    when: startup
    match: {labels: {fresh: "yes"}}
    exclude: {name: "*-db"}
    then: restart
"""


def snapshots(one: Daemon) -> list[dict[str, object]]:
    return list(json.loads(one.cli("snapshots", "list", "--json") or "[]"))


def volume(docker: PrivateEngine, name: str, *labels: str) -> None:
    docker.docker(
        "volume", "create", *(each for label in labels for each in ("--label", label)), name
    )
    docker.docker(
        "run", "--rm", "--volume", f"{name}:/v", "toolbox", "sh", "-c", "echo it > /v/file"
    )


def test_every_over_labelled_volumes(docker: PrivateEngine) -> None:
    volume(docker, "chosen", "backup=yes")
    volume(docker, "other")
    with daemon(docker, EVERY) as one:
        done = closed(one, 4, rule="often")
        assert {incident.object_name for incident in done} == {"chosen"}
        assert {incident.outcome for incident in done} == {"done"}
        assert {incident.kind for incident in done} == {"volume"}
        gaps = [after.opened_at - before.opened_at for before, after in pairwise(done)]
        assert min(gaps) > 1.9
        rows = snapshots(one)
        assert {row["volume"] for row in rows} == {"chosen"}
        assert len(rows) in (2, 3)  # two are kept; a third where the next is being made
        assert (
            one.metric("dockmend_snapshot_last_success_timestamp_seconds", volume="chosen")
            >= done[-1].opened_at
        )


def test_a_volume_made_later_is_taken_with_the_next_round(docker: PrivateEngine) -> None:
    with daemon(docker, EVERY) as one:
        volume(docker, "late", "backup=yes")
        assert closed(one, rule="often")[0].object_name == "late"


def test_a_missed_night_is_caught_up_once(docker: PrivateEngine) -> None:
    volume(docker, "data")
    with daemon(docker, NIGHTLY) as one:
        one.stop()
        assert incidents(one) == []
        looked_back(one, 400 * 86400.0)
        one.start()
        (incident,) = closed(one)
        assert (incident.rule, incident.object_name, incident.outcome) == (
            "nightly",
            "data",
            "done",
        )
        one.stop()
        one.start()
        # once it is done, a second catching up would have been seen
        one.cli("trigger", "nightly", "data")
        assert len(closed(one, 2)) == 2
        assert [bool(each.actor) for each in incidents(one)] == [False, True]
        assert len(snapshots(one)) == 2
        all_told(one)


def looked_back(one: Daemon, seconds: float) -> None:
    """As if the daemon had been down for so long: when the schedule last fired (or came into force)
    is journalled."""
    with contextlib.closing(sqlite3.connect(one.state / "journal.sqlite3")) as journal, journal:
        changed = journal.execute(
            "UPDATE known SET value = ? WHERE key LIKE 'schedule/nightly/%'",
            (msgspec.msgpack.encode(time.time() - seconds),),
        )
        assert changed.rowcount == 1


def test_none_is_caught_up_that_was_not_missed(docker: PrivateEngine) -> None:
    volume(docker, "data")
    with daemon(docker, NIGHTLY) as one:
        one.stop()
        one.start()
        eventually(lambda: one.metric("dockmend_rules", state="enabled") >= 1)
        assert incidents(one) == []
        assert snapshots(one) == []


def test_startup_over_labelled_containers(docker: PrivateEngine) -> None:
    for name in ("web", "shop-db"):
        docker.run(name, "--label", "fresh=yes")
    docker.run("other")
    with Recorder(docker) as events, daemon(docker, STARTUP) as one:
        (incident,) = closed(one, rule="freshen")
        assert (incident.object_name, incident.trigger) == ("web", "startup")
        (one.rules / "more.yaml").write_text(STARTUP.replace("freshen", "again"))
        one.cli("reload")
        assert [incident.rule for incident in incidents(one)] == ["freshen"]  # a reload is no start
        one.stop()
        one.start()
        closed(one, 2, rule="freshen")
        assert events.actions("shop-db", "restart") == []
        assert events.actions("other", "restart") == []
