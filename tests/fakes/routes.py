"""The fake engine's HTTP: the part of the Engine API that dockmend uses, answered as Docker Engine
26.1 answers."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import signal
import tarfile
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import archive, shapes
from .log import Subscription, encode, nanoseconds
from .refusal import Refusal

if TYPE_CHECKING:
    from .engine import FakeEngine

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(engine: FakeEngine) -> web.Application:
    app = web.Application(middlewares=[_manners(engine)], client_max_size=1 << 30)
    routes = _Routes(engine)
    for line in (
        "GET /_ping ping", "GET /version version", "GET /info info", "GET /events events",
        "GET /containers/json containers", "POST /containers/create create",
        "GET /containers/{id}/json inspect", "POST /containers/{id}/start start",
        "POST /containers/{id}/stop stop", "POST /containers/{id}/restart restart",
        "POST /containers/{id}/kill kill", "POST /containers/{id}/pause pause",
        "POST /containers/{id}/unpause unpause", "POST /containers/{id}/update update",
        "POST /containers/{id}/exec exec_create", "POST /containers/{id}/wait wait",
        "GET /containers/{id}/logs logs", "POST /exec/{id}/start exec_start",
        "GET /exec/{id}/json exec_inspect", "POST /containers/{id}/rename rename",
        "DELETE /containers/{id} remove", "GET /containers/{id}/archive get_archive",
        "PUT /containers/{id}/archive put_archive", "GET /networks networks",
        "POST /networks/create create_network", "GET /networks/{id} network",
        "POST /networks/{id}/connect connect", "POST /networks/{id}/disconnect disconnect",
        "GET /volumes volumes", "POST /volumes/create create_volume", "GET /volumes/{id} volume",
        "DELETE /volumes/{id} remove_volume", "GET /images/json images",
        "POST /images/load load_image", "GET /images/{id:.+}/json image",
        "DELETE /images/{id:.+} remove_image", "POST /images/{id:.+}/tag tag_image",
        "POST /commit commit",
    ):  # fmt: skip
        method, path, name = line.split()
        for prefix in ("", r"/{version:v\d+\.\d+}"):
            app.router.add_route(method, prefix + path, getattr(routes, name))
    return app


def _manners(engine: FakeEngine) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = re.sub(r"^/v\d+\.\d+", "", request.path)
        line = f"{request.method} {path}"
        engine.requests.append(f"{line}?{request.query_string}" if request.query_string else line)
        await engine.answering.wait()
        for fault in engine.faults:
            if fault.takes(line):
                if fault.kind == "status":
                    return _no(fault.status, fault.message)
                if fault.kind == "cut":
                    assert request.transport is not None
                    request.transport.close()
                    return web.Response()
                if fault.kind == "hold":
                    await fault.released.wait()
                    break
                await (
                    asyncio.sleep(fault.seconds)
                    if fault.kind == "delay"
                    else asyncio.Event().wait()
                )
        asked = request.match_info.get("version", "v0.0")[1:]
        if _number(asked) > _number(engine.versions[0]):
            return _no(
                400,
                f"client version {asked} is too new. Maximum supported API version is "
                f"{engine.versions[0]}",
            )
        try:
            return await handler(request)
        except Refusal as refusal:
            return _no(refusal.status, refusal.message)

    return middleware


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)) or (99,)


def _json(value: Any, status: int = 200) -> web.Response:
    """With the engine's content type, which names no charset."""
    return web.Response(
        body=json.dumps(shapes.public(value)).encode(),
        status=status,
        content_type="application/json",
    )


def _no(status: int, message: str) -> web.Response:
    return _json({"message": message}, status)


def _done(changed: bool = True) -> web.Response:
    return web.Response(status=204 if changed else 304)


def _signal(text: str | None, default: signal.Signals) -> int:
    if not text:
        return default
    return (
        int(text)
        if text.isdecimal()
        else signal.Signals[text if text.startswith("SIG") else f"SIG{text}"]
    )


class _Routes:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine

    # --------------------------------------------------------------------------------------- itself

    async def ping(self, request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def version(self, request: web.Request) -> web.Response:
        newest, oldest = self.engine.versions
        platform = {"Arch": "amd64", "Os": "linux"}
        return _json(
            {"Version": "26.1.5", "ApiVersion": newest, "MinAPIVersion": oldest, **platform}
        )

    async def info(self, request: web.Request) -> web.Response:
        told = {
            "ID": self.engine.identity,
            "Name": "fake",
            "ServerVersion": "26.1.5",
            "SystemTime": shapes.stamp(),
        }
        return _json(
            {
                **told,
                "Containers": len(self.engine.containers),
                "Swarm": {"LocalNodeState": "inactive"},
            }
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        log, query = self.engine.log, request.query
        filters = json.loads(query.get("filters") or "{}")
        log.since_asked.append(query.get("since"))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        subscription = Subscription(filters)
        past = (
            log.past(nanoseconds(query["since"]), _until(query.get("until")), filters)
            if "since" in query
            else []
        )
        for event in past:
            subscription.add(encode(event))
        if "until" in query:
            subscription.end()
        else:
            log.subscriptions.add(subscription)
        try:
            while lines := await subscription.lines():
                await response.write(lines)
        finally:
            log.subscriptions.discard(subscription)
        return response

    # ----------------------------------------------------------------------------------- containers

    async def containers(self, request: web.Request) -> web.Response:
        labels = json.loads(request.query.get("filters") or "{}").get("label", [])
        everything = request.query.get("all") == "1"
        found = [
            {
                "Id": one["Id"],
                "Names": [one["Name"]],
                "State": one["State"]["Status"],
                "Labels": one["Config"]["Labels"],
            }
            for one in reversed(self.engine.containers.values())
            if (everything or one["State"]["Running"])
            and _labelled(one["Config"]["Labels"], labels)
        ]
        return _json(found)

    async def inspect(self, request: web.Request) -> web.Response:
        return _json(self.engine.container(request.match_info["id"]))

    async def create(self, request: web.Request) -> web.Response:
        identity = self.engine.create(request.query.get("name"), await request.json())
        return _json({"Id": identity, "Warnings": []}, 201)

    async def start(self, request: web.Request) -> web.Response:
        return _done(self.engine.start_container(request.match_info["id"]))

    async def stop(self, request: web.Request) -> web.Response:
        number = _signal(request.query.get("signal"), signal.SIGTERM)
        return _done(self.engine.stop_container(request.match_info["id"], number))

    async def restart(self, request: web.Request) -> web.Response:
        number = _signal(request.query.get("signal"), signal.SIGTERM)
        self.engine.restart_container(request.match_info["id"], number)
        return _done()

    async def kill(self, request: web.Request) -> web.Response:
        self.engine.kill_container(
            request.match_info["id"], _signal(request.query.get("signal"), signal.SIGKILL)
        )
        return _done()

    async def pause(self, request: web.Request) -> web.Response:
        self.engine.pause_container(request.match_info["id"], True)
        return _done()

    async def unpause(self, request: web.Request) -> web.Response:
        self.engine.pause_container(request.match_info["id"], False)
        return _done()

    async def remove(self, request: web.Request) -> web.Response:
        query = request.query
        self.engine.remove_container(
            request.match_info["id"], query.get("force") == "1", query.get("v") == "1"
        )
        return _done()

    async def update(self, request: web.Request) -> web.Response:
        self.engine.update_container(request.match_info["id"], await request.json())
        return _json({"Warnings": None})

    async def wait(self, request: web.Request) -> web.Response:
        container = self.engine.container(request.match_info["id"])
        while container["State"]["Running"]:  # noqa: ASYNC110 - the fake's objects tell nobody of their changes
            await asyncio.sleep(0.02)
        return _json({"StatusCode": container["State"]["ExitCode"]})

    async def logs(self, request: web.Request) -> web.Response:
        container = self.engine.container(request.match_info["id"])
        lines = self.engine.written.get(container["Id"], [])
        tail = request.query.get("tail", "all")
        lines = lines if tail == "all" else lines[-int(tail) :]
        pieces = [f"{line}\n".encode() for line in lines]
        if container["Config"].get("Tty"):
            return web.Response(
                body=b"".join(pieces), content_type="application/vnd.docker.raw-stream"
            )
        framed = (bytes((1, 0, 0, 0)) + len(piece).to_bytes(4, "big") + piece for piece in pieces)
        return web.Response(
            body=b"".join(framed), content_type="application/vnd.docker.multiplexed-stream"
        )

    async def exec_create(self, request: web.Request) -> web.Response:
        return _json(
            {"Id": self.engine.exec_create(request.match_info["id"], await request.json())}, 201
        )

    async def exec_start(self, request: web.Request) -> web.StreamResponse:
        execution = self.engine.execution(request.match_info["id"])
        response = web.StreamResponse(
            headers={"Content-Type": "application/vnd.docker.multiplexed-stream"}
        )
        await response.prepare(request)
        async for number, data in self.engine.exec_run(execution):
            await response.write(bytes((number, 0, 0, 0)) + len(data).to_bytes(4, "big") + data)
        return response

    async def exec_inspect(self, request: web.Request) -> web.Response:
        return _json(self.engine.execution(request.match_info["id"]))

    async def rename(self, request: web.Request) -> web.Response:
        self.engine.rename_container(request.match_info["id"], request.query["name"])
        return _done()

    async def get_archive(self, request: web.Request) -> web.StreamResponse:
        container = self.engine.container(request.match_info["id"])
        path = request.query["path"]
        found = archive.entries_of(self.engine.archives, container, path)
        if found is None:
            text = f"Could not find the file {path} in container {request.match_info['id']}"
            return _no(404, text)
        response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
        await response.prepare(request)
        data = archive.pack(*found)
        for start in range(0, len(data), 32768):
            await response.write(data[start : start + 32768])
        return response

    async def put_archive(self, request: web.Request) -> web.Response:
        container = self.engine.container(request.match_info["id"])
        data = await request.read()
        for mount in container["Mounts"]:
            try:
                archive.unpack(
                    self.engine.archives[mount["Name"]], data, mount["Destination"].strip("/")
                )
            except ValueError as error:
                return _no(500, str(error))
        return web.Response()

    # ------------------------------------------------------------------------- networks and volumes

    async def networks(self, request: web.Request) -> web.Response:
        return _json(list(self.engine.networks.values()))

    async def network(self, request: web.Request) -> web.Response:
        network = self.engine.network(request.match_info["id"])
        return _json({**network, "Containers": self.engine.members(network)})

    async def create_network(self, request: web.Request) -> web.Response:
        return _json({"Id": self.engine.create_network(await request.json()), "Warning": ""}, 201)

    async def connect(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.engine.connect(request.match_info["id"], body["Container"], body.get("EndpointConfig"))
        return web.Response()

    async def disconnect(self, request: web.Request) -> web.Response:
        self.engine.disconnect(request.match_info["id"], (await request.json())["Container"])
        return web.Response()

    async def volumes(self, request: web.Request) -> web.Response:
        return _json({"Volumes": list(self.engine.volumes.values()), "Warnings": None})

    async def create_volume(self, request: web.Request) -> web.Response:
        body = await request.json()
        volume = self.engine.add_volume(
            body["Name"], body["Driver"], body.get("DriverOpts"), body.get("Labels")
        )
        return _json(volume, 201)

    async def volume(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if name not in self.engine.volumes:
            return _no(404, f"get {name}: no such volume")
        return _json(self.engine.volumes[name])

    async def remove_volume(self, request: web.Request) -> web.Response:
        self.engine.remove_volume(request.match_info["id"])
        return _done()

    # --------------------------------------------------------------------------------------- images

    async def images(self, request: web.Request) -> web.Response:
        labels = json.loads(request.query.get("filters") or "{}").get("label", [])
        images = self.engine.images.values()
        return _json(
            [
                shapes.image_summary(one)
                for one in images
                if _labelled(one["Config"].get("Labels") or {}, labels)
            ]
        )

    async def image(self, request: web.Request) -> web.Response:
        return _json(self.engine.image(request.match_info["id"]))

    async def load_image(self, request: web.Request) -> web.Response:
        with tarfile.open(fileobj=io.BytesIO(await request.read())) as packed:
            manifest = json.loads(_member(packed, "manifest.json"))[0]
            config = _member(packed, manifest["Config"])
        identity = f"sha256:{hashlib.sha256(config).hexdigest()}"
        for name in manifest["RepoTags"]:
            self.engine.add_image(name, json.loads(config)["config"], identity)
        return web.Response(
            text=json.dumps({"stream": "Loaded"}) + "\r\n", content_type="application/json"
        )

    async def remove_image(self, request: web.Request) -> web.Response:
        self.engine.remove_image(request.match_info["id"], request.query.get("force") == "1")
        return _json([])

    async def tag_image(self, request: web.Request) -> web.Response:
        name = f"{request.query['repo']}:{request.query['tag']}"
        self.engine.tag_image(request.match_info["id"], name)
        self.engine.log.emit("image", "tag", self.engine.image(name)["Id"], {"name": name})
        return web.Response(status=201)

    async def commit(self, request: web.Request) -> web.Response:
        query = request.query
        body = await request.json() if request.can_read_body else None
        tag = f"{query['repo']}:{query.get('tag') or 'latest'}"
        identity = self.engine.commit(query["container"], tag, body, query.get("pause") == "1")
        return _json({"Id": identity}, 201)


def _member(packed: tarfile.TarFile, name: str) -> bytes:
    member = packed.extractfile(name)
    assert member is not None
    return member.read()


def _until(text: str | None) -> int | None:
    return None if text is None else nanoseconds(text)


def _labelled(labels: dict[str, str], wanted: list[str]) -> bool:
    return all(
        labels.get(key) == value if separator else key in labels
        for key, separator, value in (label.partition("=") for label in wanted)
    )
