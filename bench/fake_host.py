"""A Docker Engine's socket that costs next to nothing: canned answers, and events as fast as the
reader takes them.

A process of its own, so that what is measured is the reader. `python bench/fake_host.py SOCKET
CONTAINERS EVENTS`. SIGUSR1 removes half of the containers at once, as `docker rm -f` of all of them
does.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

PAUSE_BEFORE_EVENTS = 0.5
IMAGE = "sha256:" + "ab" * 32
LABELS = {f"org.example.label{n}": "a value of some length" for n in range(6)}


def container_id(number: int) -> str:
    """As the engine's, it differs from others in its first twelve digits."""
    return f"{number:012x}" + "c" * 52


def name(number: int) -> str:
    return f"svc-{number:04d}-web"


def inspect(number: int) -> dict[str, object]:
    return {
        "Id": container_id(number), "Created": "2026-01-01T00:00:00Z", "Name": "/" + name(number),
        "Image": IMAGE, "RestartCount": 0,
        "State": {
            "Status": "running", "Running": True, "ExitCode": 0, "Error": "", "OOMKilled": False,
            "StartedAt": "2026-01-01T00:00:01Z", "FinishedAt": "0001-01-01T00:00:00Z",
            "Health": {"Status": "healthy"},
        },
        "Config": {
            "Image": "nginx:1", "Labels": LABELS,
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000, "Timeout": 1000000000,
                "Retries": 3},
        },
        "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": {"Name": "no"},
            "AutoRemove": False},
        "NetworkSettings": {"Networks": {"bridge": {"NetworkID": "b" * 64,
                    "IPAddress": "172.17.0.2"}}},
        "Mounts": [],
    }  # fmt: skip


def events(containers: int, count: int) -> bytes:
    """A third are transitions (healthy to unhealthy and back), the rest what a busy host says
    besides."""
    lines = []
    begin = time.time_ns()
    flips = [0] * containers
    for number in range(count):
        which = (number // 3) % containers
        attributes = {**LABELS, "image": "nginx:1", "name": name(which)}
        kind, action, actor = "container", "top", container_id(which)
        if number % 3 == 0:
            flips[which] += 1
            action = "health_status: unhealthy" if flips[which] % 2 else "health_status: healthy"
        elif number % 3 == 1:
            kind, action, actor, attributes = "image", "tag", IMAGE, {"name": "nginx:1"}
        stamp = begin + number * 1000
        lines.append(json.dumps({
            "status": action, "id": actor, "from": "nginx:1", "Type": kind, "Action": action,
            "Actor": {"ID": actor, "Attributes": attributes}, "scope": "local",
            "time": stamp // 1_000_000_000, "timeNano": stamp,
        }, separators=(",", ":")).encode())  # fmt: skip
    return b"\n".join(lines) + b"\n"


def removals(gone: range) -> bytes:
    """What the engine says as these containers are removed by force."""
    lines = []
    begin = time.time_ns()
    for order, number in enumerate(gone):
        attributes = {**LABELS, "image": "nginx:1", "name": name(number)}
        actor = container_id(number)
        told = (
            ("container", "kill", actor, {**attributes, "signal": "9"}),
            ("container", "die", actor, {**attributes, "exitCode": "137"}),
            (
                "network",
                "disconnect",
                "b" * 64,
                {"container": actor, "name": "bridge", "type": "bridge"},
            ),
            ("container", "destroy", actor, attributes),
        )
        for step, (kind, action, who, about) in enumerate(told):
            stamp = begin + order * 4000 + step * 1000
            lines.append(json.dumps({
                "Type": kind, "Action": action, "Actor": {"ID": who, "Attributes": about},
                "scope": "local", "time": stamp // 1_000_000_000, "timeNano": stamp,
            }, separators=(",", ":")).encode())  # fmt: skip
    return b"\n".join(lines) + b"\n"


def answers(containers: int) -> dict[str, object]:
    rows = [
        {"Id": container_id(n), "Names": ["/" + name(n)], "Image": "nginx:1", "ImageID": IMAGE,
            "State": "running",
         "Labels": LABELS}
        for n in range(containers)
    ]  # fmt: skip
    network = {
        "Name": "bridge",
        "Id": "b" * 64,
        "Driver": "bridge",
        "Scope": "local",
        "Created": "2026-01-01T00:00:00Z",
    }
    return {
        "version": {"Version": "26.1.5", "ApiVersion": "1.45", "MinAPIVersion": "1.24"},
        "info": {"ID": "bench", "Name": "bench", "ServerVersion": "26.1.5",
            "LiveRestoreEnabled": False,
                 "Containers": containers},
        "_ping": "OK", "containers/json": rows, "networks": [network],
        "volumes": {"Volumes": [], "Warnings": None},
        "images/json": [{"Id": IMAGE, "RepoTags": ["nginx:1"], "Labels": {}, "Created": 0}],
        f"images/{IMAGE}/json": {"Id": IMAGE, "RepoTags": ["nginx:1"], "Config": {"Labels": {}}},
    }  # fmt: skip


async def main(socket: str, containers: int, count: int) -> None:
    body = events(containers, count) if count else b""
    canned = {key: json.dumps(value).encode() for key, value in answers(containers).items()}
    for number in range(containers):
        canned[f"containers/{container_id(number)}/json"] = json.dumps(inspect(number)).encode()
    listeners: list[asyncio.StreamWriter] = []

    def remove_half() -> None:
        gone = range(containers // 2)
        for number in gone:
            del canned[f"containers/{container_id(number)}/json"]
        rows = json.loads(canned["containers/json"])
        canned["containers/json"] = json.dumps(rows[len(gone) :]).encode()
        body = removals(gone)
        for listener in listeners:
            listener.write(b"%x\r\n%b\r\n" % (len(body), body))

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, remove_half)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode().partition("?")[0].lstrip("/")
                if path.startswith("v1."):
                    path = path.partition("/")[2]
                # else what is past is asked for: nothing is
                if path == "events" and b"until=" not in head:
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: "
                        b"chunked\r\n\r\n"
                    )
                    await writer.drain()
                    await asyncio.sleep(PAUSE_BEFORE_EVENTS)
                    for begin in range(0, len(body), 32768):
                        piece = body[begin : begin + 32768]
                        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                        await writer.drain()
                    listeners.append(writer)
                    await asyncio.sleep(3600)
                missing = path.startswith("containers/") and path not in canned
                answer = (
                    b""
                    if path == "events"
                    else canned.get(path, b'{"message": "No such container"}')
                )
                writer.write(
                    b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (b"404 Not Found" if missing else b"200 OK", len(answer), answer)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, socket)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
