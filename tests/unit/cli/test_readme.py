"""What README.md and docs/cli.md show is what there is: rules load, settings hold, commands and files exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dockmend.cli.frame import COMMANDS, Commands, root
from dockmend.rules.loader import load_texts
from dockmend.settings import check_file
from dockmend.settings.load import VARIABLES
from dockmend.settings.model import FileSettings

TOP = Path(__file__).resolve().parents[3]
README = (TOP / "README.md").read_text()
CLI = (TOP / "docs" / "cli.md").read_text()


def blocks(text: str) -> list[str]:
    """The indented blocks of a Markdown text, without their indentation."""
    found = re.findall(r"(?:^    .*\n(?:[ \t]*\n(?=    ))*)+", text, re.MULTILINE)
    return ["\n".join(line.removeprefix("    ") for line in block.splitlines()) for block in found]


def test_the_rules_it_shows_load():
    shown = [block for block in blocks(README) if block.startswith("version: 1")]
    assert shown
    for block in shown:
        assert load_texts({"README.md": block}, host="h").rules


def test_the_settings_it_shows_hold(tmp_path):
    [shown] = [block for block in blocks(README) if block.startswith("heal: ")]
    (tmp_path / "dockmend.yaml").write_text(shown)
    assert check_file(tmp_path / "dockmend.yaml") == []


def test_the_settings_reference_holds_and_has_every_key(tmp_path):
    text = (TOP / "docs" / "settings.md").read_text()
    [shown] = [block for block in blocks(text) if block.startswith("heal: ")]
    (tmp_path / "dockmend.yaml").write_text(shown)
    assert check_file(tmp_path / "dockmend.yaml") == []
    assert [key for key in FileSettings.model_fields if f"`{key}" not in text] == []
    assert [key for key in VARIABLES if f"{key.rpartition('.')[2]}`" not in text] == []


def test_the_errors_it_shows_are_those_that_come(dockmend, tmp_path, monkeypatch):
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d" / "web.yaml").write_text(
        'version: 1\nrules:\n  - name: web\n    when: container.unhealty\n    match: {nam: "web*"}\n    then: restart\n'
        "    limits: {cooldown: off, attempts: 5}\n"
    )
    monkeypatch.chdir(tmp_path)
    [shown] = [block for block in blocks(README) if block.startswith("$ dockmend check")]
    assert dockmend("check", "rules.d").err == shown.partition("\n")[2] + "\n"


@pytest.mark.parametrize("text", [README, CLI], ids=["README.md", "docs/cli.md"])
def test_every_command_it_names_is_there_with_its_flags(text):
    group = root
    assert isinstance(group, Commands)
    quoted = re.findall(r"(?:`|\$ (?:\S*/)?)dockmend ([a-z][^`\n]*)", text)
    assert quoted
    for line in quoted:
        words = shlex.split(line.split(" >")[0].replace("[", " ").replace("]", " ").replace("…", ""))
        assert words[0] in COMMANDS, line
        command = group.get_command(None, words[0])  # type: ignore[arg-type] # the group asks nothing of its context
        assert command is not None
        known = {flag for each in command.params for flag in each.opts}
        assert {word for word in words if word.startswith("--")} - {"--help"} <= known, line


def test_the_reference_has_every_command():
    for name in COMMANDS:
        assert re.search(rf"`(dockmend )?{name}\b", CLI), name


@pytest.mark.parametrize("text", [README, CLI], ids=["README.md", "docs/cli.md"])
def test_every_file_it_names_is_there(text):
    names = set(re.findall(r"\]\(([^)#]+)\)", text)) | set(re.findall(r"`(tests/[^`]+\.py)`", text))
    names |= {f"tests/integration/{name}" for name in re.findall(r"`(test_[^`]+\.py)`", text)}
    missing = [name for name in sorted(names) if not name.startswith("http") and not (TOP / name).exists()]
    assert missing == []


def test_what_it_installs_is_there():
    for path in ("systemd/dockmend.service", "deploy/compose.yaml", "requirements/runtime.txt", "rules.d", "Makefile"):
        assert path in README or path == "Makefile"
        assert (TOP / path).exists()
