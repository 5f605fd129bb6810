"""restart_dependents under another trigger than orphaned: every tie by which a restart is felt, and
the others."""

from __future__ import annotations

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, stories
from tests.lab import PrivateEngine

RULE = """
version: 1
rules:
  - name: follow
    when: container.started
    match: {name: base}
    then: restart_dependents
"""
OF = "com.docker.compose"
FOLLOW = {
    "pids": ("--pid", "container:base"),
    "memory": ("--ipc", "container:base"),
    "linked": ("--link", "base:gateway"),
    "told": ("--label", "dockmend.depends-on=base"),
    "composed": (
        "--label",
        f"{OF}.project=p",
        "--label",
        f"{OF}.depends_on=base:service_started:true",
    ),
    "behind": ("--label", "dockmend.depends-on=told"),
}
STAY = {
    "files": ("--volumes-from", "base"),
    "loose": (
        "--label",
        f"{OF}.project=p",
        "--label",
        f"{OF}.depends_on=base:service_started:false",
    ),
    "spared": ("--label", "dockmend.depends-on=base", "--label", "dockmend.ignore=true"),
}


def test_who_follows_and_who_stays(docker: PrivateEngine) -> None:
    docker.run("base", "--ipc", "shareable", "--volume", "/files", "--label", f"{OF}.project=p",
               "--label", f"{OF}.service=base", "--stop-timeout", "2")  # fmt: skip
    for name, options in (FOLLOW | STAY).items():
        docker.run(name, "--stop-timeout", "2", *options, init="--pid" not in options)
    docker.run("stopped", "--label", "dockmend.depends-on=base")
    docker.docker("stop", "stopped")
    before = {name: docker.inspect(name)["State"]["StartedAt"] for name in (*FOLLOW, *STAY)}
    with daemon(docker, RULE, config="heal: off\n") as one:
        docker.docker("restart", "base")
        (incident,) = closed(one, timeout=120)
        assert incident.outcome == "healed", stories(one)
        after = {name: docker.inspect(name)["State"] for name in (*FOLLOW, *STAY)}
        assert {name for name in before if after[name]["StartedAt"] != before[name]} == set(FOLLOW)
        assert {state["Status"] for state in after.values()} == {"running"}
        assert after["behind"]["StartedAt"] > after["told"]["StartedAt"]
        assert docker.state("stopped") == "exited"
        all_told(one)
