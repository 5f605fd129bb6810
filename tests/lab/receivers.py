"""Receivers of messages on loopback: a web server that answers as a test says, and a mail
server."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from .programs import free_port


@dataclass(frozen=True)
class Got:
    """One request: its path, headers with small letters, and body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Web:
    """`answers`: the next HTTP statuses; when none is left, 200. `held`: while it is not set, no
    answer is given."""

    port: int
    got: list[Got] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    slow: bool = False
    """Whether an answer trickles: a byte at a time, for ever."""
    flood: bytes = b""
    """What an answer consists of, again and again, without an end: of the encoding deflate."""

    @property
    def titles(self) -> list[str]:
        """Of the JSON that was accepted or not, in the order in which it came."""
        return [each.json["title"] for each in self.got]


@contextmanager
def web(
    port: int | None = None, certificate: Path | None = None, instead_of: Path | None = None
) -> Iterator[Web]:
    """A web server; with `certificate` (a file with its key) over TLS. `instead_of`: as a proxy, it
    answers in the place of the host whose certificate that is."""
    told = Web(port or free_port())
    told.held.set()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            told.got.append(
                Got(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
            )
            while not told.held.wait(0.05):
                if ended.is_set():
                    return
            status = told.answers.pop(0) if told.answers else 200
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"http://127.0.0.1:{told.port}/elsewhere")
            _answer(told, self, ended)

        do_GET = do_PUT = do_POST  # noqa: N815 - as the library calls them

        def do_CONNECT(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            assert instead_of is not None
            self.connection = _server_side(instead_of).wrap_socket(
                self.connection, server_side=True
            )
            self.rfile, self.wfile = (
                self.connection.makefile("rb"),
                self.connection.makefile("wb", buffering=0),
            )
            self.close_connection = False

        def finish(self) -> None:
            super().finish()
            self.connection.close()  # another one than the server knows, after a CONNECT

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            return  # whoever hung up is the test's business

    server = Server(("127.0.0.1", told.port), Handler)
    if certificate is not None:
        server.socket = _server_side(certificate).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(told: Web, handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
    """The end of the headers, and what follows them."""
    if told.flood:
        handler.send_header("Content-Encoding", "deflate")
    else:
        handler.send_header("Content-Length", "1000000" if told.slow else "2")
    handler.end_headers()
    while told.flood and not ended.is_set():
        handler.wfile.write(told.flood)
    while told.slow and not ended.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()
    if not told.flood and not told.slow:
        handler.wfile.write(b"{}")


def _server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def own_certificate(folder: Path, host: str = "elsewhere") -> Path:
    """One that no authority has signed, and its key, in one file."""
    made = folder / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
            f"/CN={host}",
         "-addext", f"subjectAltName=DNS:{host}", "-keyout", str(made), "-out",
         str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    made.write_text(made.read_text() + (folder / "cert.pem").read_text())
    return made


@contextmanager
def mail() -> Iterator[tuple[int, list[Envelope]]]:
    """A mail server: its port, and what it was sent."""
    got: list[Envelope] = []

    class Handler:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
            got.append(envelope)
            return "250 taken"

    controller = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield controller.port, got
    finally:
        controller.stop()


@contextmanager
def silent() -> Iterator[int]:
    """The port of a receiver that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield listening.getsockname()[1]
