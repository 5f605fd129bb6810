"""A real Podman of the tests' own, behind its Docker API: its own namespaces, storage, settings and
socket.

Needs root and Debian's podman, runc, netavark and aardvark-dns beside what `PrivateEngine` needs.
Podman has no engine process that owns the containers: what is started, ended and frozen here is the
service that answers the API, and a container outlives it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .engine import TOOLBOX, LabError, PrivateEngine
from .kinds import EngineKind
from .waiting import LIMIT, eventually

# The mounts of a container and of its network namespace are made in a mount namespace of the
# service's own, so that they end with the last process in it, whoever killed that: Podman keeps
# them in /run/netns, for all of the host.
_IN_ITS_OWN_MOUNTS = 'mount -t tmpfs none /run/netns && exec "$@"'


def podman_is_there() -> bool:
    """Whether this machine has what a `PodmanEngine` needs."""
    return all(shutil.which(program) for program in PodmanEngine.programs)


class PodmanEngine(PrivateEngine):
    """One `podman system service`, everything of it in one temporary folder."""

    programs = (
        "podman",
        "runc",
        "unshare",
        *(each for each in PrivateEngine.programs if each != "dockerd"),
    )
    # by Docker's API it waits the stop timeout
    removal = "/v5.0.0/libpod/containers/{}?force=true&timeout=0&v=true"
    removals_at_once = 1  # not before those that share its namespaces
    toolbox = f"docker.io/library/{TOOLBOX}"

    def _kind(self) -> EngineKind:
        return EngineKind.INSTALLED

    def _make(self) -> None:
        if self._made:
            return
        super()._make()
        (self.folder / "containers.conf").write_text(
            _settings(self.folder / "tmp", self.folder / "networks")
        )

    def _command(self) -> list[str]:
        inside = ["unshare", "--mount", "sh", "-c", _IN_ITS_OWN_MOUNTS, "sh"]
        return [*inside, *self._podman(), "system", "service", "--time=0", self.url]

    def _podman(self) -> list[str]:
        folders = ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        return ["podman", *folders, "--storage-driver", "overlay"]

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            "DISABLE_HC_SYSTEMD": "true",  # see `check_health`
        }

    def _remove_containers(self) -> None:
        # docs/engines.md: an address that is taken
        if self.api("GET", "/containers/json?all=1")[0] != 200:
            for network in self.api("GET", "/networks")[1]:
                if network["Name"] != "bridge":
                    # a 500, and it works
                    self.api("DELETE", f"/v5.0.0/libpod/networks/{network['Name']}?force=true")
        super()._remove_containers()

    def check_health(self, name: str) -> str:
        """Run a container's health check now; what became of its health. On a host, timers of
        systemd do this."""
        status, answer = self.api("GET", f"/v5.0.0/libpod/containers/{name}/healthcheck")
        if status != 200:
            raise LabError(f"health check of {name}: {answer}")
        return str(answer["Status"])

    def await_health(self, name: str, wanted: str, timeout: float = LIMIT) -> None:
        """As on Docker, but the lab is the timer."""
        eventually(
            lambda: self.check_health(name) == wanted, timeout, what=f"{name} becomes {wanted}"
        )

    def await_ill(self, name: str, since: float) -> None:
        """As the lab is the timer, nothing is healed before it looks."""
        self.await_health(name, "unhealthy")

    def version(self) -> str:
        """As `podman --version` has it: 5.4.2."""
        return str(self.api("GET", "/version")[1]["Version"])


def _settings(state: Path, networks: Path) -> str:
    """containers.conf: nothing shared with the machine's own Podman (its locks are, in /dev/shm,
    unless told)."""
    return f"""
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{state}"
[network]
network_config_dir = "{networks}"
firewall_driver = "iptables"
[containers]
log_driver = "k8s-file"
"""
