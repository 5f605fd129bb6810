"""A VPN gateway and what sits behind it, as a Compose project: the owner of a network and three
dependents."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from functools import partial
from pathlib import Path

from tests.lab import PrivateEngine, eventually

# A file's rule wins over `label:rejoin`, which reads the same label.
SHIPPED = Path(__file__).resolve().parents[2] / "rules.d" / "60-rejoin-network.yaml"
RULE = SHIPPED.read_text().replace("dockmend.rejoin-network", "dockmend.rejoin")
BEHIND = ("shop-app-1", "shop-web-1", "shop-job-1")
OWNER = "shop-vpn-1"
FILE = """
services:
  vpn:
    image: IMAGE
    init: true
    restart: always
    stop_grace_period: 2s
    command: [sh, -c, "touch /well; exec sleep 86400"]
    healthcheck: {test: [CMD, test, -e, /well], interval: 200ms, timeout: 2s, retries: 1}
  app: &behind
    image: toolbox:latest
    init: true
    network_mode: service:vpn
    restart: BEHIND
    stop_grace_period: 2s
    command: [sleep, "86400"]
    labels: {dockmend.rejoin: "true"}
  web:
    <<: *behind
    depends_on: {vpn: {condition: service_healthy, restart: true}}
  job:
    <<: *behind
    healthcheck: {test: [CMD, "true"], interval: 200ms, timeout: 2s, retries: 1}
"""


class Project:
    """The project on an engine; `up` brings it up, `connected` looks from inside."""

    def __init__(self, engine: PrivateEngine, folder: Path, policy: str = "always") -> None:
        """`policy`: the restart policy of those behind the owner."""
        self.engine = engine
        self.folder = folder
        self.policy = policy
        self.image = "toolbox:latest"

    def compose(self, *arguments: str) -> None:
        text = FILE.replace("IMAGE", self.image).replace("BEHIND", f'"{self.policy}"')
        (self.folder / "compose.yaml").write_text(text)
        command = ["docker-compose", "-H", self.engine.url, "-p", "shop", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, check=False, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stderr

    def up(self, *arguments: str) -> None:
        self.compose("up", "--detach", *arguments)
        self.engine.await_health(OWNER, "healthy", 30)

    def address(self) -> str:
        (network,) = self.engine.inspect(OWNER)["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def has_network(self, name: str) -> bool:
        """Whether a dependent has the owner's interfaces, and a ping gets through them."""
        (network,) = self.engine.inspect(OWNER)["NetworkSettings"]["Networks"].values()
        inside = self.engine.docker("exec", name, "ip", "-o", "addr")
        if f"inet {network['IPAddress']}/" not in inside:
            return False
        answer = self.engine.docker("exec", name, "ping", "-c", "1", "-W", "2", network["Gateway"])
        return "1 packets received" in answer

    def connected(self, *names: str, timeout: float = 120.0) -> None:
        """Waits until every dependent has the network of the owner as it is now, and the owner is
        healthy."""
        eventually(
            lambda: self.engine.health(OWNER) == "healthy", timeout, what="the owner is healthy"
        )
        for name in names or BEHIND:
            eventually(
                partial(self.has_network, name), timeout, what=f"{name} has its network", every=0.2
            )

    def reboot(self) -> None:
        """As a host that loses its power: engine, shims and containers die at once, and the engine
        comes up again."""
        pids = [int(self.engine.inspect(name)["State"]["Pid"]) for name in (OWNER, *BEHIND)]
        shims = [
            int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids
        ]
        self.engine.kill()
        for pid in (*shims, *pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.engine.start()

    def joined(self) -> dict[str, str]:
        """By dependent the id of the container whose network it joined."""
        modes = {
            name: str(self.engine.inspect(name)["HostConfig"]["NetworkMode"]) for name in BEHIND
        }
        return {name: mode.removeprefix("container:") for name, mode in modes.items()}
