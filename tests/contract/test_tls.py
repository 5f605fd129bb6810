"""A real engine over TCP with TLS and client certificates, found by environment and by docker
context."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab import PrivateEngine

ROOT = Path(__file__).parents[2]
PORT = 2376


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificates(folder: Path, name: str) -> Path:
    """An authority of its own with a server's certificate for 127.0.0.1 and a client's."""
    made = folder / name
    made.mkdir()
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    authority = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl(
        made,
        "req",
        "-x509",
        *new,
        *authority,
        "-subj",
        f"/CN={name}",
        "-keyout",
        "ca-key.pem",
        "-out",
        "ca.pem",
    )
    for stem, extension in (
        ("server", "subjectAltName=IP:127.0.0.1"),
        ("client", "extendedKeyUsage=clientAuth"),
    ):
        signer = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-addext", extension)
        files = ("-keyout", f"{stem}-key.pem", "-out", f"{stem}.pem")
        openssl(made, "req", "-x509", *new, *signer, "-subj", f"/CN={stem}", *files)
    shutil.copy(made / "client.pem", made / "cert.pem")  # the names that docker looks for
    shutil.copy(made / "client-key.pem", made / "key.pem")
    return made


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates(tmp_path_factory.mktemp("tls"), "right")


@pytest.fixture(scope="module")
def tls_engine(certs: Path) -> Iterator[PrivateEngine]:
    options = [
        "-H", f"tcp://127.0.0.1:{PORT}", "--tlsverify", "--tlscacert", str(certs / "ca.pem"),
        "--tlscert", str(certs / "server.pem"), "--tlskey", str(certs / "server-key.pem"),
    ]  # fmt: skip
    engine = PrivateEngine(options=options)
    try:
        yield engine.start()
    finally:
        engine.stop()


@pytest.fixture
def ask(tls_engine: PrivateEngine, tmp_path: Path) -> Callable[[Mapping[str, str]], dict[str, Any]]:
    """What dockmend hears with this environment, from within the engine's network namespace."""

    def asked(environment: Mapping[str, str]) -> dict[str, Any]:
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{tls_engine.name}", sys.executable, "-m",
                "tests.contract.ask"],
            check=False, capture_output=True, text=True, timeout=60, cwd=ROOT,
            env={"HOME": str(tmp_path), "PYTHONPATH": f"{ROOT / 'daemon'}:{ROOT}", **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return asked


Ask = Callable[[Mapping[str, str]], dict[str, Any]]


def test_by_the_environment(ask: Ask, certs: Path, tls_engine: PrivateEngine) -> None:
    host = f"tcp://127.0.0.1:{PORT}"
    answer = ask({"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certs)})
    assert answer["url"] == f"https://127.0.0.1:{PORT}"
    assert answer["engine"] == tls_engine.api("GET", "/info")[1]["ID"]
    assert answer["events"] == ["create"]


def test_by_a_docker_context(
    ask: Ask, certs: Path, tmp_path: Path, tls_engine: PrivateEngine
) -> None:
    files = [
        f"{name}={certs / file}.pem"
        for name, file in (("ca", "ca"), ("cert", "cert"), ("key", "key"))
    ]
    docker = ["docker", "--config", str(tmp_path / ".docker"), "context"]
    endpoint = ",".join([f"host=tcp://127.0.0.1:{PORT}", *files])
    subprocess.run(
        [*docker, "create", "far", "--docker", endpoint], check=True, capture_output=True
    )
    digest = hashlib.sha256(b"far").hexdigest()
    assert (tmp_path / ".docker/contexts/tls" / digest / "docker/ca.pem").exists()
    subprocess.run([*docker, "use", "far"], check=True, capture_output=True)
    answer = ask({})
    assert answer["source"] == "docker context 'far'"
    assert answer["engine"] == tls_engine.api("GET", "/info")[1]["ID"]
    assert ask({"DOCKER_CONTEXT": "far"})["events"] == ["create"]


def test_another_authority_is_not_trusted(ask: Ask, tmp_path: Path) -> None:
    wrong = certificates(tmp_path, "wrong")
    answer = ask(
        {
            "DOCKER_HOST": f"tcp://127.0.0.1:{PORT}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(wrong),
        }
    )
    assert answer["error"] == "EngineAway"
    assert "TLS failed" in answer["sentence"]
    assert "check the certificates" in answer["sentence"]


def test_without_tls_the_engine_is_not_reached(ask: Ask) -> None:
    answer = ask({"DOCKER_HOST": f"tcp://127.0.0.1:{PORT}"})
    assert answer["error"] == "EngineAway"
    assert "it asks for TLS: set DOCKER_TLS_VERIFY=1" in answer["sentence"]


def test_without_a_clients_certificate_the_engine_refuses(
    ask: Ask, certs: Path, tmp_path: Path
) -> None:
    context = tmp_path / ".docker"
    endpoint = f"host=tcp://127.0.0.1:{PORT},ca={certs / 'ca.pem'}"
    create = ["docker", "--config", str(context), "context", "create", "bare", "--docker", endpoint]
    subprocess.run(create, check=True, capture_output=True)
    answer = ask({"DOCKER_CONTEXT": "bare"})
    assert answer["error"] == "EngineAway"
    assert "TLS failed (" in answer["sentence"]
    assert "certificate required" in answer["sentence"]
    assert "_ssl.c" not in answer["sentence"]
