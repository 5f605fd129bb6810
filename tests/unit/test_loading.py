"""Rules are read beside the loop: large sets and large wrong files hold nothing up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dockmend.errors import InvalidFiles
from dockmend.rules.loader import load_texts
from tests.fakes.engine import FakeEngine
from tests.unit.test_daemon import running, settings

MIB = 1 << 20
LONGEST = 0.1
"""Seconds of this process's own time that the loop may be kept from its next turn."""

RULE = (
    "  - {{name: r{0}, when: container.unhealthy, match: {{name: 'web-{0}-*'}}, then: restart}}\n"
)
GOOD = "version: 1\nrules:\n" + "".join(RULE.format(number) for number in range(8000))

WRONG = {
    "rules": (
        "version: 1\nrules:\n",
        "  - {name: a, wen: container.unhealthy, match: {nam: x}, then: restrt}\n",
    ),
    "a key again and again": (
        "version: 1\nrules:\n  - name: a\n",
        "    when: container.unhealthy\n",
    ),
    "tags": ("Resources:\n", "  A: !Sub 'x'\n"),
    "one key after another": ("", "{number}: x\n"),
    "what is no YAML": ("version: 1\nrules:\n", "  - name: a\n  b: [\n"),
    "a rule at the end": (GOOD[: MIB - 200].rpartition("  - ")[0], "  - {name: z, wen: x}\n"),
    "a bracket at the end": (GOOD[: MIB - 200].rpartition("  - ")[0], "  - [\n"),
}


def wrong(name: str) -> str:
    """A file of just under 1 MiB."""
    head, line = WRONG[name]
    lines = (
        (line.format(number=number) for number in range((MIB - len(head)) // len(line)))
        if "{number}" in line
        else None
    )
    body = line * ((MIB - len(head)) // len(line)) if lines is None else "".join(lines)
    return (head + body)[: MIB - 1] if "at the end" not in name else head + line


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_of_a_mebibyte_is_told_within_two_seconds(name: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidFiles) as raised:
        load_texts({"a.yaml": wrong(name).encode()}, host="lab")
    assert time.process_time() - began < 2.0
    assert 1 <= len(raised.value.problems) <= 201


def test_of_many_errors_the_first_are_told_and_that_there_are_more() -> None:
    with pytest.raises(InvalidFiles) as raised:
        load_texts({"a.yaml": wrong("rules"), "b.yaml": wrong("a key again and again")}, host="lab")
    of_a = [problem for problem in raised.value.problems if problem.path == "a.yaml"]
    of_b = [problem for problem in raised.value.problems if problem.path == "b.yaml"]
    assert (len(of_a), len(of_b)) == (201, 201)
    assert "more than 200 errors: the others are not shown" in {problem.message for problem in of_a}
    assert "more than 200 errors: the others are not shown" in {problem.message for problem in of_b}


async def worst_turn(of: Callable[[], Awaitable[object]]) -> tuple[float, int]:
    """The longest that the loop waited for its next turn (seconds of this process's time), and how
    many it had."""
    done = asyncio.Event()
    turns: list[float] = []

    async def beat() -> None:
        last = time.process_time()
        while not done.is_set():
            await asyncio.sleep(0.001)
            now = time.process_time()
            turns.append(now - last)
            last = now

    async with asyncio.TaskGroup() as group:
        group.create_task(beat())
        try:
            await of()
        finally:
            done.set()
    return max(turns), len(turns)


@pytest.mark.parametrize("name", ["good", *WRONG])
async def test_the_loop_goes_on_while_rules_are_read_again(tmp_path: Path, name: str) -> None:
    fake = await FakeEngine(tmp_path).start()
    async with running(fake, settings(tmp_path)) as one:
        (one.settings.paths.rules / "rules.yaml").write_text(
            GOOD if name == "good" else wrong(name)
        )

        async def reload() -> None:
            if name == "good":
                assert len((await one.reloading.now()).rules) == 8000
            else:
                with pytest.raises(InvalidFiles):
                    await one.reloading.now()

        worst, _ = await worst_turn(reload)
        assert worst < LONGEST
    await fake.stop()
