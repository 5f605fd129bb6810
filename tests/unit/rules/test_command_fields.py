"""Fields in the arguments of commands: what a program may read as code is refused, what is data is
not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dockmend.rules import command_fields

X = "{container.labels[x]}"

REFUSED = [
    # shells, however they are called and whatever their options look like
    ["sh", "-c", X], ["sh", "-c", f"echo {X}"], ["sh", "-ce", f"echo {X}"], ["bash", "-cx", X],
    ["sh", "-ec", "echo", X],
    ["/bin/sh", "-c", X], ["/usr/local/bin/bash5.2", "-c", X], ["busybox", "sh", "-c", X],
    ["busybox", X], ["sh", X], ["sh", "-c", "--", X], ["sh", "-o", "errexit", "-c", "--", X],
    ["sh", "-c", "-o", "errexit", "--", X], ["sh", "-c", "echo", "a", "--", X],
    ["sh", f"/data/{X}"], ["sh", "run.sh", f"a b {X}"],
    # options that take the next argument, or that end nothing: the field is the code, or the file
    # of it
    ["bash", "+x", "-c", X], ["bash", "+c", X], ["sh", "+e", "-c", X],
    ["bash", "-o", "errexit", "--", X], ["bash", "-eo", "errexit", "--", X],
    ["bash", "--rcfile", "x", "--", X], ["sh", "run", X], ["bash", "-c", "+x", "--", X],
    ["python", "-m", "timeit", "--", X], ["python", "-W", "ignore", "--", X],
    ["python", "-Wc", "ignore", "--", X], ["perl", "-I", "lib", "--", X],
    ["perl", "-ne", "print", "--", X], ["perl", "-pie", "print", "--", X], ["node", "inspect", X],
    ["node", "-r", "fs", "--", X], ["ruby", "-r", "json", "--", X], ["php", "-f", "a", "--", X],
    # interpreters
    ["perl", "-e", X], ["perl", "-e", "print 1", X], ["perl", "-ne", f"print {X}"],
    ["python3.11", "-c", X], ["python", "-m", X], ["node", f"--eval={X}"], ["node", "-p", X],
    ["ruby", "-e", f"puts {X}"], ["php", "-r", X],
    # what begins another program
    ["env", "-S", f"sh -c {X}"], ["env", "-S", X], ["env", X], ["env", f"A={X}", "prog"],
    ["su", f"--command={X}"], ["su", "-c", X], ["sudo", X], ["xargs", X], ["ssh", "host", X],
    ["ssh", "host", f"ls {X}"], ["find", "/", "-name", X], ["find", "/", "-exec", X, ";"],
    ["docker", "exec", "c", "sh", "-c", X], ["timeout", "5", X], ["nice", "--", X],
    ["entry.sh", "sh", "-c", X], ["tini", "--", "sh", "-c", X], ["wrapper", "env", X],
    ["git", "-c", X], ["tar", f"--to-command={X}"], ["socat", "-", X],
    ["ip", "netns", "exec", "blue", X], ["with-contenv", X], ["s6-setuidgid", "www", X],
    ["pkexec", X], ["npx", X], ["entry.sh", "start-stop-daemon", "--start", "--exec", X],
    # languages of their own
    ["awk", X], ["awk", f"/{X}/"], ["sed", "-e", X], ["sed", f"s/a/{X}/"], ["psql", "-c", X],
    ["psql", "-h", X], ["mysql", "-e", f"drop {X}"], ["mysql", "-e", X], ["redis-cli", "EVAL", X],
    ["sqlite3", "db", X], ["jq", X],
    # programs that nobody knows
    [X], [X, "a"], ["prog", f"say {X} now"], ["prog", "-c", X], ["prog", "-xec", X],
    ["prog", "-e", "--", X], ["prog", f"--eval={X}"], ["prog", "--command", X],
    ["prog", "-exec", X], ["prog", f"--init-command={X}"], ["prog", "--Execute", X],
    ["prog", f"-e{X} b"],
]  # fmt: skip

ALLOWED = [
    ["prog", X], ["prog", "--name", X], ["prog", f"--name={X}"], ["prog", "--description", X],
    ["prog", "-n", X], ["ping", "-c", "1", X], ["curl", "-fsS", f"http://proxy/{X}"],
    ["wget", "-qO-", f"http://{X}:80/"], ["/opt/notify", "--", X], ["prog", X, X],
    ["rm", "--", f"/tmp/{X}.lock"], ["nginx", "-s", "reload"],
    # data for an interpreter's own program
    ["sh", "/opt/run.sh", X], ["python", "/opt/run.py", "--name", X],
    ["sh", "-c", 'echo "$1"', "--", X], ["sh", "-ec", 'echo "$1"', "--", "a", X],
    ["perl", "-e", "print @ARGV", "--", X], ["python3", "-c", "import sys", "--", X],
    ["sh", "-c", "echo $WHO"], ["bash", "-euxc", 'echo "$1"', "--", X],
    ["python3", "-Ic", "import sys", "--", X], ["node", "-e", "0", "--", X],
    ["ruby", "-e", "0", "--", X], ["php", "-r", "0;", "--", X], ["./run", X],
    # nobody else fills these
    ["sh", "-c", ("echo {incident.id} {now:%Y} {container.exit_code} {container.id} "
    "{container.state} {rule.name}")],
    ["psql", "-c", "insert into seen values ('{incident.id}')"],
    ["sh", "-c", "awk '{print $1}' && echo {{container.name}"],
]  # fmt: skip


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_what_a_program_may_run_is_refused(command: list[str]) -> None:
    why = command_fields.trouble([command_fields.argument(each) for each in command])
    assert why is not None
    assert why.startswith("the field {container.labels} ")
    assert why.endswith(": pass it by `env`")


@pytest.mark.parametrize("command", ALLOWED, ids=" ".join)
def test_what_is_data_is_not(command: list[str]) -> None:
    assert command_fields.trouble([command_fields.argument(each) for each in command]) is None


CODE = [
    "touch mark", "; touch mark", "touch mark|", "|touch mark", "$(touch mark)", "`touch mark`",
    "-c", "+c", "-e", "--command=touch mark", "__import__('os').system('touch mark')",
    "system('touch mark')",
]  # fmt: skip
INTERPRETED = [
    each for each in ALLOWED if each[-1] == X and shutil.which(each[0]) and "/opt" not in each[1]
]


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize(
    "command", [each for each in INTERPRETED if each[1].startswith("-")], ids=" ".join
)
def test_what_is_allowed_runs_no_field(command: list[str], code: str, tmp_path: Path) -> None:
    """With the real programs, as far as they are on this host."""
    if command[0] in command_fields.INTERPRETERS or command[0] == "python3":
        filled = [code if each == X else each for each in command]
        subprocess.run(
            filled,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "field", ["container.name", "container.image", "payload.text", "alert.labels[x]", "event.name"]
)
def test_every_field_that_strangers_fill_counts(field: str) -> None:
    assert (
        command_fields.trouble(
            [command_fields.argument(each) for each in ("sh", "-c", f"echo {{{field}}}")]
        )
        is not None
    )


@pytest.mark.parametrize(
    ("command", "filled", "option"),
    [
        (["wget", X], ["wget", "--post-file=/etc/shadow"], True),
        (["wget", "--", X], ["wget", "--", "--post"], False),
        (["wget", X], ["wget", "http://a"], False), (["wget", f"-n{X}"], ["wget", "-n-x"], False),
        (["wget", f"{X}.html"], ["wget", "-x.html"], True),
        (["wget", f"a{X}"], ["wget", "a-x"], False),
    ],
)  # fmt: skip
def test_a_field_makes_no_option_of_an_operand(
    command: list[str], filled: list[str], option: bool
) -> None:
    found = command_fields.like_an_option(
        [command_fields.argument(each) for each in command], filled
    )
    assert (found is not None) == option
