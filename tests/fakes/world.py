"""The fake engine's objects and what can happen to them, with the events and refusals of the real
one."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from . import shapes
from .commands import Commands
from .log import EventLog
from .networks import Networks, places
from .refusal import Refusal


class World(Commands, Networks):
    """Containers, networks, volumes, images in memory. Its methods are synchronous and emit their
    events."""

    def __init__(self) -> None:
        super().__init__()
        self.log = EventLog()
        self.containers = {}
        self.networks = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}
        # volume -> path within it -> tar entry, see archive.py
        self.archives: dict[str, dict[str, Any]] = {}
        self.written: dict[str, list[str]] = {}  # lines of a container's log, by its id
        # as from API 1.54 on; before, MacAddress is taken and ignored
        self.connect_keeps_mac = False
        self._addresses = 1
        for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null")):
            self._network(name, driver)
        self.add_image("toolbox:latest", {"Cmd": ["/bin/sh"]})

    # -------------------------------------------------------------------------------- what is there

    def add_image(
        self, name: str, config: Mapping[str, Any] | None = None, identity: str | None = None
    ) -> str:
        identity = identity or f"sha256:{shapes.new_id()}"
        self.images.setdefault(identity, shapes.image(identity, [], config))
        self.tag_image(identity, name)
        return identity

    def tag_image(self, image: str, name: str) -> None:
        named = self.image(image)
        for other in self.images.values():
            if tagged(name) in other["RepoTags"]:
                other["RepoTags"].remove(tagged(name))
        named["RepoTags"].append(tagged(name))

    def add_volume(
        self,
        name: str,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        if name not in self.volumes:
            self.volumes[name] = shapes.volume(name, driver, options or {}, labels or {})
            self.archives[name] = {}
            self.log.emit("volume", "create", name, {"driver": driver})
        return self.volumes[name]

    def add_container(
        self,
        name: str,
        image: str = "toolbox:latest",
        *,
        labels: Mapping[str, str] | None = None,
        network: str = "default",
        health: bool = False,
        restart: str = "no",
        start: bool = True,
        **config: Any,
    ) -> str:
        """Creates (and starts) a container, with the events of both; returns its id."""
        body: dict[str, Any] = {"Image": image, "Labels": dict(labels or {}), **config}
        body["HostConfig"] = {
            "NetworkMode": network,
            "RestartPolicy": {"Name": restart},
            **config.get("HostConfig", {}),
        }
        if health:
            check = {
                "Test": ["CMD-SHELL", "test -e /well"],
                "Interval": 200_000_000,
                "Timeout": 2_000_000_000,
                "Retries": 1,
            }
            body["Healthcheck"] = check
        identity = self.create(name, body)
        if start:
            self.start_container(identity)
            if health:
                self.set_health(identity, "healthy")
        return identity

    def container(self, name: str) -> dict[str, Any]:
        for identity, container in self.containers.items():
            if name in (identity, container["Name"][1:]) or (
                len(name) >= 12 and identity.startswith(name)
            ):
                return container
        raise Refusal(404, f"No such container: {name}")

    def image(self, name: str) -> dict[str, Any]:
        full = tagged(name)
        for identity, image in self.images.items():
            if (
                name == identity
                or full in image["RepoTags"]
                or (len(name) >= 12 and identity.startswith(f"sha256:{name}"))
            ):
                return image
        raise Refusal(404, f"No such image: {full}")

    # --------------------------------------------------------------------------------- what happens

    def emit(self, container: dict[str, Any], action: str, **attributes: str) -> None:
        """A container's event, with its labels overwriting the engine's own attributes, as they
        do."""
        config = container["Config"]
        own = {"image": config["Image"], "name": container["Name"][1:], **attributes}
        self.log.emit("container", action, container["Id"], {**own, **(config["Labels"] or {})})

    def crash(self, name: str, exit_code: int = 1, oom: bool = False) -> None:
        """Its main process ends by itself."""
        container = self.container(name)
        if oom:
            self.emit(container, "oom")
            container["State"]["OOMKilled"] = True
        self._end(container, exit_code)

    def set_health(self, name: str, health: str) -> None:
        """Health becomes `health`; the event comes on a change only."""
        container = self.container(name)
        before = container["State"]["Health"]["Status"]
        container["State"]["Health"] |= {
            "Status": health,
            "FailingStreak": int(health == "unhealthy"),
        }
        if health != before:
            self.emit(container, f"health_status: {health}")

    def exec_noise(self, name: str, times: int = 1) -> None:
        """What health checks and `docker exec` do to the stream: three events each."""
        container = self.container(name)
        for _ in range(times):
            execution = shapes.new_id()
            for action in ("exec_create: true", "exec_start: true", "exec_die"):
                self.emit(container, action, execID=execution)

    def create(self, name: str | None, body: Mapping[str, Any]) -> str:
        name = name or f"fake_{shapes.new_id()[:8]}"
        self._refuse_taken(name)
        image = self.image(body.get("Image", ""))
        config = {
            key: value
            for key, value in body.items()
            if key not in ("HostConfig", "NetworkingConfig")
        }
        config["Labels"] = {**(image["Config"].get("Labels") or {}), **(config.get("Labels") or {})}
        identity = shapes.new_id()
        container = shapes.container(
            identity, name, image["Id"], config, body.get("HostConfig") or {}
        )
        mode = container["HostConfig"]["NetworkMode"]
        wanted = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        if not mode.startswith("container:") and not config.get("NetworkDisabled"):
            main = "bridge" if mode == "default" else mode
            for network in wanted or {main: None}:
                place = shapes.endpoint(
                    self.network(network)["Id"], wanted.get(network), name, identity
                )
                if network == main and (mac := place["_mac"] or config.get("MacAddress")):
                    # and so it stays, whatever it leaves
                    place["_mac"] = container["Config"]["MacAddress"] = mac
                place["MacAddress"] = place["_mac"]
                container["NetworkSettings"]["Networks"][network] = place
        for mount in container["HostConfig"].get("Mounts") or ():
            volume = self.add_volume(mount.get("Source") or shapes.new_id())
            told = {
                "Type": "volume",
                "Name": volume["Name"],
                "Source": volume["Mountpoint"],
                "Destination": mount["Target"],
                # made for it, and removed with it where that is asked for
                "_own": not mount.get("Source"),
            }
            container["Mounts"].append(told)
        self.containers[identity] = container
        self.emit(container, "create")
        return identity

    def _refuse_taken(self, name: str) -> None:
        for other in self.containers.values():
            if other["Name"] == f"/{name}":
                raise Refusal(
                    409,
                    f'Conflict. The container name "/{name}" is already in use by container '
                    f'"{other["Id"]}".',
                )

    def rename_container(self, name: str, new: str) -> None:
        container = self.container(name)
        self._refuse_taken(new)
        old, container["Name"] = container["Name"], f"/{new}"
        self.emit(container, "rename", oldName=old)

    def start_container(self, name: str) -> bool:
        """False where it runs already (the engine answers 304)."""
        container = self.container(name)
        state = container["State"]
        if state["Running"]:
            return False
        joined = container["HostConfig"]["NetworkMode"].removeprefix("container:")
        if (
            joined != container["HostConfig"]["NetworkMode"]
            and not self.container(joined)["State"]["Running"]
        ):
            raise Refusal(409, f"cannot join network of a non running container: {joined}")
        for network, place in places(container).items():
            if place["NetworkID"] not in self.networks:
                state["Error"] = f"network {place['NetworkID']} not found"
                raise Refusal(404, state["Error"])
            self._bring_up(container, network, place)
        state |= {
            "Status": "running",
            "Running": True,
            "Pid": 4242,
            "Error": "",
            "ExitCode": 0,
            "OOMKilled": False,
        }
        state["StartedAt"] = shapes.stamp()
        if container["Config"].get("Healthcheck"):
            state["Health"] = {"Status": "starting", "FailingStreak": 0, "Log": []}
        self.emit(container, "start")
        return True

    def stop_container(self, name: str, number: int = signal.SIGTERM) -> bool:
        """False where it does not run (304). Order of the events: kill, die, stop."""
        container = self.container(name)
        if not container["State"]["Running"]:
            return False
        self.emit(container, "kill", signal=str(int(number)))
        self._end(container, 128 + number)
        self.emit(container, "stop")
        return True

    def restart_container(self, name: str, number: int = signal.SIGTERM) -> None:
        """Order of the events: kill, stop, die, start, restart."""
        container = self.container(name)
        if container["State"]["Running"]:
            self.emit(container, "kill", signal=str(int(number)))
            self._end(container, 128 + number, stopped=True)
        self.start_container(container["Id"])
        self.emit(container, "restart")

    def kill_container(self, name: str, number: int) -> None:
        container = self.container(name)
        if not container["State"]["Running"]:
            raise Refusal(
                409, f"cannot kill container: {name}: container {container['Id']} is not running"
            )
        self.emit(container, "kill", signal=str(int(number)))
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            self._end(container, 128 + number)

    def pause_container(self, name: str, paused: bool) -> None:
        container = self.container(name)
        state = container["State"]
        if not state["Running"] and paused:
            raise Refusal(409, f"container {container['Id']} is not running")
        if state["Paused"] is paused:
            raise Refusal(
                409 if paused else 500,
                f"Container {container['Id']} is {'already' if paused else 'not'} paused",
            )
        state |= {"Paused": paused, "Status": "paused" if paused else "running"}
        if paused and state.get("Health"):
            # as the engine does whenever it stops a check, and says nothing
            state["Health"]["Status"] = "unhealthy"
        self.emit(container, "pause" if paused else "unpause")

    def update_container(self, name: str, changes: Mapping[str, Any]) -> None:
        """`docker update`: the limit of memory may not exceed that of memory and swap."""
        container = self.container(name)
        host = container["HostConfig"]
        memory, total = (
            changes.get("Memory"),
            changes.get("MemorySwap", host.get("MemorySwap") or 0),
        )
        if memory and 0 < total < memory:
            text = (
                "Memory limit should be smaller than already set memoryswap limit, update the "
                "memoryswap as well"
            )
            raise Refusal(409, f"Cannot update container {container['Id']}: {text}")
        policy = (changes.get("RestartPolicy") or {}).get("Name", "")
        if policy not in ("", "no") and host["AutoRemove"]:
            text = (
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
            raise Refusal(409, f"Cannot update container {container['Id']}: {text}")
        host |= {key: value for key, value in changes.items() if value}
        self.emit(container, "update")

    def remove_container(self, name: str, force: bool, volumes: bool) -> None:
        container = self.container(name)
        if container["State"]["Running"]:
            if not force:
                raise Refusal(
                    409,
                    f'cannot remove container "{container["Name"]}": container is running: stop '
                    "the container",
                )
            self.kill_container(name, signal.SIGKILL)
        del self.containers[container["Id"]]
        self.emit(container, "destroy")
        for mount in container["Mounts"] if volumes else ():
            if mount["_own"]:
                self.remove_volume(mount["Name"])

    def remove_volume(self, name: str) -> None:
        if name not in self.volumes:
            raise Refusal(404, f"get {name}: no such volume")
        users = [
            c["Id"] for c in self.containers.values() if any(m["Name"] == name for m in c["Mounts"])
        ]
        if users:
            raise Refusal(409, f"remove {name}: volume is in use - [{users[0]}]")
        self.archives.pop(name)
        self.log.emit("volume", "destroy", name, {"driver": self.volumes.pop(name)["Driver"]})

    def commit(self, name: str, tag: str, config: Mapping[str, Any] | None, pause: bool) -> str:
        """An image of the container; as the engine, with pause and unpause around it."""
        container = self.container(name)
        pause = pause and container["State"]["Running"] and not container["State"]["Paused"]
        if pause:
            self.pause_container(name, True)
        identity = self.add_image(tag, config or container["Config"])
        self.log.emit("image", "tag", identity, {"name": tag})
        self.emit(container, "commit", imageID=identity, imageRef=tag, comment="")
        if pause:
            self.pause_container(name, False)
        return identity

    def remove_image(self, name: str, force: bool) -> None:
        """By a name: the name goes, and with the last one the image."""
        image = self.image(name)
        users = [c for c in self.containers.values() if c["Image"] == image["Id"]]
        full = tagged(name)
        if full in image["RepoTags"] and (len(image["RepoTags"]) > 1 or (users and force)):
            image["RepoTags"].remove(full)
            return
        if users:
            text = (
                f"conflict: unable to delete {name} (must be forced) - container "
                f"{users[0]['Id'][:12]} is using it"
            )
            raise Refusal(409, text)
        del self.images[image["Id"]]
        self.log.emit("image", "delete", image["Id"], {"name": image["Id"]})

    def _end(self, container: dict[str, Any], exit_code: int, stopped: bool = False) -> None:
        state = container["State"]
        state |= {
            "Status": "exited",
            "Running": False,
            "Paused": False,
            "Pid": 0,
            "ExitCode": exit_code,
        }
        state["FinishedAt"] = shapes.stamp()
        if state.get("Health"):
            state["Health"]["Status"] = "unhealthy"  # as the engine does: what ended is not healthy
        for network, place in places(container).items():
            shapes.take_down(place)
            self._told_network("disconnect", container, network, place)
        if stopped:
            self.emit(container, "stop")
        self.emit(container, "die", exitCode=str(exit_code), execDuration="0")


def tagged(name: str) -> str:
    return name if ":" in name else f"{name}:latest"
