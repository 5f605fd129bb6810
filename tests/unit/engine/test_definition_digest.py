"""How a container was made: the same for what was made the same way, another for what somebody
changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dockmend.engine.definition_digest import made_as

CONFIG: dict[str, Any] = {
    "Hostname": "0123456789ab", "User": "", "Env": ["PATH=/bin", "MODE=a"], "Cmd": ["serve"],
    "Image": "web:1", "WorkingDir": "/srv", "Entrypoint": None,
    "Labels": {"com.docker.compose.replace": "x"}, "Tty": False,
}  # fmt: skip
HOST: dict[str, Any] = {
    "Binds": ["data:/data", "/etc/web:/etc/web:ro"], "NetworkMode": "shop",
    "PortBindings": {"80/tcp": [{"HostPort": "80"}]},
    "Memory": 0, "CapAdd": None, "ExtraHosts": ["a:1", "b:2"], "IpcMode": "private", "PidMode": "",
    "ConsoleSize": [0, 0],
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
}  # fmt: skip


def text(
    image: str = "sha256:1",
    config: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
) -> str:
    answer = {
        "Id": "1" * 64,
        "Image": image,
        "Config": CONFIG | (config or {}),
        "HostConfig": HOST | (host or {}),
    }
    return made_as(json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("config", "host"),
    [
        ({"Hostname": "ba9876543210"}, {}),
        ({"Env": ["MODE=a", "PATH=/bin"]}, {}),
        ({"Labels": {}}, {}),
        ({"Entrypoint": [], "Tty": None}, {"CapAdd": []}),
        ({}, {"ConsoleSize": [24, 80]}),
        ({}, {"ExtraHosts": ["b:2", "a:1"]}),
        ({}, {"Binds": [f"{'0a' * 32}:/cache", *HOST["Binds"]]}),
        ({}, {"Mounts": [{"Type": "volume", "Source": "0a" * 32, "Target": "/cache"}]}),
    ],
    ids=["host name", "order", "labels", "nothing", "terminal", "hosts", "anonymous volume",
        "anonymous mount"],
)  # fmt: skip
def test_what_only_the_engine_or_a_client_writes_makes_no_difference(
    config: dict[str, Any], host: dict[str, Any]
):
    assert text(config=config, host=host) == text()


@pytest.mark.parametrize(
    ("image", "config", "host"),
    [
        ("sha256:2", {}, {}),
        ("sha256:1", {"Env": ["PATH=/bin", "MODE=b"]}, {}),
        ("sha256:1", {"Cmd": ["serve", "-v"]}, {}),
        ("sha256:1", {"Entrypoint": ["/init"]}, {}),
        ("sha256:1", {"User": "web"}, {}),
        ("sha256:1", {"Healthcheck": {"Test": ["NONE"]}}, {}),
        ("sha256:1", {}, {"Binds": ["data2:/data"]}),
        ("sha256:1", {}, {"Memory": 1 << 30}),
        ("sha256:1", {}, {"NetworkMode": "bridge"}),
        ("sha256:1", {}, {"Mounts": [{"Type": "volume", "Source": "cache", "Target": "/cache"}]}),
    ],
)
def test_what_somebody_changed_does(image: str, config: dict[str, Any], host: dict[str, Any]):
    assert text(image, config, host) != text()


def test_who_makes_a_project_again_makes_the_owner_of_its_network_again_first():
    one, other = ({"NetworkMode": f"container:{digit * 64}"} for digit in "12")
    assert text(host=one) == text(host=other) != text()
    assert text(host={"NetworkMode": "default"}) == text(host={"NetworkMode": "bridge"})


@pytest.mark.parametrize("answer", [b"", b"[]", b"{", b'{"Config": 1}'])
def test_of_what_cannot_be_read_nothing_is_known(answer: bytes):
    assert made_as(answer) == ""
