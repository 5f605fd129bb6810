"""Commands without a flag, as a second terminal types them: they find the daemon and speak about
its rules."""

from __future__ import annotations

import json

from tests.lab import Daemon, PrivateEngine

RULES = """
version: 1
rules:
  - name: mine
    when: container.crashed
    match: {name: shop-web}
    then: start
"""


def typed(one: Daemon, *arguments: str) -> tuple[int, str, str]:
    """A command with no flag that leads to the daemon."""
    done = one.command(*arguments, found=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_second_terminal_needs_no_flag(docker: PrivateEngine, daemon) -> None:
    docker.run("shop-web", "--volume", "shop:/data")
    one = daemon(docker.url, rules={"mine.yaml": RULES})

    code, out, _ = typed(one, "status")
    assert (code, f"state in {one.state}" in out) == (0, True)
    code, out, _ = typed(one, "coverage", "--json")
    assert (code, [(each["name"], each["rules"]) for each in json.loads(out)]) == (
        0,
        [("shop-web", ["mine"])],
    )
    code, out, _ = typed(one, "explain", "shop-web")
    assert (code, "mine" in out, "container.crashed" in out) == (0, True, True)
    code, out, _ = typed(one, "doctor")
    assert f"the running dockmend, {one.rules}" in out
    assert f"{one.rules}: 1 rules" in out

    code, out, err = typed(one, "snapshots", "create", "shop", "--json")
    assert code == 0, err
    made = json.loads(out)
    assert [found["what"] for found in made_of(one, made["id"])] == [
        "containers that could write while it was read"
    ]
    for command in ("list", "verify"):
        code, out, err = typed(
            one, "snapshots", command, *([made["id"]] if command == "verify" else [])
        )
        assert (code, made["id"] in out, err) == (0, True, "")


def made_of(one: Daemon, snapshot: str) -> list[dict[str, object]]:
    """The cautions in a snapshot's manifest."""
    [path] = [
        each
        for each in one.state.glob("snapshots/**/*.json")
        if snapshot.rpartition("@")[2] in str(each)
    ]
    found: list[dict[str, object]] = json.loads(path.read_text())["cautions"]
    return found
