"""What the documents show is what there is: rules load, settings hold, commands, files and `make`
targets exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from dockmend.cli.command_frame import COMMANDS, CommandGroup, root
from dockmend.rules.loader import load_texts
from dockmend.rules.owner_labels import wishes
from dockmend.settings import check_file, schema
from dockmend.settings.sections import FileSettings
from dockmend.settings.variables import VARIABLES
from tests.unit.rules.schema_subset import errors

TOP = Path(__file__).resolve().parents[3]
README = (TOP / "README.md").read_text()
CLI = (TOP / "docs" / "cli.md").read_text()
RULES = (TOP / "docs" / "rules.md").read_text()
DOCUMENTS = (
    sorted(TOP.glob("*.md")) + sorted(TOP.glob("docs/**/*.md")) + sorted(TOP.glob("bench/*.md"))
)
SOCKET = "/var/run/docker.sock"
FOLDERS = "tests|docs|daemon|bench|deploy|systemd|requirements"


def blocks(text: str) -> list[str]:
    """The indented blocks of a Markdown text, without their indentation."""
    found = re.findall(r"(?:^    .*\n(?:[ \t]*\n(?=    ))*)+", text, re.MULTILINE)
    return ["\n".join(line.removeprefix("    ") for line in block.splitlines()) for block in found]


def test_the_container_it_shows_is_what_the_file_for_compose_runs():
    [shown] = [yaml.safe_load(block) for block in blocks(README) if "image: dockmend" in block]
    file = yaml.safe_load((TOP / "deploy" / "compose.yaml").read_text())
    short, whole = shown["services"]["dockmend"], file["services"]["dockmend"]
    assert {key for key in short if short[key] != whole[key]} == {"environment", "volumes"}
    assert short["volumes"] == [
        re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", each) for each in whole["volumes"]
    ]
    assert set(shown["volumes"]) == set(file["volumes"])
    assert set(short["environment"]) == {"TZ", "DOCKMEND_NOTIFY_URL"}
    assert set(short["environment"]) <= set(whole["environment"])


def test_the_labels_it_shows_are_understood():
    [shown] = [yaml.safe_load(block) for block in blocks(README) if "network_mode" in block]
    labels = [each.get("labels", {}) for each in shown["services"].values()]
    assert sum(len(each) for each in labels) == 3
    for each in labels:
        assert wishes(each).errors == ()


def test_the_rules_it_shows_load():
    shown = [block for block in blocks(RULES) if block.startswith("version: 1")]
    assert len(shown) > 1
    assert load_texts({"rules.md": shown[0]}, host="h").rules


def test_it_is_read_in_a_minute():
    assert len(README.splitlines()) < 150


def test_the_settings_reference_holds_and_has_every_key(tmp_path):
    text = (TOP / "docs" / "settings.md").read_text()
    [shown] = [block for block in blocks(text) if block.startswith("heal: ")]
    (tmp_path / "dockmend.yaml").write_text(shown)
    assert check_file(tmp_path / "dockmend.yaml") == []
    assert [key for key in FileSettings.model_fields if f"`{key}" not in text] == []
    assert [
        key
        for key in VARIABLES
        if f"{key.rpartition('.')[2]}`" not in text and f"`{key}." not in text
    ] == []


def test_the_errors_it_shows_are_those_that_come(dockmend, tmp_path, monkeypatch):
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d" / "web.yaml").write_text(
        "version: 1\nrules:\n  - name: web\n    when: container.unhealty\n    match: {nam: "
        '"web*"}\n    then: restart\n'
        "    limits: {cooldown: off, attempts: 5}\n"
    )
    monkeypatch.chdir(tmp_path)
    [shown] = [block for block in blocks(RULES) if block.startswith("$ dockmend check")]
    assert dockmend("check", "rules.d").err == shown.partition("\n")[2] + "\n"


@pytest.mark.parametrize("path", ["docs/settings.md"])
def test_an_editor_that_goes_by_the_schema_finds_nothing_wrong_with_the_settings_shown(path):
    [shown] = [block for block in blocks((TOP / path).read_text()) if block.startswith("heal: ")]
    told = schema()
    assert errors(told, yaml.safe_load(shown), told) == []
    assert errors(told, {"policy": {"protect": {"name": 3}}}, told) != []


@pytest.mark.parametrize("text", [README, CLI], ids=["README.md", "docs/cli.md"])
def test_every_command_it_names_is_there_with_its_flags(text):
    group = root
    assert isinstance(group, CommandGroup)
    quoted = re.findall(r"(?:`|\$ (?:\S*/)?)dockmend ([a-z][^`\n]*)", text)
    assert quoted
    for line in quoted:
        words = shlex.split(
            line.split(" >")[0].replace("[", " ").replace("]", " ").replace("…", "")
        )
        assert words[0] in COMMANDS, line
        command = group.get_command(None, words[0])  # type: ignore[arg-type] # the group asks nothing of its context
        assert command is not None
        known = {flag for each in command.params for flag in each.opts}
        assert {word for word in words if word.startswith("--")} - {"--help"} <= known, line


def test_the_reference_has_every_command():
    for name in COMMANDS:
        assert re.search(rf"`(dockmend )?{name}\b", CLI), name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_every_file_it_names_is_there(path):
    text = path.read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    named = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./*-]*[\w*/]", text)
    named += [f"tests/**/{name}" for name in re.findall(r"(?<![\w/*])test_\w+\.py", text)]
    # what runs write, and git ignores
    named = [name for name in named if not name.startswith("bench/out")]
    assert missing + [name for name in named if not any(TOP.glob(name.rstrip("/")))] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_every_target_of_make_it_names_is_there(path):
    named = set(re.findall(r"(?:`|^ {4}|sudo )make ([a-z]+)", path.read_text(), re.MULTILINE))
    targets = re.findall(r"^([a-z ]+):", (TOP / "Makefile").read_text(), re.MULTILINE)
    assert named <= {name for line in targets for name in line.split()}


def test_what_it_installs_is_there():
    assert "docker compose -f deploy/compose.yaml up" in README
    assert (TOP / "deploy/compose.yaml").exists()
