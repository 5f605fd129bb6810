"""Asks the running daemon: one request, one answer, over its command socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from dockmend.control.control_api import answered_within
from dockmend.errors import DockmendError, Unreachable

LONGEST_ANSWER = 64 * 1024 * 1024  # bytes
MARGIN = 5.0  # seconds more than the server gives a command
NAME_IT = (
    "name its state folder with --state DIR: that of `make run` is `state` in the folder "
    "it was started in"
)
"""What to do about a dockmend, or its state folder, that was not found."""


class Refused(DockmendError):
    """The daemon said no; its sentence, and the exit code it chose."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class SocketClient:
    """`SocketClient(path).ask("status")`; every call has a connection of its own. `patience`:
    seconds for an answer; None: a little more than the server gives the command."""

    def __init__(self, path: Path, patience: float | None = None) -> None:
        self.path = path
        self._patience = patience

    def ask(self, command: str, **arguments: Any) -> Any:
        """The command's result. Raises Unreachable, or Refused with the daemon's own words."""
        patience = self._patience
        if patience is None:
            patience = answered_within(command) + MARGIN
        request = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(patience)
                connection.connect(str(self.path))
                connection.sendall(request)
                line = self._line(connection)
        except TimeoutError:
            raise Unreachable(
                f"dockmend at {self.path} does not answer within {patience:g} s: see its log"
            ) from None
        except OSError as error:
            raise Unreachable(self._why(error)) from None
        return self._result(line)

    def _line(self, connection: socket.socket) -> bytes:
        with connection.makefile("rb") as stream:
            return stream.readline(LONGEST_ANSWER)

    def _result(self, line: bytes) -> Any:
        if not line.endswith(b"\n"):
            raise Unreachable(
                f"dockmend at {self.path} hung up before it had answered: see its log"
            )
        try:
            answer = json.loads(line)
            if answer["ok"]:
                return answer["result"]
            refusal = Refused(str(answer["error"]), int(answer["exit_code"]))
        except (ValueError, KeyError, TypeError):
            raise Unreachable(f"what answers at {self.path} is no dockmend") from None
        raise refusal

    def _why(self, error: OSError) -> str:
        if isinstance(error, PermissionError):
            return (
                f"the command socket {self.path} may not be used: run this as root or a "
                "member of the socket's group"
            )
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return f"no dockmend answers at {self.path}: is it running? If so, {NAME_IT}"
        return f"the command socket {self.path} cannot be used: {error.strerror or error}"
