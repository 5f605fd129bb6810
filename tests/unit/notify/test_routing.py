"""Where messages go, and when: channels, quiet hours, the digest, too many at once, what is over
before it went out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from dockmend.notify.message import Channel, Kind, Message, Severity
from dockmend.notify.outbox import Outbox
from dockmend.notify.routing import Addressed, Router, RoutingMoment
from tests.unit.notify.making import Disk

MORNING = datetime(2026, 12, 2, 8, 30, tzinfo=UTC)
NIGHT = datetime(2026, 12, 2, 23, 30, tzinfo=UTC)
DOWN = Message(
    kind=Kind.DOWN, severity=Severity.WARNING, key="down/container:web", object_name="web",
    title="🔴 web is down", body="Exit code 1.", at=MORNING.timestamp(), host="nas",
)  # fmt: skip
RESOLVED = replace(DOWN, kind=Kind.RESOLVED, title="✅ web is well again", body="It lasted 4 min.")
HEALED = replace(
    DOWN,
    kind=Kind.HEALED,
    severity=Severity.INFO,
    key="healed/container:web",
    title="✅ web healed",
)
QUIET = Channel("ops", quiet=(22 * 60, 7 * 60))


class Post:
    """A router with an outbox and a clock on the wall; dockmend's own clock shows 1000 seconds
    less."""

    def __init__(self, *channels: Channel, local: datetime = MORNING) -> None:
        self.local = local
        self.box = Outbox({each.name: "a" for each in channels}, Disk())
        self.handed = 0
        self.router = Router({each.name: each for each in channels}, self.box, self.now)

    def now(self) -> RoutingMoment:
        return RoutingMoment(self.local.timestamp() - 1000.0, self.local)

    def passes(self, seconds: float) -> None:
        self.local = datetime.fromtimestamp(self.local.timestamp() + seconds, UTC)

    def send(
        self, *messages: Message, to: tuple[str, ...] | None = None, by_rule: bool = False
    ) -> list[tuple[str, ...]]:
        return self.router.send([Addressed(each, to, by_rule) for each in messages])

    def waiting(self, channel: str = "ops") -> list[tuple[str, str]]:
        """What waits, and when it is due on the wall."""
        return [
            (row.message.title, f"{datetime.fromtimestamp(row.due_at + 1000.0, UTC):%d %H:%M:%S}")
            for row in self.box.waiting(channel)
        ]

    def hand_over(self) -> None:
        """What is due was handed to the channels."""
        now = self.now().clock
        for channel in self.router.channels:
            for row in self.box.waiting(channel):
                if row.due_at <= now:
                    self.box.handed(row)
                    self.handed += 1


def test_an_alarm_goes_at_once_to_every_channel_that_takes_its_kind():
    post = Post(
        Channel("ops"),
        Channel("grave", severity=Severity.CRITICAL),
        Channel("heals", at_once=frozenset({Kind.HEALED})),
    )
    assert post.send(DOWN) == [("ops",)]
    assert post.send(replace(DOWN, severity=Severity.CRITICAL)) == [("ops", "grave")]
    assert post.waiting() == [("🔴 web is down", "02 08:30:00")] * 2
    assert post.waiting("heals") == []


def test_a_message_for_some_channels_goes_to_those_that_there_are():
    post = Post(Channel("ops"), Channel("phone"))
    assert post.send(DOWN, to=("phone", "elsewhere")) == [("phone",)]
    assert post.send(DOWN, to=()) == [()]


def test_what_a_rule_tells_goes_to_the_channels_that_it_names_and_else_to_those_of_its_severity():
    told = replace(DOWN, kind=Kind.TOLD, severity=Severity.INFO)
    post = Post(
        Channel("ops", at_once=frozenset(), severity=Severity.CRITICAL),
        Channel("all", digest=frozenset()),
    )
    assert post.send(told, to=("ops",), by_rule=True) == [("ops",)]
    assert post.send(told) == [("all",)]
    assert post.send(told, to=("ops",)) == [()], "named by a container's label"
    assert post.send(replace(told, severity=Severity.CRITICAL)) == [("ops", "all")]
    assert post.waiting() == [("🔴 web is down", "02 08:30:00")] * 2, "never in a digest"


@pytest.mark.parametrize(
    ("local", "due"),
    [
        (datetime(2026, 12, 2, 21, 59, 59, tzinfo=UTC), "02 21:59:59"),
        (datetime(2026, 12, 2, 22, 0, tzinfo=UTC), "03 07:00:00"),
        (NIGHT, "03 07:00:00"),
        (datetime(2026, 12, 3, 6, 59, 59, tzinfo=UTC), "03 07:00:00"),
        (datetime(2026, 12, 3, 7, 0, tzinfo=UTC), "03 07:00:00"),
    ],
)
def test_in_the_quiet_hours_it_waits_for_their_end(local: datetime, due: str):
    post = Post(QUIET, local=local)
    post.send(DOWN)
    assert post.waiting() == [("🔴 web is down", due)]


def test_quiet_hours_within_one_day():
    post = Post(Channel("ops", quiet=(8 * 60, 9 * 60)))
    post.send(DOWN)
    assert post.waiting() == [("🔴 web is down", "02 09:00:00")]
    post.passes(3600)
    post.send(DOWN)
    assert post.waiting()[1] == ("🔴 web is down", "02 09:30:00")


def test_what_is_critical_wakes_somebody():
    post = Post(QUIET, local=NIGHT)
    post.send(replace(DOWN, severity=Severity.CRITICAL))
    assert post.waiting() == [("🔴 web is down", "02 23:30:00")]


def test_what_is_over_before_it_went_out_is_one_message():
    post = Post(QUIET, local=NIGHT)
    post.send(DOWN, replace(DOWN, key="down/container:db", title="🔴 db is down"))
    post.passes(60)
    post.send(RESOLVED, to=("ops",))
    assert post.waiting() == [
        ("🔴 db is down", "03 07:00:00"),
        ("✅ web is well again", "03 07:00:00"),
    ]
    assert "🔴 web is down\nExit code 1." in post.box.waiting("ops")[1].message.body


def test_what_somebody_may_have_seen_is_not_taken_back():
    post = Post(Channel("ops"))
    post.send(DOWN)
    post.hand_over()
    post.send(RESOLVED, to=("ops",))
    (row,) = post.box.waiting("ops")
    assert row.message == RESOLVED


def test_an_alarm_stays_where_its_end_is_not_wanted():
    post = Post(Channel("ops", at_once=frozenset({Kind.DOWN})))
    post.send(DOWN)
    assert post.send(RESOLVED, to=("ops",)) == [()]
    assert post.waiting() == [("🔴 web is down", "02 08:30:00")]


def test_the_digest_is_one_message_at_its_time():
    post = Post(Channel("ops"))
    post.send(HEALED)
    post.passes(3600)
    post.send(replace(HEALED, title="✅ db healed", at=post.local.timestamp()))
    assert post.waiting() == [("nas: what happened (2)", "03 08:00:00")]
    assert post.box.waiting("ops")[0].message.body == "08:30 ✅ web healed\n09:30 ✅ db healed"
    post.passes(86400)
    post.hand_over()
    post.send(HEALED)
    assert post.waiting() == [("nas: what happened (1)", "04 08:00:00")]


def test_what_comes_as_the_digest_is_due_goes_with_it_or_waits_a_day():
    post = Post(Channel("ops"), local=datetime(2026, 12, 2, 7, 59, 59, tzinfo=UTC))
    post.send(HEALED)
    post.passes(1)
    post.send(HEALED)
    assert post.waiting() == [("nas: what happened (2)", "02 08:00:00")]
    post.hand_over()
    post.send(HEALED)
    assert post.waiting() == [("nas: what happened (1)", "03 08:00:00")]


def test_the_digest_takes_what_it_names_however_grave():
    post = Post(Channel("ops", severity=Severity.CRITICAL, digest_at=9 * 60))
    assert post.send(HEALED) == [("ops",)]
    assert post.waiting() == [("nas: what happened (1)", "02 09:00:00")]


def many(count: int, severity: Severity = Severity.WARNING, start: int = 0) -> list[Message]:
    return [
        replace(
            DOWN,
            key=f"down/container:web{number}",
            title=f"🔴 web{number} is down",
            severity=severity,
        )
        for number in range(start, start + count)
    ]


def test_ten_in_a_minute_go_one_by_one_and_what_is_more_as_one():
    post = Post(Channel("ops"))
    for each in many(12):
        post.send(each)
        post.hand_over()
        post.passes(1)
    assert post.handed == 10
    assert post.waiting()[-1] == ("nas: 2 messages", "02 08:31:10")
    assert (
        post.box.waiting("ops")[-1].message.body == "08:30 🔴 web10 is down\n08:30 🔴 web11 is down"
    )
    post.passes(120)
    post.hand_over()
    post.send(DOWN)
    assert post.waiting() == [("🔴 web is down", "02 08:32:12")]


def test_what_follows_a_list_that_waits_is_added_to_it():
    post = Post(Channel("ops"))
    for each in many(11):
        post.send(each)
        post.hand_over()
    post.passes(59)
    post.send(RESOLVED, to=("ops",))
    assert post.waiting()[-1] == ("nas: 2 messages", "02 08:31:00")


def test_many_that_come_together_are_one_message_at_once():
    post = Post(Channel("ops"))
    post.send(*many(11))
    assert post.waiting() == [("nas: 11 messages", "02 08:30:00")]
    post.send(DOWN)
    assert post.waiting() == [("nas: 12 messages", "02 08:30:00")]


def test_what_waits_for_a_receiver_that_is_away_does_not_come_one_by_one_when_it_is_back():
    post = Post(Channel("ops"))
    post.send(DOWN)
    post.hand_over()  # it did not take this one, which is tried again
    for each in many(300):
        post.passes(75)
        post.send(each)
    (row,) = post.box.waiting("ops")
    assert row.message.title == "nas: 300 messages"
    assert row.due_at <= post.now().clock
    post.passes(600)
    post.hand_over()
    post.send(DOWN)
    assert [title for title, _ in post.waiting()] == ["🔴 web is down"]


def test_the_hosts_name_is_no_link_in_a_lists_title():
    post = Post(Channel("ops", digest=frozenset({Kind.HEALED})))
    post.send(replace(HEALED, host="nas.example.com"))
    post.send(*(replace(each, host="nas.example.com") for each in many(12)))
    titles = {title for title, _ in post.waiting()}
    assert titles == {"nas․example․com: what happened (1)", "nas․example․com: 12 messages"}  # noqa: RUF001 - no link


def test_what_is_critical_is_no_line_of_a_list_of_lesser_messages():
    post = Post(Channel("ops"))
    post.send(*many(30))
    post.send(replace(DOWN, severity=Severity.CRITICAL))
    assert post.waiting() == [
        ("nas: 30 messages", "02 08:30:00"),
        ("🔴 web is down", "02 08:30:00"),
    ]
    post.hand_over()
    post.send(*many(20, Severity.CRITICAL))
    assert post.waiting()[-1] == ("nas: 20 messages", "02 08:30:00")
    assert post.box.waiting("ops")[-1].message.severity is Severity.CRITICAL


def test_in_a_list_what_stands_comes_first_and_of_that_what_is_grave():
    post = Post(Channel("ops"))
    over = [
        replace(each, kind=Kind.RESOLVED, title=f"✅ {each.key}") for each in many(60, start=100)
    ]
    info = [replace(each, severity=Severity.INFO) for each in many(60, start=200)]
    for together in (over, info, [DOWN]):
        post.send(*together)
    (row,) = post.box.waiting("ops")
    lines = row.message.body.split("\n")
    assert lines[0] == "08:30 🔴 web is down"
    assert lines[1] == "08:30 🔴 web200 is down"
    assert lines[-1] == "and 81 more: dockmend incidents"
    assert (row.message.kind, row.message.severity) == (Kind.DOWN, Severity.WARNING), (
        "it is shown as what is worst"
    )


def test_one_that_comes_and_goes_leaves_room_for_the_others():
    post = Post(QUIET, local=NIGHT)
    for number in range(120):
        post.send(replace(DOWN, title=f"🔴 web is down, {number}"))
        if number == 100:
            post.send(*many(1))
    rows = post.box.waiting("ops")
    lines = [line for row in rows for line in row.message.body.split("\n") if row.message.parts]
    assert "08:30 🔴 web0 is down" in [each[-len("08:30 🔴 web0 is down") :] for each in lines]
    assert sum("web is down" in each for each in lines) <= 40
    assert any("messages about it)" in each for each in lines)
    assert (
        sum(int(row.message.key.partition("/")[2]) if row.message.parts else 1 for row in rows)
        == 121
    )


def test_a_list_is_bounded_and_says_how_many_there_are():
    post = Post(Channel("ops"))
    for start, count in ((0, 50), (50, 30), (80, 20)):
        post.send(*many(count, start=start))
    assert post.waiting() == [("nas: 100 messages", "02 08:30:00")]
    lines = post.box.waiting("ops")[0].message.body.split("\n")
    assert lines[-1] == "and 60 more: dockmend incidents"
    assert len(lines) == 41
    assert lines[39] == "08:30 🔴 web39 is down"


def test_what_the_quiet_hours_kept_does_not_come_one_by_one_in_the_morning():
    post = Post(QUIET, local=NIGHT)
    post.send(HEALED)
    for each in many(10):
        post.send(each)
        post.passes(120)
    assert len(post.waiting()) == 11
    post.send(DOWN)
    assert post.waiting() == [
        ("nas: what happened (1)", "03 08:00:00"),
        ("nas: 11 messages", "03 07:00:00"),
    ]


def test_one_channels_quiet_hours_are_not_anothers():
    post = Post(QUIET, Channel("phone"), local=NIGHT)
    assert post.send(DOWN) == [("ops", "phone")]
    assert post.waiting() == [("🔴 web is down", "03 07:00:00")]
    assert post.waiting("phone") == [("🔴 web is down", "02 23:30:00")]
