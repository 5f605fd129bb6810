"""The container image and the Compose files, from a clone of another user's with a umask of 077, on
a real engine."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dockmend import __version__
from tests.integration.test_ends import kill_main
from tests.integration.test_recorded_ends import flood
from tests.lab import PrivateEngine, eventually, sweep
from tests.lab.packages import BASE, OFFLINE, USER, Clone, base_image

LABELLED = ("--label", "dockmend.heal=true")
QUICKLY = (
    "--health-interval=1s",
    "--health-timeout=60s",
    "--health-retries=1",
    "--health-start-period=0s",
)
pytestmark = pytest.mark.timeout(900)  # the first one waits for a Debian and two images to be made
BIGGEST = 60_000_000
"""Bytes that dockmend may take above the base image."""


class Host:
    """An engine with both images, built by a user of its group from a clone that only that user can
    read."""

    def __init__(self, engine: PrivateEngine, clone: Clone) -> None:
        self.engine = engine
        self.clone = clone
        self._environment = {
            "DOCKER_HOST": engine.url, "DOCKER_SOCKET": str(engine.socket),
            "DOCKER_ROOT": str(engine.folder / "data"), "BASE": base_image(engine), **OFFLINE
        }  # fmt: skip

    def command(self, *words: str, check: bool = True) -> str:
        """A command of that user's in the clone: standard output and standard error."""
        group = self.engine.socket.stat().st_gid
        done = self.clone.run(*words, groups=(group,), environment=self._environment, check=check)
        return done.stdout + done.stderr

    def compose(self, file: str, *words: str) -> str:
        return self.command("docker", "compose", "--file", f"deploy/{file}", *words)

    def inside(self, *words: str, name: str = "dockmend") -> str:
        return self.engine.docker("exec", name, *words, check=False)

    def incident(self, name: str) -> dict[str, Any]:
        """The first closed incident of a container, by the dockmend in its container."""

        def closed() -> dict[str, Any] | None:
            found = json.loads(
                self.inside("dockmend", "incidents", "--json", "--container", name) or "[]"
            )
            return next((each for each in found if each["outcome"]), None)

        incident = eventually(closed, what=f"an incident of {name} is closed")
        assert incident is not None
        return incident


@pytest.fixture(scope="module")
def built() -> Iterator[Host]:
    sweep()
    engine, clone = PrivateEngine(), Clone()
    try:
        engine.start()
        engine.folder.chmod(0o711)  # as /run is: who may use the socket reaches it
        engine.toolbox_image()
        host = Host(engine, clone)
        host.command("make", "image", "proxy")
        yield host
    finally:
        engine.stop()
        clone.remove()


@pytest.fixture
def host(built: Host) -> Iterator[Host]:
    yield built
    built.engine._remove_containers()
    built.engine.docker("volume", "prune", "--all", "--force")


def verdicts(host: Host, name: str) -> list[tuple[int, str]]:
    """What the health checks of a container said so far."""
    log = host.engine.inspect(name)["State"]["Health"]["Log"] or ()
    return [(each["ExitCode"], each["Output"].strip()) for each in log]


def test_the_clone_of_a_user_is_a_whole_installation(host: Host):
    host.compose("compose.yaml", "up", "--detach")
    host.engine.patient("web", *LABELLED)
    host.engine.patient("other")
    eventually(lambda: "label:heal" in host.inside("dockmend", "coverage"), what="web is seen")
    host.engine.sicken("web")
    host.engine.sicken("other")
    assert host.incident("web")["outcome"] == "healed"
    assert json.loads(host.inside("dockmend", "incidents", "--json", "--container", "other")) == []
    assert host.inside("dockmend", "rules", "--json").count('"builtin": true') == 2
    assert host.inside("dockmend", "rules", "--json").count('"builtin": false') == 0
    assert host.inside("dockmend", "status", "--health") == "healthy"
    eventually(lambda: host.engine.health("dockmend") == "healthy", what="the engine says so too")
    page = "import urllib.request as r; print(r.urlopen('http://localhost:9468/metrics').status)"
    assert host.inside("python3", "-c", page) == "200"
    host.compose("compose.yaml", "up", "--detach", "--force-recreate")
    assert host.incident("web")["outcome"] == "healed"  # the journal is in the volume
    host.compose("compose.yaml", "down", "--volumes")
    assert host.engine.docker("ps", "--all", "--quiet", "--filter", "name=dockmend") == ""
    assert host.engine.docker("volume", "ls", "--quiet") == ""


def test_what_a_person_stopped_unseen_stays_stopped_in_the_standard_installation(host: Host):
    """dockmend is down, a person stops a container, and the engine forgets that before dockmend is
    back."""
    host.engine.run("first")
    host.compose("compose.yaml", "up", "--detach")
    for name in ("stopped", "killed"):
        host.engine.run(name, "--label", "dockmend.heal=true", "--restart", "no")
    eventually(
        lambda: host.inside("dockmend", "coverage").count("label:heal") >= 2, what="both are seen"
    )
    host.engine.docker("stop", "dockmend")
    host.engine.docker("stop", "-t", "1", "stopped")
    host.engine.docker("kill", "killed")
    flood(host.engine)
    host.engine.docker("start", "dockmend")
    host.engine.run("witness", *LABELLED)
    eventually(lambda: "witness" in host.inside("dockmend", "coverage"), what="dockmend is back")
    kill_main(host.engine, "witness")
    assert host.incident("witness")["outcome"] == "healed"
    assert [host.engine.state(name) for name in ("stopped", "killed")] == ["exited", "exited"]
    assert (
        json.loads(host.inside("dockmend", "incidents", "--json", "--container", "stopped")) == []
    )
    said = host.inside("dockmend", "doctor")
    assert re.search(r"data/containers: readable", said), said


def test_after_the_engine_was_killed_it_comes_back_and_so_does_what_the_engine_left_down(
    host: Host,
):
    """An engine that was killed ends every container, and starts only those with `restart: always`
    again."""
    host.compose("compose.yaml", "up", "--detach")
    host.engine.run("web", *LABELLED, "--restart", "unless-stopped")
    host.engine.run("mine", *LABELLED, "--restart", "unless-stopped")
    host.engine.docker("stop", "-t", "1", "mine")
    eventually(
        lambda: host.inside("dockmend", "coverage").count("label:heal") >= 2, what="both are seen"
    )
    host.engine.kill()
    host.engine.start()
    assert host.incident("web")["cause"] == "left_down"
    assert host.incident("web")["outcome"] == "healed"
    assert (host.engine.state("dockmend"), host.engine.state("mine")) == ("running", "exited")


def test_the_image_is_small_and_says_what_it_is(host: Host):
    def of(image: str) -> dict[str, Any]:
        return dict(json.loads(host.engine.docker("image", "inspect", image))[0])

    above = of("dockmend")["Size"] - of(BASE)["Size"]
    assert 0 < above < BIGGEST, f"{above / 1e6:.1f} MB above the base"
    labels = {
        key.removeprefix("org.opencontainers.image."): value
        for key, value in of("dockmend")["Config"]["Labels"].items()
    }
    assert {"title", "description", "licenses", "version", "base.name"} <= labels.keys()
    assert (labels["version"], labels["base.name"]) == (__version__, BASE)
    assert (
        host.engine.docker("run", "--rm", "--entrypoint", "ls", "dockmend", "/etc/dockmend/rules.d")
        == ""
    )


def test_rules_of_a_share_take_one_setting_that_the_error_names(host: Host, tmp_path: Path):
    folder = tmp_path / "rules.d"
    folder.mkdir()
    file = folder / "web.yaml"
    file.write_text(
        "version: 1\nrules: [{name: mine, when: container.unhealthy, match: {name: web}, then: "
        "restart}]\n"
    )
    for each in (file, folder):
        os.chown(each, 99, 100)
        each.chmod(0o777)
    mounted = (
        "--volume",
        f"{folder}:/etc/dockmend/rules.d:ro",
        "--volume",
        f"{host.engine.socket}:/var/run/docker.sock",
    )
    host.engine.docker("run", "--detach", "--name", "refused", *QUICKLY, *mounted, "dockmend")
    eventually(lambda: host.engine.health("refused") == "unhealthy", what="it is unhealthy")
    code, said = verdicts(host, "refused")[-1]
    assert (code, said.partition(",")[0]) == (
        1,
        "unhealthy: rules: the rule files are wrong and there is no last good set: nothing is done",
    )
    log = host.command("docker", "logs", "refused")
    assert "or the variable `DOCKMEND_POLICY_RULES_OWNER=99`, which takes it as it is" in log
    setting = ("--env", "DOCKMEND_POLICY_RULES_OWNER=99")
    host.engine.docker(
        "run", "--detach", "--name", "taken", *QUICKLY, *setting, *mounted, "dockmend"
    )
    eventually(lambda: host.engine.health("taken") == "healthy", what="it is healthy")
    assert '"mine"' in host.inside("dockmend", "rules", "--json", name="taken")


def test_an_engine_that_is_away_makes_nobody_restart_dockmend(host: Host):
    nowhere = ("--env", "DOCKMEND_ENGINE=unix:///none.sock")
    host.engine.docker("run", "--detach", "--name", "lonely", *QUICKLY, *nowhere, "dockmend")
    eventually(
        lambda: "engine" in host.inside("dockmend", "status", "--health", name="lonely"),
        what="it is missed",
    )
    eventually(
        lambda: verdicts(host, "lonely")[-1][1].startswith("healthy; no reason"),
        what="the check says so",
    )
    assert verdicts(host, "lonely")[-1][0] == 0
    assert host.engine.health("lonely") == "healthy"


def test_a_daemon_that_stands_still_is_unhealthy(host: Host):
    mounted = ("--volume", f"{host.engine.socket}:/var/run/docker.sock")
    host.engine.docker(
        "run", "--detach", "--name", "still", *QUICKLY, "--health-timeout=15s", *mounted, "dockmend"
    )
    eventually(lambda: host.engine.health("still") == "healthy", what="it is healthy")
    host.engine.docker("kill", "--signal", "STOP", "still")
    eventually(lambda: host.engine.health("still") == "unhealthy", what="it is unhealthy")
    host.engine.docker("kill", "--signal", "CONT", "still")


def test_without_root_in_the_sockets_group(host: Host, tmp_path: Path):
    state = Path("/srv", f"{tmp_path.name}-{os.getpid()}")
    state.mkdir(mode=0o700)
    os.chown(state, USER, USER)
    try:
        group = str(host.engine.socket.stat().st_gid)
        host.engine.docker(
            "run", "--detach", "--name", "dockmend", "--user", str(USER), "--group-add", group,
            "--volume", f"{host.engine.socket}:/var/run/docker.sock", "--volume",
            f"{state}:/var/lib/dockmend", "dockmend",
        )  # fmt: skip
        host.engine.patient("web", *LABELLED)
        eventually(lambda: "label:heal" in host.inside("dockmend", "coverage"), what="web is seen")
        host.engine.sicken("web")
        assert host.incident("web")["outcome"] == "healed"
        assert (state / "journal.sqlite3").stat().st_uid == USER
    finally:
        host.engine.docker("rm", "--force", "dockmend")
        shutil.rmtree(state)


ASK = """
import http.client, socket, sys
asked = http.client.HTTPConnection("engine")
asked.sock = socket.socket(socket.AF_UNIX)
asked.sock.connect("/run/engine/docker.sock")
asked.putrequest(sys.argv[1], sys.argv[2], skip_host=False)
asked.putheader("Content-Length", "0")
asked.endheaders()
print(asked.getresponse().status)
"""
REFUSED = (
    "POST /containers/create", "POST /v1.45/containers/web/exec",
    "PUT /v1.45/containers/web/archive?path=/", "DELETE /v1.45/containers/web", "POST /build",
    "GET /v1.45/containers/web/archive?path=/", "HEAD /_ping", "POST //containers/create",
    "POST /v1.45/containers/web/../create", "POST /v1.45/containers/web%2f..%2fcreate",
    "POST /v1.45/containers/x/restart/../../create", "GET /v1.45/containers/web/logs?stdout=1",
    "GET /v1.45/secrets", "POST /v1.45/containers/%2e%2e/containers/create",
    "POST /v1.45/images/create?fromImage=x", "GET /v1.45//info",
)  # fmt: skip


def test_behind_the_proxy_it_heals_and_all_else_is_refused(host: Host):
    host.compose("compose.proxy.yaml", "up", "--detach")
    host.engine.patient("web", *LABELLED)
    host.engine.docker("network", "create", "lane")
    host.engine.docker("network", "connect", "lane", "web")
    host.engine.patient("anew", *LABELLED, "--label", "dockmend.heal.action=recreate")
    eventually(
        lambda: host.inside("dockmend", "coverage").count("label:heal") == 2, what="both are seen"
    )
    host.engine.sicken("web")
    assert host.incident("web")["outcome"] == "healed"
    before = host.engine.inspect("anew")["Id"]
    host.engine.sicken("anew")
    told = eventually(
        lambda: "403" in host.inside("dockmend", "incidents", "--json") and "yes",
        what="it is refused",
    )
    assert told
    assert host.engine.inspect("anew")["Id"] == before
    for each in REFUSED:
        method, path = each.split()
        assert host.inside("python3", "-c", ASK, method, path) == "403", each
    assert host.inside("python3", "-c", ASK, "GET", "/v1.45/containers/web/json") == "200"
    refused = host.engine.docker("logs", "dockmend-proxy")
    assert "POST /containers/create: 403" in refused
    assert re.search(r"GET \S*/containers/json", refused) is None


def test_with_the_lines_that_are_commented_out_what_has_to_be_made_anew_is(
    host: Host, tmp_path: Path
):
    text = (host.clone.folder / "deploy/haproxy.cfg").read_text()
    allowed, lines = re.subn(r"^    # (acl|http-request)", r"    \1", text, flags=re.MULTILINE)
    assert lines == 4
    (tmp_path / "dockmend.cfg").write_text(allowed)
    shared = ("--volume", "engine:/run/engine")
    mounted = (f"{host.engine.socket}:/var/run/docker.sock", f"{tmp_path}:/etc/haproxy:ro")
    host.engine.docker(
        "run", "--detach", "--name", "proxy", *shared,
        *(word for each in mounted for word in ("--volume", each)), "dockmend-proxy",
    )  # fmt: skip
    host.engine.docker(
        "run", "--detach", "--name", "dockmend", *shared, "--env",
        "DOCKMEND_ENGINE=unix:///run/engine/docker.sock", "dockmend",
    )  # fmt: skip
    host.engine.patient(
        "anew", *LABELLED, "--label", "dockmend.heal.action=recreate", "--volume", "/data"
    )
    eventually(lambda: "label:heal" in host.inside("dockmend", "coverage"), what="it is seen")
    before = host.engine.inspect("anew")["Id"]
    host.engine.sicken("anew")
    assert host.incident("anew")["outcome"] == "healed", host.engine.docker("logs", "proxy")
    assert host.engine.inspect("anew")["Id"] != before


def test_a_release_is_whole_and_the_same_twice(host: Host, tmp_path: Path):
    top = tmp_path / "clone"
    shutil.copytree(host.clone.folder, top)
    (top / ".venv").symlink_to(sys.prefix)
    subprocess.run(["git", "init", "--quiet", top], check=True)
    (top / ".git/info/exclude").write_text(".venv\n")
    who = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
    for words in (
        ("add", "--all"),
        (*who, "commit", "--quiet", "--message=all"),
        ("tag", f"v{__version__}"),
    ):
        subprocess.run(["git", "-C", top, *words], check=True)

    def release(**more: str) -> tuple[dict[str, str], str]:
        """The checksums by file, and what was said."""
        done = subprocess.run(
            [top / "deploy/release.sh"], check=False, capture_output=True, text=True, timeout=600,
            env={**os.environ, "DOCKER_HOST": host.engine.url, **OFFLINE, **more},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        subprocess.run(
            ["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=top / "dist", check=True
        )
        sums = (line.split() for line in (top / "dist/SHA256SUMS").read_text().splitlines())
        return {name: each for each, name in sums}, done.stderr

    stem = f"dockmend-{__version__}"
    image = f"{stem}-image.tar.gz"
    whole, _ = release(BASE=BASE)
    assert whole.keys() == {f"{stem}-py3-none-any.whl", f"{stem}.tar.gz", f"{stem}.cdx.json", image}
    archive = gzip.decompress((top / "dist" / image).read_bytes())
    assert f"Loaded image: dockmend:{__version__}" in host.engine.docker("load", stdin=archive)
    again, said = release()
    assert "no image: BASE=NAME names" in said
    assert again == {name: each for name, each in whole.items() if name != image}
    (top / "README.md").write_text("another")
    with pytest.raises(AssertionError, match="there are changes that are not in the tag"):
        release()
