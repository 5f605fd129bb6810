"""Recreate against every option of `docker run`: inspect before and after, field by field."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from dockmend.actions.action import ActionFailed
from dockmend.actions.definition import define
from dockmend.rules.action_parameters import Recreate
from tests.integration.acting import Acting
from tests.integration.comparing import differences
from tests.integration.options import (
    BY_BODY,
    CASES,
    CREATED_ONLY,
    FILES,
    IMAGES,
    OF_THE_COMMAND,
    SURROUNDINGS,
    Case,
)
from tests.lab import PrivateEngine
from tests.lab.engine import TOOLBOX

AT_ONCE = 4
GROUPS = [sorted(CASES)[start::12] for start in range(12)]


def surround(docker: PrivateEngine, folder: Path, images: set[str]) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for line in SURROUNDINGS:
        docker.docker(*line)
    for image in images - {TOOLBOX}:
        docker.toolbox_image(image, changes=IMAGES[image])


def make(docker: PrivateEngine, name: str, one: Case, folder: Path) -> None:
    options = [each.replace("{folder}", str(folder)) for each in one.options]
    verb = ["create"] if name in CREATED_ONLY else ["run", "--detach"]
    docker.docker(*verb, "--name", name, *options, one.image, *one.command)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0])
async def test_a_recreated_container_is_what_it_was(
    acting: Acting, docker: PrivateEngine, tmp_path: Path, group: list[str]
) -> None:
    await asyncio.to_thread(surround, docker, tmp_path, {CASES[name].image for name in group})
    cap = asyncio.Semaphore(AT_ONCE)
    wrong: dict[str, list[str]] = {}

    async def one(name: str) -> None:
        async with cap:
            await asyncio.to_thread(make, docker, name, CASES[name], tmp_path)
            before = docker.inspect(name)
            try:
                await acting.run("recreate", Recreate(), name)
            except ActionFailed as failure:
                wrong[name] = [str(failure)]
                return
            after = docker.inspect(name)
            assert after["Id"] != before["Id"]
            if found := differences(before, after):
                wrong[name] = found

    async with asyncio.TaskGroup() as tasks:
        for name in group:
            tasks.create_task(one(name))
    assert wrong == {}


def test_every_option_of_the_command_is_tried_or_named(docker: PrivateEngine) -> None:
    page = docker.docker("run", "--help")
    known = re.findall(r"^ +(?:-(\w), )?--([a-z0-9-]+)", page, re.MULTILINE)
    assert len(known) > 95
    tried = {
        part.partition("=")[0]
        for each in CASES.values()
        for part in each.options
        if part.startswith("--")
    }
    missing = [
        name
        for _, name in known
        if f"--{name}" not in tried and name not in {*OF_THE_COMMAND, *BY_BODY}
    ]
    assert missing == []
    assert (
        len({(each.options, each.image, each.command) for each in CASES.values()})
        == len(CASES)
        >= 80
    )


@pytest.mark.parametrize("option", BY_BODY)
def test_what_cannot_be_made_here_passes_through(docker: PrivateEngine, option: str) -> None:
    docker.docker("create", "--name", "web", TOOLBOX)
    raw = docker.inspect("web")
    raw["HostConfig"] |= BY_BODY[option]
    raw["HostConfig"]["FromTheFuture"] = {"a": [1]}
    raw["Config"]["AlsoNew"] = "b"

    body = define(raw, docker.api("GET", f"/images/{TOOLBOX}/json")[1]).body

    assert {key: body["HostConfig"][key] for key in BY_BODY[option]} == BY_BODY[option]
    assert body["HostConfig"]["FromTheFuture"] == {"a": [1]}
    assert body["AlsoNew"] == "b"
