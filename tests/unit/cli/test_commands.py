"""The contract of the command line: every command is there, explains itself, and answers nonsense
with a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockmend import __version__
from dockmend.cli import command_frame
from dockmend.errors import DockmendError, EngineAway, InvalidFiles, Permanent, Problem, UsageError

CONTRACT = [
    "run", "check", "schema", "rules", "coverage", "graph", "explain", "record", "status",
    "incidents", "pause", "resume", "reset", "reload", "trigger", "notify", "snapshots", "demo",
    "doctor",
]  # fmt: skip
"""Every command, in the order of `dockmend --help`."""

FLAGS = {
    "run": (
        "--config",
        "--rules",
        "--state",
        "--engine",
        "--listen",
        "--metrics-listen",
        "--dry-run",
        "--log-format",
    ),
    "check": ("--json",),
    "rules": ("--json", "--state", "--socket"),
    "coverage": ("--json", "--engine"),
    "explain": ("--events", "--container", "--trigger", "--json"),
    "status": ("--json", "--state", "--socket"),
    "incidents": ("--json", "--container", "--since", "--state"),
    "pause": ("--rule", "--container", "--for"),
    "resume": ("--rule", "--container"),
    "notify": ("--list", "--test", "--json", "--state", "--config"),
    "doctor": ("--json", "--engine", "--state"),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_every_command_of_the_contract_is_there_and_explains_itself(name, dockmend):
    ran = dockmend(name, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: dockmend {name}")
    for flag in FLAGS.get(name, ()):
        assert flag in ran.out


@pytest.mark.parametrize("name", ["list", "create", "verify", "restore", "prune", "diff"])
def test_every_command_of_snapshots_is_there(name, dockmend):
    ran = dockmend("snapshots", name, "--help")
    assert ran.code == 0
    assert "--state" in ran.out


def test_help_lists_every_command_without_importing_any(dockmend):
    assert list(command_frame.COMMANDS) == CONTRACT
    ran = dockmend("--help")
    assert all(name in ran.out for name in CONTRACT)
    script = (
        "import sys; from dockmend.cli import execute; execute(['--help']); print([m for m "
        "in sys.modules if m in %r])"
    )
    heavy = [
        "pydantic",
        "aiodocker",
        "aiohttp",
        "yaml",
        "msgspec",
        "structlog",
        "prometheus_client",
    ]
    done = subprocess.run(
        [sys.executable, "-c", script % heavy],
        capture_output=True,
        text=True,
        check=True,
        env=_env(),
    )
    assert done.stdout.splitlines()[-1] == "[]"


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_the_version(dockmend):
    assert dockmend("--version").out == f"dockmend {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Usage: dockmend"),
        (("statsu",), 2, "there is no command 'statsu': did you mean status?"),
        (("xyzzy",), 2, "there is no command 'xyzzy' (`dockmend --help` explains it)"),
        (("test", "rules"), 2, "not yet in this version: test"),
        (("fleet",), 2, "not yet in this version: fleet"),
        (("status", "--nope"), 2, "No such option"),
        (("status", "extra"), 2, "unexpected extra argument"),
        (("reset", "one"), 2, "Usage: dockmend reset [OPTIONS] RULE TARGET"),
        (("trigger", "one"), 2, "Usage: dockmend trigger [OPTIONS] RULE NAME"),
        (("snapshots", "verify"), 2, "Usage: dockmend snapshots verify [OPTIONS] ID"),
        (("pause", "--for", "5"), 2, '--for: "5" has no unit'),
        (("pause", "--for", "0s"), 2, '--for: "0s" leaves no time at all'),
        (("pause", "--for", "1h", "--rule"), 2, "requires an argument"),
        (("incidents", "--since", "yesterday"), 2, "--since"),
        (("incidents", "--limit", "0"), 2, "--limit"),
        (("explain",), 2, "--events FILE.ndjson, or a container's name"),
        (("explain", "--trigger", "container.unhealthy"), 2, ("--events FILE.ndjson, or a "
        "container's name")),
        (("explain", "a", "--container", "b"), 2, "a and --container b: say which of them"),
        (("explain", "--container", "c", "--trigger", "container.unhealty"), 2,
            "did you mean container.unhealthy?"),
        (("explain", "--container", "c", "--trigger", "service.degraded"), 2,
            "not yet in this version"),
        (("explain", "--container", "c", "--trigger", "engine.lost"), 2, "happens to no container"),
        (("explain", "--events", "/does/not/exist"), 2, "cannot be read"),
        (("schema", "nothing"), 2, "is not one of"),
        (("run", "--listen", "x"), 2, "--listen: http.listen: 'x' is no address"),
        (("run", "--config", "/does/not/exist"), 2, "/does/not/exist: cannot be read"),
        (("snapshots", "restore", "v@1", "--in-place", "--to", "w"), 2, ("--to and --in-place: "
        "one of them")),
        (("snapshots", "list", "--state", "/does/not/exist"), 2, ("there is no state folder "
        "/does/not/exist")),
        (("snapshots", "prune", "--keep", "1", "--state", "/does/not/exist"), 2,
            "there is no state folder"),
        (("check", "/does/not/exist"), 1, "/does/not/exist: cannot be read"),
        (("coverage", "--engine", "unix:///does/not/exist"), 3, "cannot reach the engine"),
        (("coverage", "--engine", "gopher://x"), 2, "expected unix://PATH or tcp://HOST:PORT"),
        (("record", "--engine", "unix:///does/not/exist"), 3, "cannot reach the engine"),
        (("demo", "--engine", "unix:///does/not/exist"), 3, "cannot reach the engine"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_a_sentence_and_an_exit_code(arguments, code, said, dockmend):
    ran = dockmend(*arguments)
    assert ran.code == code
    assert said in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("restore", "v@1", "--in-place"), 1, "is no snapshot's id"),
        (("diff", "v@1"), 2, "is no snapshot's id"),
        (("verify", "../../etc"), 1, "is no snapshot's id"),
        (
            ("verify", "v@20200101T000000"),
            1,
            "there is no snapshot v@20200101T000000 in STATE/snapshots: `dockmend sn",
        ),
        (("restore", "v@20200101T000000"), 1, "with --state DIR those of another state folder"),
        (
            ("diff", "v@20200101T000000"),
            2,
            "there is no snapshot v@20200101T000000 in STATE/snapshots",
        ),
        (
            ("diff", "v@20200101T000000", "v@20200101T000001"),
            2,
            "there is no snapshot v@20200101T000000 in STATE",
        ),
        (("create", "v"), 3, "cannot reach the engine"),
    ],
)
def test_a_snapshot_that_is_not_there_or_cannot_be_made_leaves_the_state_folder_as_it_is(
    arguments, code, said, dockmend, tmp_path
):
    ran = dockmend(
        "snapshots", *arguments, "--state", tmp_path, "--engine", "unix:///does/not/exist"
    )
    assert ran.code == code
    assert said.replace("STATE", str(tmp_path)) in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["verify", "restore", "diff"])
def test_a_state_folder_that_is_not_there_is_named_and_not_made(command, dockmend, tmp_path):
    state = tmp_path / "none"
    ran = dockmend(
        "snapshots",
        command,
        "v@20200101T000000",
        "--state",
        state,
        "--engine",
        "unix:///does/not/exist",
    )
    assert ran.code == 2
    assert (
        f"there is no state folder {state}: if dockmend runs with another one, name its "
        "state folder" in ran.err
    )
    assert not state.exists()


def test_a_list_of_no_snapshots_says_where_there_are_none(dockmend, tmp_path):
    ran = dockmend("snapshots", "list", "--state", tmp_path)
    assert (ran.code, ran.out) == (0, f"no snapshots in {tmp_path}\n")


@pytest.mark.parametrize("name", ["status", "rules", "pause", "resume", "reload"])
def test_without_a_daemon_the_exit_code_is_3_and_says_where_it_looked(name, dockmend, tmp_path):
    ran = dockmend(name, "--state", tmp_path)
    assert ran.code == 3
    assert f"no dockmend answers at {tmp_path}/dockmend.sock" in ran.err


def test_schemas_are_json(dockmend):
    for what in ("rules", "config"):
        assert "properties" in json.loads(dockmend("schema", what).out)


# ------------------------------------------------------------------------ whatever a command raises


class Weird(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DockmendError("no"), 1, "dockmend: no\n"),
        (UsageError("wrong"), 2, "dockmend: wrong\n"),
        (EngineAway("nobody"), 3, "dockmend: nobody\n"),
        (Permanent("refused", 400), 1, "dockmend: refused\n"),
        (InvalidFiles((Problem("a.yaml", 1, 2, "bad"), Problem("b.yaml", 3, 4, "worse", "r"))), 2,
         "a.yaml:1:2: bad\nb.yaml:3:4: rule r: worse\n"),
        (OSError(28, "No space left on device", "/x"), 1, ("dockmend: /x: No space left on "
        "device\n")),
        (Weird("first\nsecond"), 1, "internal error: Weird: first: please report it"),
        (KeyboardInterrupt(), 130, ""), (BrokenPipeError(), 141, ""),
        (ExceptionGroup("g", [ExceptionGroup("h", [EngineAway("nobody")])]), 3,
            "dockmend: nobody\n"),
        (ExceptionGroup("g", [UsageError("wrong"), Weird("odd")]), 1, "internal error: Weird: odd"),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), 130, ""),
        (UsageError("a\x1b[31mred\u202e\ttext"), 2, "dockmend: a\\x1b[31mred\\u202e\\ttext\n"),
    ],
)  # fmt: skip
def test_whatever_is_raised_becomes_a_sentence(error, code, said, dockmend, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(command_frame.root, "main", broken)
    monkeypatch.setattr(command_frame, "_no_more_output", lambda: None)
    ran = dockmend("status")
    assert ran.code == code
    assert said in ran.err if said else ran.err == ""


def test_details_only_where_they_are_asked_for(monkeypatch, capfd):
    def broken(*_: object, **__: object) -> None:
        raise Weird("odd")

    monkeypatch.setattr(command_frame.root, "main", broken)
    monkeypatch.setenv("DOCKMEND_DEBUG", "1")
    assert command_frame.execute(["status"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_a_reader_that_goes_away_is_no_complaint():
    command = f"{sys.executable} -m dockmend schema | head -c 1"
    done = subprocess.run(["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}} >&2"],
        capture_output=True, text=True,
                          check=True, env=_env())  # fmt: skip
    assert done.stderr.strip() in ("141", "0"), "0 where the pipe took it all"


FLAGS_AND_WORDS = [
    "--state",
    "--json",
    "--for",
    "--container",
    "--rule",
    "--since",
    "--help",
    "-",
    "--",
    "1h",
    "list",
    "create",
]
words = st.sampled_from([*CONTRACT, *FLAGS_AND_WORDS])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(words | texts, max_size=5))
def test_no_command_line_is_a_traceback(dockmend, tmp_path, monkeypatch, arguments):
    # Those would run for ever, or look for this machine's own engine; `-- run` is `run` too.
    arguments = [
        "status" if each in {"run", "demo", "record", "doctor", "coverage"} else each
        for each in arguments
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKMEND_STATE", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "unix:///does/not/exist")
    assert dockmend(*arguments).code in (0, 1, 2, 3)
