"""The folder of the rules is watched by its name: whatever bears it next is heard too."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dockmend.app import rule_store
from dockmend.app.rule_store import RuleStore
from dockmend.settings import Settings

RULE = "version: 1\nrules:\n  - {name: NAME, when: startup, match: all, then: restart}\n"


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RuleStore:
    monkeypatch.setattr(rule_store, "LOOK_AGAIN", 0.05)
    written(tmp_path / "config/rules.d", "first")
    (tmp_path / "state").mkdir(mode=0o700)
    paths = {
        "rules": tmp_path / "config/rules.d",
        "state": tmp_path / "state",
        "socket": tmp_path / "s",
    }
    return RuleStore(Settings.model_validate({"heal": "off", "paths": paths}), "lab", lambda: 0.0)


def written(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(RULE.replace("NAME", name))


@asynccontextmanager
async def watched(one: RuleStore) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Gives a function that waits until rules of these names, and no others, are in force."""
    heard = asyncio.Event()

    async def in_force(*names: str) -> None:
        while {rule.name for rule in one.current.rules} != set(names):
            await heard.wait()
            heard.clear()
            await one.reload("root")

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        watch = group.create_task(one.watch(heard.set))
        yield in_force
        watch.cancel()


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("old"))


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def moved_with_what_is_above(folder: Path) -> None:
    folder.parent.rename(folder.parent.with_name("old"))


@pytest.mark.parametrize("go", [moved, removed, moved_with_what_is_above])
@pytest.mark.parametrize("waits", [True, False])
async def test_a_folder_that_went_and_was_made_anew_is_watched_again(
    one: RuleStore, go: Callable[[Path], None], waits: bool
) -> None:
    folder = one.settings.paths.rules
    await one.start()
    async with watched(one) as in_force:
        written(folder, "second")
        await in_force("first", "second")
        go(folder)
        if waits:
            await in_force()
        written(folder, "third")
        await in_force("third")
        written(folder, "fourth")
        await in_force("third", "fourth")


async def test_a_folder_that_comes_with_its_files_in_it_is_read(one: RuleStore) -> None:
    folder = one.settings.paths.rules
    folder.rename(folder.with_name("made"))
    await one.start()
    async with watched(one) as in_force:
        folder.with_name("made").rename(folder)
        await in_force("first")


async def test_a_link_that_leads_to_another_folder_is_followed(
    one: RuleStore, tmp_path: Path
) -> None:
    folder = one.settings.paths.rules
    folder.rename(folder.with_name("v1"))
    written(folder.with_name("v2"), "second")
    folder.symlink_to("v1")
    await one.start()
    async with watched(one) as in_force:
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").replace(folder)
        await in_force("second")
        written(folder.with_name("v2"), "third")
        await in_force("second", "third")


async def test_what_changed_between_the_load_and_the_watch_is_heard(one: RuleStore) -> None:
    await one.start()
    written(one.settings.paths.rules, "second")
    async with watched(one) as in_force:
        await in_force("first", "second")


async def test_a_change_that_cannot_be_loaded_is_told_once(
    one: RuleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a settings file with an error would be told with every look."""
    await one.start()
    told: list[int] = []
    looks = asyncio.Semaphore(0)

    async def changes(folder: Path) -> AsyncIterator[set[object]]:
        for _ in range(5):
            yield set()
        looks.release()
        await asyncio.Event().wait()

    written(one.settings.paths.rules, "second")
    monkeypatch.setattr(rule_store, "_changes", changes)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        watch = group.create_task(one.watch(lambda: told.append(1)))
        await looks.acquire()
        watch.cancel()
    assert told == [1]
