"""Which engine: the address a person would expect `docker` to talk to, found the way the docker
command finds it.

Order: an explicit address (flag or settings), DOCKER_HOST, the docker context, the default socket.
Pure over the environment and the home folder that are passed in; it reads docker's own files and
nothing else.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dockmend.errors import UsageError

DEFAULT_SOCKET = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class TLS:
    """Certificate files for a TCP address. `verify` False: any server certificate is taken (a
    person chose so)."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """The client's TLS context; UsageError where a file is missing or is no certificate."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            if self.ca is not None:
                context.load_verify_locations(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(
                str(path) for path in (self.ca, self.cert, self.key) if path is not None
            )
            why = error.strerror or error.__class__.__name__
            raise UsageError(
                f"TLS certificates for the engine cannot be read ({why}): {names}"
            ) from None
        return context


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """`url` is unix://PATH, tcp://HOST:PORT, or https://HOST:PORT with TLS; `source` says where it
    was found, for a person."""

    url: str
    tls: TLS | None = None
    source: str = "default"

    def told(self) -> dict[str, Any]:
        """As a daemon tells it to commands that are to ask the same engine: the settings'
        EngineFound."""
        found: dict[str, Any] = {"url": self.url, "tls": self.tls is not None}
        if self.tls is not None:
            files = {"ca": self.tls.ca, "cert": self.tls.cert, "key": self.tls.key}
            found |= {
                name: str(path.absolute()) for name, path in files.items() if path is not None
            }
            found["verify"] = self.tls.verify
        return found

    @classmethod
    def as_told(cls, found: Mapping[str, Any], source: str) -> EngineAddress:
        """From what `told` says."""
        files = {
            name: Path(found[name]) for name in ("ca", "cert", "key") if found.get(name) is not None
        }
        tls = TLS(**files, verify=found.get("verify", True)) if found["tls"] else None
        return cls(found["url"], tls, source)

    @property
    def warning(self) -> str | None:
        """What a person must know of an engine that is reached in clear."""
        if self.tls is not None or not self.url.startswith("tcp:"):
            return None
        danger = (
            "whoever can reach that address, or is on the way to it, has root on the engine's host"
        )
        return f"the engine at {self.url} ({self.source}) is reached without TLS: {danger}"


def discover(env: Mapping[str, str], home: Path, explicit: str | None = None) -> EngineAddress:
    """The engine to talk to; UsageError (a sentence) where what is configured cannot be used."""
    tls = _tls_of(env, home)
    if explicit:
        return _checked(explicit, tls, "--engine")
    if host := env.get("DOCKER_HOST"):
        return _checked(host, tls, "DOCKER_HOST")
    if found := _context(env, home):
        return found
    return EngineAddress(DEFAULT_SOCKET)


def _tls_of(env: Mapping[str, str], home: Path) -> TLS | None:
    """As the docker command: DOCKER_TLS_VERIFY switches TLS on by being there at all, even as
    "0"."""
    if not env.get("DOCKER_TLS_VERIFY"):
        return None
    folder = Path(env.get("DOCKER_CERT_PATH") or _config_folder(env, home))
    return TLS(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")


def _checked(url: str, tls: TLS | None, source: str) -> EngineAddress:
    scheme, separator, rest = url.partition("://")
    if not separator and url.startswith("/"):
        scheme, rest = "unix", url
    if scheme == "unix":
        if not rest.startswith("/"):
            raise UsageError(
                f"{source}: {url}: a socket's path must be absolute, as in {DEFAULT_SOCKET}"
            )
        return EngineAddress(f"unix://{rest}", None, source)
    if scheme == "ssh":
        raise UsageError(
            f"{source}: {url}: ssh is not supported; forward the socket (ssh -L "
            "./far.sock:/var/run/docker.sock HOST) "
            "and use its unix:// address, or use tcp:// with TLS"
        )
    if scheme in ("tcp", "http", "https"):
        return EngineAddress(
            _tcp(url, tls or (TLS() if scheme == "https" else None), source), tls, source
        )
    raise UsageError(f"{source}: {url}: expected unix://PATH or tcp://HOST:PORT")


def _tcp(url: str, tls: TLS | None, source: str) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"{source}: {url}: the port is not a number from 0 to 65535") from None
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(f"{source}: {url}: expected tcp://HOST:PORT and nothing more")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = "https" if tls else "tcp"
    return f"{scheme}://{host}:{port or (2376 if tls else 2375)}"


def _config_folder(env: Mapping[str, str], home: Path) -> Path:
    return Path(env.get("DOCKER_CONFIG") or home / ".docker")


def _context(env: Mapping[str, str], home: Path) -> EngineAddress | None:
    """The address of the docker context in use; None where that is "default"."""
    folder = _config_folder(env, home)
    config = folder / "config.json"
    name, source = env.get("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
    if not name:
        name, source = _read(config).get("currentContext") if _there(config) else None, str(config)
    if not name or name == "default":
        return None
    if not isinstance(name, str):
        raise UsageError(f"{source}: currentContext is not a name")
    # The folder is named by a hash, so a context's name never becomes a path.
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / digest / "meta.json"
    if not meta.exists():
        raise UsageError(
            f"{source} names the docker context {name!r}, which does not exist: see `docker "
            "context ls`"
        )
    endpoints = _read(meta).get("Endpoints")
    endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = endpoint.get("Host") if isinstance(endpoint, dict) else None
    if not isinstance(endpoint, dict) or not isinstance(host, str) or not host:
        raise UsageError(f"{meta}: the docker context {name!r} has no docker host")
    tls = _context_tls(
        folder / "contexts" / "tls" / digest / "docker", bool(endpoint.get("SkipTLSVerify"))
    )
    return _checked(host, tls, f"docker context {name!r}")


def _there(path: Path) -> bool:
    """False also where a sandbox (ProtectHome) hides the home: then there is no docker
    configuration to follow."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _context_tls(folder: Path, skip_verify: bool) -> TLS | None:
    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    found = {name: path if path.exists() else None for name, path in files.items()}
    if not any(found.values()) and not skip_verify:
        return None
    return TLS(found["ca"], found["cert"], found["key"], verify=not skip_verify)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected a JSON object")
    return data
