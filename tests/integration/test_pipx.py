"""`pipx install .` in a clean place, by a user, from a clone with a umask of 077."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from dockmend import __version__
from tests.lab import PrivateEngine
from tests.lab.packages import Clone, debian


@pytest.fixture
def clone() -> Iterator[Clone]:
    one = Clone()
    yield one
    one.remove()


@pytest.mark.timeout(600)
def test_pipx_installs_a_command_that_works(docker: PrivateEngine, clone: Clone):
    wheels = debian().parent / "wheels"
    bundled = "/usr/share/python-wheels"  # pip itself, as Debian brings it for virtual environments
    environment = {
        "PIP_FIND_LINKS": f"{wheels} {bundled}",
        "PIP_NO_INDEX": "1",
        "PATH": "/usr/bin:/bin",
    }
    clone.run("pipx", "install", ".", environment=environment)
    command = str(clone.folder / ".local/bin/dockmend")
    assert clone.run(command, "--version").stdout == f"dockmend {__version__}\n"
    docker.folder.chmod(0o711)
    docker.run("web", "--label", "dockmend.heal=true", "--restart", "always")
    seen = clone.run(
        command, "coverage", "--json", "--state", str(clone.folder / "state"),
        groups=(docker.socket.stat().st_gid,),
        environment={"DOCKER_HOST": docker.url, "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert "label:heal" in json.dumps(json.loads(seen.stdout))
    clone.run("pipx", "uninstall", "dockmend", environment=environment)
    assert not (clone.folder / ".local/bin/dockmend").exists()
