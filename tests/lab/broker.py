"""A real MQTT broker (mosquitto), and subscriptions as its own command sees them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .programs import end, free_port, listening
from .waiting import LIMIT, eventually


@dataclass(frozen=True)
class Message:
    """One message as mosquitto_sub printed it."""

    topic: str
    payload: str
    retain: bool
    qos: int


class Subscription:
    """A running mosquitto_sub; `messages` grows in order of arrival. Use it as a context manager or
    `close` it."""

    def __init__(self, command: list[str]) -> None:
        self.messages: list[Message] = []
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(10):
            self.close()
            raise AssertionError("mosquitto_sub was not subscribed within 10 s")

    def payloads(self, topic: str) -> list[str]:
        """What came on this exact topic."""
        return [message.payload for message in list(self.messages) if message.topic == topic]

    def wait_for(self, topic: str, payload: str | None = None, timeout: float = LIMIT) -> Message:
        """The first message on this topic (with this payload); waits for it."""

        def found() -> Message | None:
            wanted = (
                m for m in list(self.messages) if m.topic == topic and payload in {None, m.payload}
            )
            return next(wanted, None)

        message = eventually(
            found, timeout, what=f"a message on {topic} (so far: {self.messages!r:.1000})"
        )
        assert message is not None
        return message

    def close(self) -> None:
        self._process.terminate()
        self._reader.join(15)  # before `end` closes the pipe that it reads
        end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b'{"tst"'):
                row = json.loads(line)
                self.messages.append(
                    Message(row["topic"], row.get("payload") or "", bool(row["retain"]), row["qos"])
                )
            elif line.startswith(b"Subscribed"):
                self._ready.set()


class Broker:
    """One mosquitto on a loopback port; `username` and `password` switch its password file on."""

    def __init__(self, *, username: str | None = None, password: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dm-broker-"))
        self.port = free_port()
        self.host = "127.0.0.1"
        self._credentials = (username, password) if username and password else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Broker:
        """Start it (again, on the same port); returns when it listens."""
        lines = [
            f"listener {self.port} 127.0.0.1",
            "user root",
            "persistence false",
            "log_dest stderr",
            "connection_messages true",
        ]
        if self._credentials:
            passwords = self.folder / "passwords"
            subprocess.run(
                ["mosquitto_passwd", "-c", "-b", str(passwords), *self._credentials],
                check=True,
                capture_output=True,
            )
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines.append("allow_anonymous true")
        conf = self.folder / "mosquitto.conf"
        conf.write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(conf)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            eventually(lambda: listening(self.port), what="mosquitto listens")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from error
        return self

    def terminate(self) -> None:
        """SIGTERM: clients are disconnected, retained messages are forgotten; `start` brings an
        empty one back."""
        end(self._process)
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as a broker that crashes."""
        end(self._process, signal.SIGKILL)
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it for good and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
        self.terminate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def subscribe(self, topic: str = "#") -> Subscription:
        """A mosquitto_sub on `topic`, subscribed when this returns; retained messages come
        first."""
        return Subscription(
            [
                "stdbuf",
                "-oL",
                "mosquitto_sub",
                "-d",
                "-q",
                "1",
                "-F",
                "%j",
                "-t",
                topic,
                *self._client(),
            ]
        )

    def publish(self, topic: str, payload: str, *, retain: bool = False, qos: int = 1) -> None:
        """mosquitto_pub, the payload on its standard input."""
        command = [
            "mosquitto_pub",
            "-t",
            topic,
            "-s",
            "-q",
            str(qos),
            *(["-r"] if retain else []),
            *self._client(),
        ]
        subprocess.run(command, input=payload.encode(), check=True, capture_output=True, timeout=15)

    def _client(self) -> list[str]:
        credentials = (
            ["-u", self._credentials[0], "-P", self._credentials[1]] if self._credentials else []
        )
        return ["-h", self.host, "-p", str(self.port), *credentials]
