"""An engine of containers in memory: what is done to them makes events and the truth that inspect
would tell.

`ledger` is what happened, for comparison with what the mirror makes of it. Time passes by a
millisecond with each thing that happens, and otherwise only when it is told to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from dockmend.model import Container, Endpoint, Event, HealthCheck, Network, Volume
from tests.unit.mirror.host import event

LAN = Network("n1", "lan")


@dataclass
class SimulatedEngine:
    now: float = 1_000_000.0
    containers: dict[str, Container] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=lambda: {LAN.id: LAN})
    volumes: dict[str, Volume] = field(default_factory=dict)
    stream: list[Event] = field(default_factory=list)  # said and not read yet
    ends: list[tuple[str, float, str]] = field(default_factory=list)  # id, start of the run, cause
    starts: list[tuple[str, float]] = field(default_factory=list)
    unhealthy: int = 0
    made: int = 0

    def say(self, action: str, id: str, kind: str = "container", **attributes: str) -> None:
        self.now += 0.001
        self.stream.append(event(kind, action, id, self.now, **attributes))

    def _set(self, id: str, **fields: object) -> Container:
        self.containers[id] = replace(self.containers[id], **fields)
        return self.containers[id]

    # --- what may happen --------------------------------------------------------------------------

    def run(self, policy: str = "no") -> str:
        self.made += 1
        new = f"{self.made:064x}"
        labels = (
            {"dockmend.depends-on": f"c{self.made - 1}:service_healthy"}
            if self.made % 2 == 0
            else {}
        )
        self.containers[new] = Container(
            id=new, name=f"c{self.made}", state="created", created_at=self.now,
            restart_policy=policy, check=HealthCheck(), networks={"lan": Endpoint("n1")},
            labels=labels,
        )  # fmt: skip
        self.say("create", new, image="toolbox")
        self.start(new)
        return new

    def start(self, id: str) -> None:
        self.now += 0.001
        networks = {
            name: Endpoint("n1", address=f"10.0.0.{self.made}")
            for name in self.containers[id].networks
        }
        self._set(
            id,
            state="running",
            health="starting",
            started_at=self.now,
            exit_code=None,
            networks=networks,
        )
        self.starts.append((id, self.now))
        self.say("start", id)

    def end(self, id: str, code: int, cause: str) -> None:
        self.now += 0.001
        one = self._set(id, state="exited", health="", exit_code=code, finished_at=self.now)
        self.ends.append((id, one.started_at, cause))
        self.say("die", id, exitCode=str(code))

    def crash(self, id: str, code: int) -> None:
        self.end(id, code, "crashed" if code else "completed")

    def stop(self, id: str, *, stop_last: bool = False) -> None:
        self.say("kill", id, signal="15")
        if stop_last:
            self.end(id, 143, "stopped")
            self.say("stop", id)
            return
        self.now += 0.001
        one = self._set(id, state="exited", health="", exit_code=1, finished_at=self.now)
        self.ends.append((id, one.started_at, "stopped"))
        self.say("stop", id)
        self.say("die", id, exitCode="1")

    def restart(self, id: str) -> None:
        self.stop(id)
        self.start(id)
        self.say("restart", id)

    def kill(self, id: str) -> None:
        self.say("kill", id, signal="9")
        self.end(id, 137, "stopped")

    def hang_up(self, id: str) -> None:
        self.say("kill", id, signal="1")

    def out_of_memory(self, id: str) -> None:
        self.say("oom", id)
        self.end(id, 137, "oom_killed")

    def turn(self, id: str, health: str) -> None:
        if self.containers[id].health != health:
            self.unhealthy += health == "unhealthy"
            self._set(id, health=health)
            self.say(f"health_status: {health}", id)

    def disconnect(self, id: str) -> None:
        if "lan" in self.containers[id].networks:
            self._set(id, networks={})
            self.say("disconnect", "n1", kind="network", container=id)

    def reconnect(self, id: str) -> None:
        if "lan" not in self.containers[id].networks:
            self._set(id, networks={"lan": Endpoint("n1", address=f"10.0.0.{self.made}")})
            self.say("connect", "n1", kind="network", container=id)

    def toggle_network(self, which: int) -> None:
        """Made where it is not there, removed where it is; nothing is in it."""
        extra = f"extra{which}"
        if self.networks.pop(extra, None) is None:
            self.networks[extra] = Network(extra, f"net{which}")
        self.say("create" if extra in self.networks else "destroy", extra, kind="network")

    def toggle_volume(self, which: int) -> None:
        name = f"data{which}"
        if self.volumes.pop(name, None) is None:
            self.volumes[name] = Volume(name)
        self.say("create" if name in self.volumes else "destroy", name, kind="volume")

    def remove(self, id: str) -> None:
        del self.containers[id]
        self.say("destroy", id)
