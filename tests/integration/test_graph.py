"""`dockmend graph` on a real engine: every kind of tie as the engine's own inspect tells it."""

from __future__ import annotations

import json

from tests.integration.test_cli import dockmend
from tests.lab import PrivateEngine

DEPENDS = "com.docker.compose.depends_on=db:service_healthy:true,web:service_started:false"


def test_every_kind_of_tie(docker: PrivateEngine) -> None:
    docker.docker("network", "create", "lane")
    docker.run("base", "--ipc", "shareable")
    docker.run("net-by-name", "--network", "container:base")
    docker.run("net-by-id", "--network", f"container:{docker.inspect('base')['Id']}")
    docker.run("pids", "--pid", "container:base", init=False)
    docker.run("memory", "--ipc", "container:base")
    docker.run("linked", "--link", "base:gateway")
    docker.run("web", "--network", "lane", "--network-alias", "www",
               "--label", "com.docker.compose.project=p", "--label",
               "com.docker.compose.service=web")  # fmt: skip
    docker.run("linked-there", "--network", "lane", "--link", "web:till")
    docker.run("files", "--volumes-from", "base:ro")
    docker.run("told", "--label", "dockmend.depends-on=base:service_healthy")
    docker.run("composed", "--label", "com.docker.compose.project=p", "--label", DEPENDS)
    docker.run("lost", "--network", "container:base")
    docker.docker("rename", "base", "renamed")

    found = json.loads(dockmend("graph", "--engine", docker.url, "--json"))
    assert {
        (e["dependent"], e["dependency"], e["kind"], e["condition"], e["restart"])
        for e in found["edges"]
    } == {
        ("net-by-name", "renamed", "network", "service_started", True),
        ("net-by-id", "renamed", "network", "service_started", True),
        ("lost", "renamed", "network", "service_started", True),
        ("pids", "renamed", "pid", "service_started", True),
        ("memory", "renamed", "ipc", "service_started", True),
        ("linked", "renamed", "link", "service_started", True),
        ("linked-there", "web", "link", "service_started", True),
        # the name that was given is nobody's now
        ("files", "container base", "volumes", "service_started", False),
        ("told", "container base", "label", "service_healthy", True),
        ("composed", "service db of project p", "compose", "service_healthy", True),
        ("composed", "web", "compose", "service_started", False),
    }
    assert [
        (each["name"], sorted(one["name"] for one in each["members"])) for each in found["networks"]
    ] == [("lane", ["linked-there", "web"])]
    docker.docker("rm", "--force", "renamed")
    text = dockmend("graph", "--engine", docker.url)
    assert "shares its network" in text
    assert "(not there)" in text
    for form in ("mermaid", "dot"):
        assert "linked-there" in dockmend("graph", "--engine", docker.url, "--format", form)
