"""One set of handles on a real engine and on the fake one: what the contract tests make happen on
both."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dockmend.engine.client import DockerEngine
from tests.fakes.engine import FakeEngine
from tests.lab import PodmanEngine, PrivateEngine, eventually_async
from tests.lab.engine import QUICK_HEALTH


class Lab(Protocol):
    url: str
    client: DockerEngine

    async def image(self, name: str, labels: Mapping[str, str]) -> None: ...
    async def run(
        self,
        name: str,
        *,
        image: str = "toolbox:latest",
        labels: Mapping[str, str] | None = None,
        network: str = "bridge",
        health: bool = False,
        start: bool = True,
        options: Sequence[str] = (),
    ) -> str:
        """A container; `options` as the docker command takes them, for the few that the fake
        understands too."""

    async def sicken(self, name: str) -> None: ...
    async def crash(self, name: str) -> None:
        """Its main process ends by itself, with exit code 7."""

    async def exec_noise(self, name: str, times: int) -> None: ...
    async def network(self, name: str, subnet: str) -> None: ...
    async def remove_network(self, name: str) -> None: ...
    async def stop_engine(self) -> None: ...
    async def kill_engine(self) -> None: ...
    async def start_engine(self) -> None: ...
    async def freeze_engine(self) -> None:
        """From now on it answers nothing, and closes nothing."""

    async def thaw_engine(self) -> None: ...


class RealLab:
    def __init__(self, engine: PrivateEngine, client: DockerEngine) -> None:
        self.engine = engine
        self.client = client
        self.url = engine.url

    async def image(self, name: str, labels: Mapping[str, str]) -> None:
        await asyncio.to_thread(self.engine.toolbox_image, name, labels=labels)

    async def run(
        self,
        name: str,
        *,
        image: str = "toolbox:latest",
        labels: Mapping[str, str] | None = None,
        network: str = "bridge",
        health: bool = False,
        start: bool = True,
        options: Sequence[str] = (),
    ) -> str:
        wanted = [
            *options,
            *(
                part
                for key, value in (labels or {}).items()
                for part in ("--label", f"{key}={value}")
            ),
        ]
        if health:
            wanted += ["--health-cmd", "test -e /well", *QUICK_HEALTH]
        verb = ["run", "--detach"] if start else ["create"]
        loop = "touch /well; trap 'exit 0' TERM; while ! [ -e /crash ]; do sleep 0.1; done; exit 7"
        identity = await self.engine.adocker(
            *verb, "--init", "--name", name, "--network", network, *wanted, image, "sh", "-c", loop
        )
        if start:
            pid = self.engine.inspect(identity)["State"]["Pid"]
            await eventually_async(lambda: _takes_term(pid), what=f"{name} takes signals")
        if health:
            await asyncio.to_thread(self.engine.await_health, name, "healthy")
        return identity

    async def sicken(self, name: str) -> None:
        await self.engine.adocker("exec", name, "rm", "/well")

    async def crash(self, name: str) -> None:
        await self.engine.adocker("exec", name, "touch", "/crash")

    async def exec_noise(self, name: str, times: int) -> None:
        for _ in range(times):
            await self.engine.adocker("exec", name, "true")

    async def network(self, name: str, subnet: str) -> None:
        await self.engine.adocker("network", "create", "--subnet", subnet, name)

    async def remove_network(self, name: str) -> None:
        await self.engine.adocker("network", "rm", name)

    async def stop_engine(self) -> None:
        await asyncio.to_thread(self.engine.terminate)

    async def kill_engine(self) -> None:
        await asyncio.to_thread(self.engine.kill)

    async def start_engine(self) -> None:
        await asyncio.to_thread(self.engine.start)

    async def freeze_engine(self) -> None:
        self.engine.pause()

    async def thaw_engine(self) -> None:
        self.engine.resume()


def _takes_term(init: int) -> bool:
    """Whether the script below an init has set its trap: a TERM that comes before is lost, or ends
    it otherwise."""
    for child in Path(f"/proc/{init}/task/{init}/children").read_text().split():
        caught = re.search(
            r"^SigCgt:\s*(\w+)", Path(f"/proc/{child}/status").read_text(), re.MULTILINE
        )
        if caught is not None and int(caught[1], 16) & 1 << signal.SIGTERM - 1:
            return True
    return False


class PodmanLab(RealLab):
    """Podman checks no health by itself: timers of systemd do, and here the lab."""

    engine: PodmanEngine

    async def sicken(self, name: str) -> None:
        await super().sicken(name)
        await asyncio.to_thread(self.engine.await_health, name, "unhealthy")


class FakeLab:
    def __init__(self, engine: FakeEngine, client: DockerEngine) -> None:
        self.engine = engine
        self.client = client
        self.url = engine.url

    async def image(self, name: str, labels: Mapping[str, str]) -> None:
        self.engine.add_image(name, {"Labels": dict(labels)})

    async def run(
        self,
        name: str,
        *,
        image: str = "toolbox:latest",
        labels: Mapping[str, str] | None = None,
        network: str = "bridge",
        health: bool = False,
        start: bool = True,
        options: Sequence[str] = (),
    ) -> str:
        known: dict[str, dict[str, Any]] = {
            "--restart=always": {"HostConfig": {"RestartPolicy": {"Name": "always"}}},
            "--mac-address=02:11:22:33:44:55": {"MacAddress": "02:11:22:33:44:55"},
            "--rm": {"HostConfig": {"AutoRemove": True}},
            "--stop-timeout=33": {"StopTimeout": 33},
            "--stop-signal=SIGQUIT": {"StopSignal": "SIGQUIT"},
            "--volume=data:/data": {
                "HostConfig": {"Mounts": [{"Type": "volume", "Source": "data", "Target": "/data"}]}
            },
        }
        config: dict[str, Any] = {}
        host: dict[str, Any] = {}
        for option in options:
            body = dict(known[option])
            host |= body.pop("HostConfig", {})
            config |= body
        return self.engine.add_container(
            name,
            image,
            labels=labels,
            network=network,
            health=health,
            start=start,
            HostConfig=host,
            **config,
        )

    async def sicken(self, name: str) -> None:
        self.engine.exec_noise(name)
        self.engine.set_health(name, "unhealthy")

    async def crash(self, name: str) -> None:
        self.engine.exec_noise(name)
        self.engine.crash(name, 7)

    async def exec_noise(self, name: str, times: int) -> None:
        self.engine.exec_noise(name, times)

    async def network(self, name: str, subnet: str) -> None:
        self.engine.create_network({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})

    async def remove_network(self, name: str) -> None:
        self.engine.remove_network(name)

    async def stop_engine(self) -> None:
        await self.engine.stop()

    async def kill_engine(self) -> None:
        await self.engine.stop()

    async def start_engine(self) -> None:
        await self.engine.start()

    async def freeze_engine(self) -> None:
        self.engine.hang()

    async def thaw_engine(self) -> None:
        self.engine.resume()
