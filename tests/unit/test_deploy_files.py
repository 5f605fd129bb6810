"""The files of an installation: they work from a clone of any owner and umask, and agree with each
other."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from dockmend import __version__
from dockmend.notify import apprise_process
from dockmend.settings import notify_urls
from dockmend.settings.variables import VARIABLES

TOP = Path(__file__).resolve().parents[2]
DEPLOY = TOP / "deploy"
COMPOSE = ("compose.yaml", "compose.proxy.yaml")
TEXTS = [
    *sorted(DEPLOY.iterdir()),
    TOP / "Makefile",
    TOP / "MANIFEST.in",
    *sorted((TOP / "systemd").iterdir()),
]


def services(name: str) -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / name).read_text())["services"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_needs_no_other_file_and_takes_no_strangers_image(name: str):
    """Files of a clone belong to a user and may be closed or group-writable; and nothing is
    published."""
    for service in services(name).values():
        assert [each for each in service["volumes"] if each.startswith((".", "~"))] == []
        assert not {"build", "env_file", "configs", "secrets", "extends"} & service.keys()
        assert service["pull_policy"] == "never"
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert service["ulimits"] == {"core": 0}


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_sets_only_variables_that_there_are_and_publishes_to_this_host(name: str):
    service = services(name)["dockmend"]
    known = {f"DOCKMEND_{key.upper().replace('.', '_')}" for key in VARIABLES}
    assert {each for each in service["environment"] if each != "TZ"} <= known | {notify_urls.URL}
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_process_of_messages_takes_dockmend_down_with_it_neither_here_nor_there():
    """Beside dockmend's own 90 MiB it stays below where systemd begins to slow both down."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(TOP / "systemd/dockmend.service")
    service = unit["Service"]
    assert service["OOMPolicy"] == "continue"
    assert service["LimitCORE"] == "0"
    most = int(service["MemoryHigh"].removesuffix("M"))
    assert most > apprise_process._MEMORY // 2**20 + 90


def test_behind_the_proxy_only_the_proxy_has_the_engines_socket():
    both = services("compose.proxy.yaml")
    assert [each for each in both["dockmend"]["volumes"] if "docker.sock" in each] == []
    assert both["proxy"]["network_mode"] == "none"
    assert both["dockmend"]["environment"]["DOCKMEND_ENGINE"] == "unix:///run/engine/docker.sock"
    assert "bind unix@/run/engine/docker.sock mode 600" in (DEPLOY / "haproxy.cfg").read_text()


def proxy_lines() -> list[str]:
    lines = (line.strip() for line in (DEPLOY / "haproxy.cfg").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def passes(method: str, path: str, *, more: bool = False) -> bool:
    """What the proxy's configuration says to a request, as HAProxy reads it; tests/integration has
    the real one.

    `more`: with the lines that are commented out.
    """
    acls: dict[str, list[str]] = {}
    lines = (
        (DEPLOY / "haproxy.cfg").read_text().replace("    # acl", "    acl")
        if more
        else "\n".join(proxy_lines())
    )
    for line in map(str.strip, lines.splitlines()):
        if match := re.match(r"acl (\w+) path_reg (\S+)$", line):
            acls.setdefault(match[1], []).append(match[2])
    wanted = {"GET": "look", "POST": "act"}.get(method)
    return wanted is not None and any(re.search(each, path) for each in acls[wanted])


PASSED = (
    ("GET", "/_ping"), ("GET", "/version"), ("GET", "/v1.45/info"), ("GET", "/v1.45/events"),
    ("GET", "/v1.45/containers/json"), ("GET", "/v1.45/containers/web-1/json"),
    ("GET", "/v1.51/networks/a_b.c"), ("GET", "/v1.45/images/sha256%3Aabc0/json"),
    ("POST", "/v1.45/containers/abc/restart"), ("POST", "/v1.45/networks/abc/connect"),
)  # fmt: skip
REFUSED = (
    ("POST", "/v1.45/containers/create"), ("POST", "/containers/web/exec"),
    ("POST", "/v1.45/exec/1/start"), ("PUT", "/v1.45/containers/web/archive"),
    ("GET", "/v1.45/containers/web/archive"), ("POST", "/build"),
    ("DELETE", "/v1.45/containers/web"), ("POST", "/v1.45/containers/web/update"),
    ("GET", "/v1.45/secrets"), ("GET", "/v1.45/containers/web/logs"),
    ("POST", "/v1.45/containers/web/restart/../../create"), ("POST", "//containers/create"),
    ("POST", "/v1.45/containers/%2e%2e/restart"), ("GET", "/v1.45//containers/json"),
    ("GET", "/v1.45/containers/a%2f..%2fb/json"), ("GET", "/v1.45/images/a%2fb/json"),
    ("POST", "/v1.45/images/create"), ("GET", "/v1.45/images/sha256:ab/../../x/json"),
    ("POST", "/v1.45/containers/../restart"), ("HEAD", "/_ping"), ("GET", "/containers/json/"),
    ("GET", "/v2/containers/json"), ("POST", "/v1.45/containers/web/start\nX"),
    ("CONNECT", "/containers/json"), ("POST", "/v1.45/commit"), ("GET", "/v1.45/volumes/.."),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PASSED)
def test_the_proxy_passes_what_healing_by_labels_needs(method: str, path: str):
    assert passes(method, path)


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_the_proxy_passes_nothing_else(method: str, path: str):
    assert not passes(method, path)


def test_an_image_is_looked_at_by_its_name_and_by_nothing_that_leads_elsewhere():
    names = {
        "shop:1": True,
        "a%2Fb-c%2Fd_e:2": True,
        "a%2F..%2F..%2Fx": False,
        "..": False,
        "a/b": False,
        "%2Fa": False,
    }
    for name, known in names.items():
        assert not passes("GET", f"/v1.45/images/{name}/json"), name
        assert passes("GET", f"/v1.45/images/{name}/json", more=True) is known, name
    assert passes("POST", "/v1.45/containers/create", more=True)
    assert not passes("POST", "/v1.45/containers/a/exec", more=True)


def test_the_proxy_refuses_by_default_and_lets_the_stream_of_events_be_silent():
    lines = proxy_lines()
    rules = [
        line for line in lines if line.startswith("http-request") and "set-log-level" not in line
    ]
    assert rules == [
        "http-request allow if get look",
        "http-request allow if post act",
        "http-request deny deny_status 403",
    ]
    assert {"timeout client 1h", "timeout server 1h", "timeout http-keep-alive 1h"} <= set(lines)


def test_the_image_asks_dockmend_itself_how_it_is_and_holds_no_rules():
    lines = (DEPLOY / "Dockerfile").read_text()
    assert 'CMD ["dockmend", "status", "--health"]' in lines
    assert "rules.d" not in lines.replace("install -d -m 755 /etc/dockmend/rules.d", "")
    for file in (DEPLOY / "Dockerfile", DEPLOY / "proxy.Dockerfile"):
        sources = [
            words[1]
            for words in map(str.split, file.read_text().splitlines())
            if words[:1] == ["COPY"]
        ]
        context = (TOP / ".dockerignore").read_text()
        for source in sources:
            assert (
                source.startswith("--from=")
                or f"!{source.removesuffix('/runtime.txt')}\n" in context
            )


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_registry_is_named(path: Path):
    hosts = (
        r"\b(docker\.io|ghcr\.io|quay\.io|gcr\.io|registry-1|pypi\.org|"
        r"registry\.[a-z]+\.[a-z]+)(?=[/:])"
    )
    assert re.findall(hosts, path.read_text()) == []


def test_what_systemd_gets_agrees():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(TOP / "systemd" / "dockmend.service")
    group = unit["Service"]["Group"]
    assert f"\ng {group} -\n" in (TOP / "systemd" / "dockmend.sysusers").read_text()
    rows = [
        line.split()
        for line in (TOP / "systemd" / "dockmend.tmpfiles").read_text().splitlines()
        if line[0] != "#"
    ]
    modes = {row[1]: row[2] for row in rows}
    assert modes["/etc/dockmend"] == unit["Service"]["ConfigurationDirectoryMode"]
    assert modes["/var/lib/dockmend"] == unit["Service"]["StateDirectoryMode"]
    assert modes["/run/dockmend"] == unit["Service"]["RuntimeDirectoryMode"]
    assert unit["Service"]["RuntimeDirectoryPreserve"] == "yes"


def test_there_is_one_version():
    assert tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"] == __version__


def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", DEPLOY / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bill_of_materials_names_every_pin_and_who_needs_it():
    text = (TOP / "requirements" / "runtime.txt").read_text()
    made = sbom().bill(text, "1.2.3", None)
    pinned = {(name, version) for name, version in re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)}
    parts = {(each["name"], each["version"]) for each in made["components"]}
    # it builds, and is not needed to run
    assert {name for name, _ in pinned - parts} == {"setuptools"}
    assert parts <= pinned
    refs = {each["bom-ref"] for each in made["components"]}
    own, *others = made["dependencies"]
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    direct = {re.split(r"[^A-Za-z0-9._-]", each)[0].lower() for each in project["dependencies"]}
    assert {ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in own["dependsOn"]} == direct
    assert {ref for each in others for ref in each["dependsOn"]} <= refs
    assert "timestamp" not in made["metadata"]
    assert sbom().bill(text, "1.2.3", None) == made
    assert sbom().bill(text, "1.2.3", 0)["metadata"]["timestamp"] == "1970-01-01T00:00:00+00:00"


def test_the_bill_of_materials_is_printed_as_json():
    done = subprocess.run(
        [sys.executable, DEPLOY / "sbom.py"], check=True, capture_output=True, text=True
    )
    made = json.loads(done.stdout)
    assert (made["bomFormat"], made["specVersion"], made["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "1.6",
        "dockmend",
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the scripts need of a clone, closed to others as a umask of 077 makes it."""
    top = tmp_path / "clone"
    for name in ("deploy", "systemd", "requirements"):
        shutil.copytree(TOP / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, top / name)
    for path in [top, *top.rglob("*")]:
        path.chmod(0o700 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o600)
    return top


def script(clone: Path, name: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """A script's exit code and what it said, on a machine where no engine answers."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    done = subprocess.run(
        [clone / "deploy" / name, *arguments], check=False, capture_output=True, text=True,
        timeout=60, env={**kept, "DOCKER_HOST": f"unix://{clone}/none.sock", **environment},
    )  # fmt: skip
    return done.returncode, done.stderr


def test_an_image_without_an_engine_is_refused_in_a_sentence(clone: Path):
    code, said = script(clone, "image.sh", "dockmend")
    assert code == 3
    assert said.count("\n") == 1
    assert "the image is built by" in said


def test_a_release_wants_its_tag(clone: Path):
    subprocess.run(["git", "init", "--quiet", clone], check=True)
    code, said = script(clone, "release.sh")
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    assert (code, said) == (
        1, (f"dockmend: HEAD is not the tag v{version}: check that tag out (UNTAGGED=yes tries "
        "it here)\n")
    )  # fmt: skip
