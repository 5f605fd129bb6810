from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dockmend.engine.discover import DEFAULT_SOCKET, TLS, EngineAddress, discover
from dockmend.errors import UsageError


def context(
    home: Path, name: str, endpoint: Any, *, use: bool = True, files: tuple[str, ...] = ()
) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = home / ".docker/contexts/meta" / digest / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
    for file in files:
        path = home / ".docker/contexts/tls" / digest / "docker" / f"{file}.pem"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    if use:
        (home / ".docker/config.json").write_text(json.dumps({"currentContext": name}))


def test_nothing_said_is_the_default_socket(tmp_path: Path) -> None:
    assert discover({}, tmp_path) == EngineAddress(DEFAULT_SOCKET, None, "default")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"auths": {}}')
    assert discover({}, tmp_path).url == DEFAULT_SOCKET


def test_the_order_is_explicit_then_environment_then_context(tmp_path: Path) -> None:
    context(tmp_path, "far", {"Host": "tcp://far:2375"})
    assert discover({}, tmp_path) == EngineAddress("tcp://far:2375", None, "docker context 'far'")
    env = {"DOCKER_HOST": "unix:///env.sock"}
    assert discover(env, tmp_path) == EngineAddress("unix:///env.sock", None, "DOCKER_HOST")
    assert discover(env, tmp_path, "/flag.sock") == EngineAddress(
        "unix:///flag.sock", None, "--engine"
    )
    assert discover({"DOCKER_CONTEXT": "default"}, tmp_path).url == DEFAULT_SOCKET


def test_the_context_of_the_environment_wins_over_the_files(tmp_path: Path) -> None:
    context(tmp_path, "far", {"Host": "tcp://far:2375"})
    context(tmp_path, "near", {"Host": "unix:///near.sock"}, use=False)
    assert discover({"DOCKER_CONTEXT": "near"}, tmp_path).url == "unix:///near.sock"
    assert (
        discover({"DOCKER_CONFIG": str(tmp_path / ".docker")}, Path("/nowhere")).url
        == "tcp://far:2375"
    )


@pytest.mark.parametrize("value", ["1", "0", "yes"])  # as the docker command: being there is enough
def test_tls_by_the_environment(tmp_path: Path, value: str) -> None:
    env = {
        "DOCKER_HOST": "tcp://far:2376",
        "DOCKER_TLS_VERIFY": value,
        "DOCKER_CERT_PATH": "/certs",
    }
    files = TLS(Path("/certs/ca.pem"), Path("/certs/cert.pem"), Path("/certs/key.pem"))
    assert discover(env, tmp_path) == EngineAddress("https://far:2376", files, "DOCKER_HOST")
    del env["DOCKER_CERT_PATH"]
    found = discover(env, tmp_path).tls
    assert found is not None
    assert found.ca == tmp_path / ".docker/ca.pem"
    assert discover({**env, "DOCKER_HOST": "unix:///a.sock"}, tmp_path).tls is None


def test_tls_by_the_context(tmp_path: Path) -> None:
    context(tmp_path, "far", {"Host": "tcp://far:2376"}, files=("ca", "cert", "key"))
    tls = discover({}, tmp_path).tls
    assert tls is not None
    assert (tls.verify, tls.ca is not None, tls.cert is not None, tls.key is not None) == (
        True,
        True,
        True,
        True,
    )
    context(tmp_path, "lax", {"Host": "tcp://far:2376", "SkipTLSVerify": True}, files=("ca",))
    lax = discover({}, tmp_path)
    assert lax.url == "https://far:2376"
    assert lax.tls is not None
    assert (lax.tls.verify, lax.tls.cert) == (False, None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("tcp://far", "tcp://far:2375"),
        ("tcp://far:99", "tcp://far:99"),
        ("tcp://[::1]:2375", "tcp://[::1]:2375"),
        ("http://far:2375/", "tcp://far:2375"),
        ("https://far", "https://far:2376"),
    ],
)
def test_tcp_addresses(tmp_path: Path, url: str, expected: str) -> None:
    assert discover({}, tmp_path, url).url == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ssh://me@far", "ssh is not supported"),
        ("unix://relative.sock", "must be absolute"),
        ("npipe:////./pipe/docker", "expected unix://PATH"),
        ("far:2375", "expected unix://PATH"),
        ("tcp://", "expected tcp://HOST:PORT"),
        ("tcp://far:port", "port is not a number"),
        ("tcp://far:99999", "port is not a number"),
        ("tcp://far:2375/path", "nothing more"),
        ("tcp://me@far:2375", "nothing more"),
    ],
)
@pytest.mark.parametrize("by", ["--engine", "DOCKER_HOST", "docker context"])
def test_addresses_that_cannot_be_used(tmp_path: Path, url: str, said: str, by: str) -> None:
    env: Mapping[str, str] = {"DOCKER_HOST": url} if by == "DOCKER_HOST" else {}
    if by == "docker context":
        context(tmp_path, "far", {"Host": url})
    with pytest.raises(UsageError, match=said) as caught:
        discover(env, tmp_path, url if by == "--engine" else None)
    assert str(caught.value).startswith(by)
    assert caught.value.exit_code == 2


def test_contexts_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="DOCKER_CONTEXT names the docker context 'gone', which does not exist"
    ):
        discover({"DOCKER_CONTEXT": "gone"}, tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        discover({"DOCKER_CONTEXT": "../../../etc"}, tmp_path)
    useless: list[Any] = [None, [], {}, {"Host": ""}, {"Host": 7}]
    for number, endpoint in enumerate(useless):
        context(tmp_path, f"c{number}", endpoint)
        with pytest.raises(UsageError, match="has no docker host"):
            discover({}, tmp_path)
    config = tmp_path / ".docker/config.json"
    for text in ("{", "[]", '{"currentContext": 7}', "\x00"):
        config.write_text(text)
        with pytest.raises(UsageError, match=str(config)):
            discover({}, tmp_path)


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read \(No such file.*ca.pem"):
        TLS(ca=tmp_path / "ca.pem").context()
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="cannot be read"):
        TLS(ca=tmp_path / "ca.pem").context()


def test_a_home_that_a_sandbox_hides_is_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", hidden)
    assert discover({}, tmp_path).url == DEFAULT_SOCKET


def test_an_engine_that_is_reached_in_clear_is_warned_of(tmp_path: Path) -> None:
    warning = discover({"DOCKER_HOST": "tcp://far:2375"}, tmp_path).warning
    assert warning is not None
    assert warning.startswith(
        "the engine at tcp://far:2375 (DOCKER_HOST) is reached without TLS: whoever can reach"
    )
    for env, url in (
        ({"DOCKER_TLS_VERIFY": "1"}, "tcp://far:2376"),
        ({}, "https://far:2376"),
        ({}, "unix:///sock"),
    ):
        assert discover(env, tmp_path, url).warning is None
