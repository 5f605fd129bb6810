"""Fields in the arguments of commands: what a program may read as code is refused, what is data is not."""

from __future__ import annotations

import pytest

from dockmend.rules import command_fields

X = "{container.labels[x]}"

REFUSED = [
    # shells, however they are called and whatever their options look like
    ["sh", "-c", X], ["sh", "-c", f"echo {X}"], ["sh", "-ce", f"echo {X}"], ["bash", "-cx", X],
    ["sh", "-ec", "echo", X],
    ["/bin/sh", "-c", X], ["/usr/local/bin/bash5.2", "-c", X], ["busybox", "sh", "-c", X], ["busybox", X], ["sh", X],
    ["sh", "-c", "--", X], ["sh", "-o", "errexit", "-c", "--", X], ["sh", "-c", "-o", "errexit", "--", X],
    ["sh", "-c", "echo", "a", "--", X], ["sh", f"/data/{X}"], ["sh", "run.sh", f"a b {X}"],
    # interpreters
    ["perl", "-e", X], ["perl", "-e", "print 1", X], ["perl", "-ne", f"print {X}"], ["python3.11", "-c", X],
    ["python", "-m", X], ["node", f"--eval={X}"], ["node", "-p", X], ["ruby", "-e", f"puts {X}"], ["php", "-r", X],
    # what begins another program
    ["env", "-S", f"sh -c {X}"], ["env", "-S", X], ["env", X], ["env", f"A={X}", "prog"], ["su", f"--command={X}"],
    ["su", "-c", X], ["sudo", X], ["xargs", X], ["ssh", "host", X], ["ssh", "host", f"ls {X}"],
    ["find", "/", "-name", X],
    ["find", "/", "-exec", X, ";"], ["docker", "exec", "c", "sh", "-c", X], ["timeout", "5", X], ["nice", "--", X],
    ["entry.sh", "sh", "-c", X], ["tini", "--", "sh", "-c", X], ["wrapper", "env", X], ["git", "-c", X],
    ["tar", f"--to-command={X}"], ["socat", "-", X], ["ip", "netns", "exec", "blue", X], ["with-contenv", X],
    ["s6-setuidgid", "www", X], ["pkexec", X], ["npx", X], ["entry.sh", "start-stop-daemon", "--start", "--exec", X],
    # languages of their own
    ["awk", X], ["awk", f"/{X}/"], ["sed", "-e", X], ["sed", f"s/a/{X}/"], ["psql", "-c", X], ["psql", "-h", X],
    ["mysql", "-e", f"drop {X}"], ["mysql", "-e", X], ["redis-cli", "EVAL", X], ["sqlite3", "db", X], ["jq", X],
    # programs that nobody knows
    [X], [X, "a"], ["prog", f"say {X} now"], ["prog", "-c", X], ["prog", "-xec", X], ["prog", "-e", "--", X],
    ["prog", f"--eval={X}"], ["prog", "--command", X], ["prog", "-exec", X], ["prog", f"--init-command={X}"],
    ["prog", "--Execute", X], ["prog", f"-e{X} b"],
]  # fmt: skip

ALLOWED = [
    ["prog", X], ["prog", "--name", X], ["prog", f"--name={X}"], ["prog", "--description", X], ["prog", "-n", X],
    ["ping", "-c", "1", X], ["curl", "-fsS", f"http://proxy/{X}"], ["wget", "-qO-", f"http://{X}:80/"],
    ["/opt/notify", "--", X], ["prog", X, X], ["rm", "--", f"/tmp/{X}.lock"], ["nginx", "-s", "reload"],
    # data for an interpreter's own program
    ["sh", "/opt/run.sh", X], ["python", "/opt/run.py", "--name", X], ["sh", "-c", 'echo "$1"', "--", X],
    ["sh", "-ec", 'echo "$1"', "--", "a", X], ["perl", "-e", "print @ARGV", "--", X],
    ["python3", "-c", "import sys", "--", X], ["sh", "-c", "echo $WHO"],
    # nobody else fills these
    ["sh", "-c", "echo {incident.id} {now:%Y} {container.exit_code} {container.id} {container.state} {rule.name}"],
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


@pytest.mark.parametrize(
    "field", ["container.name", "container.image", "payload.text", "alert.labels[x]", "event.name"]
)
def test_every_field_that_strangers_fill_counts(field: str) -> None:
    assert (
        command_fields.trouble([command_fields.argument(each) for each in ("sh", "-c", f"echo {{{field}}}")])
        is not None
    )


@pytest.mark.parametrize(
    ("command", "filled", "option"),
    [
        (["wget", X], ["wget", "--post-file=/etc/shadow"], True), (["wget", "--", X], ["wget", "--", "--post"], False),
        (["wget", X], ["wget", "http://a"], False), (["wget", f"-n{X}"], ["wget", "-n-x"], False),
        (["wget", f"{X}.html"], ["wget", "-x.html"], True), (["wget", f"a{X}"], ["wget", "a-x"], False),
    ],
)  # fmt: skip
def test_a_field_makes_no_option_of_an_operand(command: list[str], filled: list[str], option: bool) -> None:
    found = command_fields.like_an_option([command_fields.argument(each) for each in command], filled)
    assert (found is not None) == option
