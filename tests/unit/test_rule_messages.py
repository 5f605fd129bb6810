"""What rules tell: to whom it goes, and that it is put together with the record of its step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from msgspec.structs import replace

from dockmend.actions.action import ActionFailed, ActionResult, Nobody, Notice
from dockmend.app.rule_messages import RuleMessages
from dockmend.errors import JournalError
from dockmend.journal.records import Incident
from dockmend.mirror import Mirror
from dockmend.notify.message import Channel, Severity
from dockmend.notify.outbox import Outbox
from dockmend.notify.routing import Router, RoutingMoment
from dockmend.notify.wording import Where
from tests.unit.notify.making import NOW, Disk
from tests.unit.pipeline.clinic import WEB

INCIDENT = Incident(
    id="i1", rule="tell", trigger="container.unhealthy", target="container:web", kind="container",
    object_id=WEB.id, object_name="web", trouble="t", opened_at=0.0, severity="info",
)  # fmt: skip


class Journal(Disk):
    """In what order it was written to, and what of it together."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote: list[str] = []
        self.full = False

    @contextmanager
    def together(self) -> Iterator[None]:
        self.wrote.append("begin")
        yield
        self.wrote.append("end")

    def put_outbox(self, row: Any) -> None:
        super().put_outbox(row)
        self.wrote.append(row.channel)

    def mark(self, channels: tuple[str, ...]) -> None:
        if self.full:
            raise JournalError("the disk is full")
        self.wrote.append(f"marked {','.join(channels)}")


class Post:
    def __init__(self, *channels: Channel, labels: dict[str, str] | None = None) -> None:
        self.journal = Journal()
        self.mirror = Mirror()
        if labels is not None:
            list(self.mirror.relist([replace(WEB, labels=labels)], (), (), NOW, "started"))
        self.outbox = Outbox({each.name: "a" for each in channels}, self.journal)
        local = datetime.fromtimestamp(NOW, UTC)
        router = Router(
            {each.name: each for each in channels}, self.outbox, lambda: RoutingMoment(0.0, local)
        )
        where = Where("nas", lambda at: datetime.fromtimestamp(at, UTC))
        self.messages = RuleMessages(
            router, self.mirror, cast("Any", self.journal), where, lambda: NOW
        )

    def tell(self, *to: str, text: str = "web is slow") -> ActionResult:
        def fill(template: str, quoted: Callable[[str], str]) -> str:
            return template

        return self.messages.tell(INCIDENT, Notice(text, None, to or None, fill, self.journal.mark))

    def waiting(self, channel: str) -> list[str]:
        return [row.message.title for row in self.outbox.waiting(channel)]


def test_it_goes_to_the_channels_that_the_rule_names_whatever_they_take() -> None:
    post = Post(Channel("ops", severity=Severity.CRITICAL), Channel("home"))
    assert post.tell("ops", "ops").detail == "told ops"
    assert post.waiting("ops") == ["web is slow"]
    assert post.waiting("home") == []
    assert post.journal.wrote == ["begin", "marked ops", "ops", "end"]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({}, ["home"]),
        ({"dockmend.notify": "home"}, ["home"]),
        ({"dockmend.notify": "none"}, []),
        ({"dockmend.notify": "hone"}, ["home"]),
    ],
)
def test_if_it_names_none_the_label_and_the_severity_decide(
    labels: dict[str, str], told: list[str]
) -> None:
    post = Post(Channel("ops", severity=Severity.CRITICAL), Channel("home"), labels=labels)
    done = post.tell()
    assert [each for each in ("ops", "home") if post.waiting(each)] == told
    assert done.detail == ("told home" if told else "told nobody: no channel takes it")


def test_one_that_is_not_there_any_more_is_said_and_fails_only_if_it_is_the_only_one() -> None:
    post = Post(Channel("home"))
    assert (
        post.tell("ops", "home").detail == "told home; there is no channel ops (settings: notify)"
    )
    with pytest.raises(ActionFailed, match="no message was sent: there is no channel ops"):
        post.tell("ops")
    assert post.waiting("home") == ["web is slow"]


def test_without_a_channel_it_fails_and_says_why() -> None:
    notice = Notice("x", None, None, lambda text, quoted: text, lambda channels: None)
    with pytest.raises(ActionFailed, match="no message was sent: no channel is configured"):
        Nobody().tell(INCIDENT, notice)


def test_what_cannot_be_noted_is_not_sent() -> None:
    post = Post(Channel("home"))
    post.journal.full = True
    with pytest.raises(JournalError):
        post.tell()
    assert post.waiting("home") == []
