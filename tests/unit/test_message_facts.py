"""What a message can say of a container: what can be had is kept, whatever else cannot, and no
secret is in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.app import message_facts
from dockmend.app.message_facts import MessageFacts
from dockmend.errors import EngineError, JournalError
from dockmend.mirror.identities import Identities
from dockmend.model import Container
from dockmend.notify.alarms import AlarmTrouble
from dockmend.notify.message import Kind
from dockmend.redaction import MARK
from dockmend.settings.channels import MOST_LINES
from tests.unit.test_model import container

DOWN = AlarmTrouble(
    key="down/container:web", kind=Kind.DOWN, target="container:web", object_name="web", since=1.0
)
GAVE_UP = AlarmTrouble(
    **{**{name: getattr(DOWN, name) for name in DOWN.__struct_fields__}, "kind": Kind.GAVE_UP}
)


class Asked:
    """An engine and a journal of which either answers, or not."""

    def __init__(
        self, lines: Any = (), env: tuple[str, ...] = (), check: str = "", journal: Any = None
    ) -> None:
        self.lines, self.env, self.check, self.journal = lines, env, check, journal
        self.present = container()
        self.before: Container | None = None  # what had its target before it

    async def inspect_raw(self, container_id: str) -> dict[str, Any]:
        return {
            "Config": {"Env": list(self.env)},
            "State": {"Health": {"Log": [{"Output": self.check}]}},
        }

    async def last_lines(self, container_id: str, count: int, *, terminal: bool) -> list[str]:
        if isinstance(self.lines, Exception):
            raise self.lines
        return list(self.lines)[-count:]

    async def incidents(self, **which: Any) -> list[Any]:
        raise JournalError("the disk is full")

    def finding(self) -> MessageFacts:
        memory = Identities()
        if self.before is not None:
            memory.seen(self.before)
        mirror: Any = SimpleNamespace(of_target=lambda target: self.present, identities=memory)
        here: Any = self
        return MessageFacts(
            here, mirror, here, lambda each: "no rule acts on it", lambda rule, target: 7.0
        )


@pytest.mark.parametrize("error", [EngineError("no such log driver"), TimeoutError()])
async def test_without_a_log_the_health_check_is_told_all_the_same(error):
    facts = await Asked(lines=error, check="refused\n").finding().of(DOWN)
    assert (facts.check, facts.lines, facts.why_not) == ("refused", (), "no rule acts on it")


async def test_as_many_lines_as_a_channel_may_ask_for():
    facts = await Asked(lines=[f"line {each}" for each in range(90)]).finding().of(DOWN)
    assert (len(facts.lines), facts.lines[-1]) == (MOST_LINES, "line 89")


async def test_without_a_journal_the_rest_is_told_all_the_same():
    facts = await Asked(lines=["a line"], check="refused").finding().of(GAVE_UP)
    assert (facts.check, facts.lines, facts.next_try_at, facts.attempts) == (
        "refused",
        ("a line",),
        7.0,
        0,
    )


async def test_a_key_in_several_lines_and_a_value_that_a_line_only_begins_are_taken_out():
    lines = [
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBg",
        "-----END PRIVATE KEY-----",
        "x" * 990 + "hunter2-hunter2",
    ]
    facts = await Asked(lines=lines, env=("SECRET=hunter2-hunter2",)).finding().of(DOWN)
    told = "\n".join(facts.lines)
    assert "MIIE" not in told
    assert "hunter" not in told
    assert len(facts.lines[-1]) <= message_facts.LONGEST_LINE + len(MARK)


async def test_beside_a_huge_environment_nothing_of_the_log_is_told():
    facts = (
        await Asked(lines=["…" * 900] * 20, env=("A=" + "y" * 200_000,), check="refused")
        .finding()
        .of(DOWN)
    )
    assert (facts.check, facts.lines) == (MARK, (MARK,))


@pytest.mark.parametrize(
    ("before", "image", "image_before"),
    [
        (None, "web:2", ""),
        (("web:1", "sha256:1a"), "web:2", "web:1"),
        (("web:2", "sha256:1a"), "2b", "web:2 (1a)"),
        (("web:2", "sha256:2b"), "web:2", ""),
        (("web:1", "sha256:2b"), "web:2", ""),
    ],
)
async def test_the_image_before_is_that_of_what_had_its_target_if_it_was_another(
    before, image, image_before
):
    asked = Asked()
    asked.present = replace(
        asked.present, id="n" * 64, image="web:2", image_id="sha256:2b", created_at=20.0
    )
    if before is not None:
        asked.before = replace(
            asked.present, id="o" * 64, image=before[0], image_id=before[1], created_at=10.0
        )
    facts = await asked.finding().of(DOWN)
    assert (facts.image, facts.image_before) == (image, image_before)
