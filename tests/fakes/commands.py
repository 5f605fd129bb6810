"""Commands in the fake engine's containers: a few of a shell's, enough for what tests of callers
need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from . import shapes
from .refusal import Refusal


class Commands:
    """The part of the world that runs commands."""

    def __init__(self) -> None:
        self.executions: dict[str, dict[str, Any]] = {}

    def container(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    def emit(self, container: dict[str, Any], action: str, **attributes: str) -> None:
        raise NotImplementedError

    def exec_create(self, name: str, body: Mapping[str, Any]) -> str:
        container = self.container(name)
        if not container["State"]["Running"]:
            raise Refusal(409, f"container {container['Id']} is not running")
        if container["State"]["Paused"]:
            raise Refusal(
                409, f"Container {container['Id']} is paused, unpause the container before exec"
            )
        identity = shapes.new_id()
        execution = {
            "ID": identity,
            "Running": False,
            "ExitCode": None,
            "Pid": 0,
            "ContainerID": container["Id"],
        }
        self.executions[identity] = execution | {"_command": body["Cmd"]}
        self.emit(container, f"exec_create: {' '.join(body['Cmd'])}", execID=identity)
        return identity

    def execution(self, identity: str) -> dict[str, Any]:
        if identity not in self.executions:
            raise Refusal(404, f"No such exec instance: {identity}")
        return self.executions[identity]

    async def exec_run(self, execution: dict[str, Any]) -> AsyncIterator[tuple[int, bytes]]:
        """What a command writes, with the number of the output; sets its exit code at the end.

        Known: `echo`, `sleep`, and `sh -c "echo … >&2; exit N"`. Any other is not found, as in an
        empty image.
        """
        command = execution["_command"]
        container = self.container(execution["ContainerID"])
        self.emit(container, f"exec_start: {' '.join(command)}", execID=execution["ID"])
        execution |= {"Running": True, "Pid": 4243}
        code = 0
        if command[0] == "echo":
            yield 1, " ".join(command[1:]).encode() + b"\n"
        elif command[0] == "sleep":
            await asyncio.sleep(float(command[1]))
        elif command[:2] == ["sh", "-c"]:
            for part in command[2].split("; "):
                word, _, rest = part.partition(" ")
                if word == "exit":
                    code = int(rest)
                elif word == "echo":
                    yield (
                        (2 if rest.endswith(" >&2") else 1),
                        rest.removesuffix(" >&2").encode() + b"\n",
                    )
        else:
            code = 126
            yield (
                1,
                f'OCI runtime exec failed: exec: "{command[0]}": executable file not found '
                "in $PATH".encode(),
            )
        execution |= {"Running": False, "ExitCode": code, "Pid": 0}
        self.emit(container, "exec_die", execID=execution["ID"], exitCode=str(code))
