"""The outbox: in order, at least once, over restarts, and never endless."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dockmend.errors import JournalError
from dockmend.journal.sqlite import SqliteJournal
from dockmend.notify import outbox as module
from dockmend.notify.message import Kind, Severity
from dockmend.notify.outbox import TRANSITIONS, DeliveryOutcome, Outbox, State, marks_of
from dockmend.settings.channels import Channel
from dockmend.settings.secrets import Secret
from tests.unit.notify.making import NOW, Disk, a_message


class Counted(list[tuple[str, Kind, DeliveryOutcome]]):
    def __call__(self, channel: str, kind: Kind, outcome: DeliveryOutcome) -> None:
        self.append((channel, kind, outcome))


def again(
    disk: Disk, channels: dict[str, str], moved: float = 0.0, counted: Counted | None = None
) -> Outbox:
    """The outbox of the next dockmend."""
    found = Outbox(channels, disk, Counted() if counted is None else counted)
    found.load(list(disk.rows.values()), disk.last, moved)
    return found


def titles(outbox: Outbox, channel: str = "ops", url: int = 0) -> list[str]:
    """What a URL is sent, in order, until nothing is left for it."""
    found = []
    while (row := outbox.next(channel, url)) is not None:
        outbox.handed(row)
        outbox.sent(row, url)
        found.append(row.message.title)
    return found


def test_messages_go_out_in_the_order_in_which_they_are_due_and_were_put():
    outbox = Outbox({"ops": "a"}, Disk())
    for number, due_at in ((0, NOW + 5), (1, NOW), (2, NOW)):
        outbox.put("ops", a_message(number), due_at)
    assert titles(outbox) == ["web1 is down", "web2 is down", "web0 is down"]


def test_what_was_put_is_there_after_a_restart_and_what_was_sent_is_not():
    disk = Disk()
    outbox = Outbox({"ops": "a"}, disk)
    for number in range(3):
        outbox.put("ops", a_message(number), NOW)
    row = outbox.next("ops", 0)
    assert row is not None
    outbox.handed(row)
    outbox.sent(row, 0)
    assert titles(again(disk, {"ops": "a"})) == ["web1 is down", "web2 is down"]
    assert not disk.rows


def test_a_message_that_was_handed_over_when_dockmend_died_is_sent_again():
    disk = Disk()
    outbox = Outbox({"ops": "a"}, disk)
    sequence = outbox.put("ops", a_message(), NOW)
    row = outbox.next("ops", 0)
    assert row is not None
    outbox.handed(row)
    later = again(disk, {"ops": "a"})
    found = later.next("ops", 0)
    assert found is not None
    assert (found.sequence, found.tries, found.state) == (sequence, 1, State.TRIED)
    assert not later.drop(sequence), "somebody may have seen it"


def test_each_url_of_a_channel_gets_each_message_once_also_over_a_restart():
    disk = Disk()
    outbox = Outbox({"ops": "ab"}, disk)
    outbox.put("ops", a_message(0), NOW)
    outbox.put("ops", a_message(1), NOW)
    assert titles(outbox, url=0) == ["web0 is down", "web1 is down"]
    later = again(disk, {"ops": "ab"})
    assert titles(later, url=0) == []
    assert titles(later, url=1) == ["web0 is down", "web1 is down"]
    assert not disk.rows


def test_a_url_is_known_over_a_restart_though_others_come_before_it():
    disk = Disk()
    outbox = Outbox({"ops": "ab"}, disk)
    outbox.put("ops", a_message(0), NOW)
    titles(outbox, url=1)
    later = again(disk, {"ops": "cab"})
    assert [titles(later, url=url) for url in range(3)] == [["web0 is down"]] * 2 + [[]]
    assert not disk.rows


def test_the_numbers_that_an_older_dockmend_wrote_are_read():
    disk = Disk()
    sequence = Outbox({"ops": "ab"}, disk).put("ops", a_message(0), NOW)
    disk.rows[sequence] = disk.rows[sequence]._replace(taken="[1]", state="tried")
    later = again(disk, {"ops": "ab"})
    assert titles(later, url=1) == []
    assert titles(later, url=0) == ["web0 is down"]
    assert not disk.rows


def test_a_url_is_marked_by_what_it_is_and_the_mark_does_not_show_it():
    urls = tuple(map(Secret, ("json://a:secret@b", "json://b")))
    here, there = marks_of(Channel("ops", urls)), marks_of(Channel("ops", urls[::-1]))
    assert here == there[::-1]
    assert set(here).isdisjoint(marks_of(Channel("home", urls)))
    assert {len(mark) for mark in here} == {8}


def test_with_fewer_urls_than_before_a_message_that_all_of_them_took_is_done():
    disk = Disk()
    outbox = Outbox({"ops": "ab"}, disk)
    outbox.put("ops", a_message(0), NOW)
    titles(outbox, url=0)
    assert again(disk, {"ops": "a"}).depth("ops") == 0
    assert not disk.rows


def test_what_was_put_for_a_channel_without_a_url_stays_over_a_restart():
    disk = Disk()
    Outbox({"ops": ""}, disk).put("ops", a_message(0), NOW)
    assert again(disk, {"ops": ""}).depth("ops") == 1


def test_only_what_nobody_can_have_seen_is_taken_back():
    disk = Disk()
    outbox = Outbox({"ops": "a"}, disk)
    one, two = (outbox.put("ops", a_message(number), NOW) for number in range(2))
    assert [row.sequence for row in outbox.waiting("ops")] == [one, two]
    row = outbox.next("ops", 0)
    assert row is not None
    outbox.handed(row)
    assert [each.sequence for each in outbox.waiting("ops")] == [two]
    assert outbox.drop(two)
    assert not outbox.drop(two)
    assert not outbox.drop(one)
    assert list(disk.rows) == [one]


def test_a_number_is_not_used_again_after_a_restart():
    disk = Disk()
    outbox = Outbox({"ops": "a"}, disk)
    gone = outbox.put("ops", a_message(), NOW)
    assert outbox.drop(gone)
    assert again(disk, {"ops": "a"}).put("ops", a_message(), NOW) > gone


def test_what_is_too_much_goes_the_least_grave_first_and_the_other_channel_keeps_its_own(
    monkeypatch,
):
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    counted, disk = Counted(), Disk()
    outbox = Outbox({"ops": "a", "home": "a"}, disk, counted)
    outbox.put("home", a_message(9), NOW)
    graves = [
        Severity.CRITICAL,
        Severity.WARNING,
        Severity.INFO,
        Severity.WARNING,
        Severity.CRITICAL,
    ]
    for number, severity in enumerate(graves):
        outbox.put("ops", a_message(number, severity=severity), NOW)
    assert counted == [("ops", Kind.DOWN, DeliveryOutcome.DROPPED)] * 2
    assert titles(outbox, "ops") == ["web0 is down", "web3 is down", "web4 is down"]
    assert titles(outbox, "home") == ["web9 is down"]
    assert not disk.rows


def test_of_one_trouble_that_comes_and_goes_more_is_dropped_than_of_another(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 4)
    outbox = Outbox({"ops": "a"}, Disk())
    outbox.put("ops", a_message(0), NOW)
    for _ in range(20):
        outbox.put("ops", a_message(1), NOW)
    outbox.put("ops", a_message(2), NOW)
    assert titles(outbox) == ["web0 is down", "web1 is down", "web1 is down", "web2 is down"]


def test_what_had_to_make_room_while_it_was_on_its_way_is_no_fault(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 1)
    disk = Disk()
    outbox = Outbox({"ops": "ab"}, disk)
    outbox.put("ops", a_message(0), NOW)
    row = outbox.next("ops", 0)
    assert row is not None
    outbox.handed(row)
    outbox.put("ops", a_message(1), NOW)
    outbox.sent(row, 0)
    assert titles(outbox, url=0) == titles(outbox, url=1) == ["web1 is down"]
    assert not disk.rows


def test_a_url_that_takes_nothing_keeps_no_message_from_the_others(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    counted, disk = Counted(), Disk()
    outbox = Outbox({"ops": "ab"}, disk, counted)
    for number in range(3):
        outbox.put("ops", a_message(number, severity=Severity.CRITICAL), NOW)
    titles(outbox, url=1)
    outbox.put("ops", a_message(3, severity=Severity.INFO), NOW)
    assert counted.count(("ops", Kind.DOWN, DeliveryOutcome.DROPPED)) == 1
    assert titles(outbox, url=1) == ["web3 is down"]
    assert titles(outbox, url=0) == ["web0 is down", "web1 is down", "web2 is down"]
    assert not disk.rows


def test_bytes_are_bounded_as_rows_are(monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    outbox = Outbox({"ops": "a"}, Disk())
    for number in range(20):
        outbox.put("ops", a_message(number, body="x" * 3000), NOW)
    assert titles(outbox) == ["web17 is down", "web18 is down", "web19 is down"]


def test_what_was_due_too_long_ago_is_given_up_at_the_url_that_takes_nothing():
    counted, disk = Counted(), Disk()
    outbox = Outbox({"ops": "ab"}, disk, counted)
    outbox.put("ops", a_message(0), NOW)
    outbox.put("ops", a_message(1), NOW + 100)
    assert outbox.give_up("ops", 0, NOW + 50) == 1
    assert counted == [("ops", Kind.DOWN, DeliveryOutcome.GIVEN_UP)]
    assert titles(outbox, url=0) == ["web1 is down"]
    assert titles(outbox, url=1) == ["web0 is down", "web1 is down"]
    assert not disk.rows


def test_a_channel_that_is_no_longer_configured_loses_its_messages_and_it_is_counted():
    counted, disk = Counted(), Disk()
    Outbox({"old": "a"}, disk).put("old", a_message(), NOW)
    again(disk, {"ops": "a"}, counted=counted)
    assert counted == [("old", Kind.DOWN, DeliveryOutcome.DROPPED)]
    assert not disk.rows


@pytest.mark.parametrize(
    "broken",
    [{"body": b"{"}, {"body": b"{}"}, {"taken": "x"}, {"state": "other"}, {"state": "sent"}],
)
def test_a_row_that_cannot_be_read_holds_up_nothing(broken):
    disk = Disk()
    outbox = Outbox({"ops": "a"}, disk)
    first = outbox.put("ops", a_message(0), NOW)
    outbox.put("ops", a_message(1), NOW)
    disk.rows[first] = disk.rows[first]._replace(**broken)
    assert titles(again(disk, {"ops": "a"})) == ["web1 is down"]
    assert not disk.rows


def test_times_of_an_earlier_run_are_moved_to_this_one():
    disk = Disk()
    Outbox({"ops": "a"}, disk).put("ops", a_message(), NOW + 60)
    row = again(disk, {"ops": "a"}, moved=-30.0).next("ops", 0)
    assert row is not None
    assert row.due_at == NOW + 30


def test_a_journal_that_takes_nothing_stops_no_message():
    class Full(Disk):
        def put_outbox(self, row):
            raise JournalError("full")

        remove_outbox = put_outbox

    outbox = Outbox({"ops": "a"}, Full())
    outbox.put("ops", a_message(), NOW)
    assert titles(outbox) == ["web0 is down"]


def test_strangers_text_is_bounded_when_it_is_put():
    outbox = Outbox({"ops": "a"}, Disk())
    outbox.put("ops", a_message(body="x" * 1_000_000), NOW)
    row = outbox.next("ops", 0)
    assert row is not None
    assert len(msgspec.json.encode(row.message)) < 20_000


def test_an_end_is_an_end():
    ends = {state for state, after in TRANSITIONS.items() if not after}
    assert ends == {State.SENT, State.GIVEN_UP, State.DROPPED}
    outbox = Outbox({"ops": "a"}, Disk())
    outbox.put("ops", a_message(), NOW)
    row = outbox.next("ops", 0)
    assert row is not None
    outbox.handed(row)
    outbox.sent(row, 0)
    with pytest.raises(AssertionError, match="cannot go from sent to tried"):
        outbox.handed(row)


async def test_the_journal_keeps_it_as_it_was(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", lambda: NOW)
    await journal.open()
    outbox = Outbox({"ops": "ab"}, journal)
    for number in range(2):
        outbox.put("ops", a_message(number, last_lines=("größer\x00", "b")), NOW)
    row = outbox.next("ops", 1)
    assert row is not None
    outbox.handed(row)
    outbox.sent(row, 1)
    await journal.close()
    await journal.open()
    later = Outbox({"ops": "ab"}, journal)
    later.load(*await journal.outbox())
    assert later.next("ops", 0) == row
    titles(later, url=0)
    titles(later, url=1)
    assert await journal.outbox() == ([], 2)
    await journal.close()


def test_a_channel_without_an_url_keeps_what_it_has():
    disk = Disk()
    Outbox({"ops": ""}, disk).put("ops", a_message(0), NOW)
    assert [row.message.title for row in again(disk, {"ops": ""}).waiting("ops")] == [
        "web0 is down"
    ]


def test_when_what_waits_is_due_is_known_by_channel():
    outbox = Outbox({"ops": "a", "home": "a"}, Disk())
    outbox.put("ops", a_message(0), NOW + 60)
    outbox.put("ops", a_message(1), NOW)
    row = outbox.next("ops", 0)
    assert row is not None
    outbox.handed(row)
    assert sorted(outbox.due("ops")) == [NOW, NOW + 60]
    outbox.sent(row, 0)
    assert (outbox.due("ops"), outbox.due("home")) == ([NOW + 60], [])
