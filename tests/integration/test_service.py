"""`make install` under a real systemd, from a clone of another user's that cannot be written: its
whole life."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import PrivateEngine, eventually, sweep
from tests.lab.packages import OFFLINE, Clone, Machine

DROP_IN = Path("/etc/systemd/system/dockmend.service.d/patience.conf")
RULE = (
    "version: 1\nrules: [{name: mine, when: container.unhealthy, match: {name: other}, then: "
    "restart}]\n"
)


class Service:
    """dockmend's service in a machine of its own, on the tests' engine."""

    def __init__(self, engine: PrivateEngine) -> None:
        self.engine = engine
        self.clone = Clone()
        self.machine = Machine({"/run/docker.sock": engine.socket}, {"/src": self.clone.folder})

    def make(self, *words: str, check: bool = True, **environment: str) -> tuple[int, str]:
        """`make …` in the clone: its exit code, and what it said."""
        done = self.machine.run("make", "-C", "/src", *words, check=check, **OFFLINE, **environment)
        return done.returncode, done.stderr

    def shown(self, name: str) -> str:
        return self.machine.run(
            "systemctl", "show", "--value", f"--property={name}", "dockmend"
        ).stdout.strip()

    @property
    def pid(self) -> int:
        """The process id of the daemon, in the machine."""
        return int(self.shown("MainPID"))

    def dockmend(self, *words: str, check: bool = True) -> str:
        done = self.machine.run("dockmend", *words, check=check)
        return done.stdout + done.stderr

    def path(self, inside: Path | str) -> Path:
        """Where a path of the machine is on this host."""
        return self.machine.root / str(inside).lstrip("/")

    def releases(self) -> list[str]:
        """The versions that are installed."""
        return [each.name for each in self.path("/opt/dockmend/releases").iterdir()]

    def log(self) -> str:
        return self.machine.run(
            "journalctl", "--unit=dockmend", "--no-pager", "--output=cat"
        ).stdout

    def files(self) -> set[str]:
        """Every path of the machine, but for what systemd itself and the interpreter of the system
        keep."""
        left_out = (
            "/proc",
            "/sys",
            "/dev",
            "/tmp",
            "/var/tmp",
            "/var/log",
            "/run/systemd",
            "/run/log",
            "/src",
            "/wheels",
        )
        pruned = [word for each in left_out for word in ("-path", each, "-prune", "-o")]
        found = self.machine.run("find", "/", *pruned, "-print").stdout.splitlines()
        own = (
            "/etc/group",
            "/etc/gshadow",
            "/etc/passwd",
            "/etc/shadow",
            "/etc/.pwd.lock",
            "/var/lib/systemd",
            "/run/agetty.reload",
        )
        return {
            each
            for each in found
            if not each.startswith(own) and "__pycache__" not in each and "/run/user" not in each
        }

    def heals(self, name: str) -> None:
        """A labelled container that becomes unhealthy is healed."""
        before = len(self.incidents(name))
        self.engine.sicken(name)
        eventually(
            lambda: (
                len([each for each in self.incidents(name) if each["outcome"] == "healed"]) > before
            )
        )

    def incidents(self, name: str) -> list[dict[str, object]]:
        return list(json.loads(self.dockmend("incidents", "--json", "--container", name)))

    def signal(self, pid: int, number: signal.Signals) -> None:
        self.machine.run("sh", "-c", f"kill -{number.value} {pid}")

    def comes_back(self, old: int) -> None:
        """Another process runs in the place of one that ended, and is ready."""
        eventually(lambda: self.pid not in (0, old) and self.shown("SubState") == "running", 120)


@pytest.fixture
def service(docker: PrivateEngine) -> Iterator[Service]:
    sweep()
    one = Service(docker)
    try:
        one.machine.start()
        yield one
    finally:
        one.machine.stop()
        one.clone.remove()


@pytest.mark.timeout(900)
def test_it_lives_and_leaves_nothing(docker: PrivateEngine, service: Service):
    docker.patient("web", "--label", "dockmend.heal=true")
    before = service.files()
    installed_it_heals_and_its_group_may_ask(service)
    a_reload_takes_good_rules_and_fails_with_the_errors_of_wrong_ones(service)
    one_that_stands_still_or_is_killed_comes_back(service)
    an_upgrade_of_the_running_one(service)
    one_that_does_not_start_is_put_back(service)
    what_a_person_wrote_stays_and_is_named(service)
    assert "nothing of it is left" in service.make("uninstall", "PURGE=yes")[1]
    assert service.files() - before == set()
    assert "dockmend" not in service.machine.run("cat", "/etc/group").stdout


def installed_it_heals_and_its_group_may_ask(service: Service) -> None:
    service.make("install")
    assert service.shown("ActiveState") == "active"
    assert service.machine.run("systemctl", "is-enabled", "dockmend").stdout.strip() == "enabled"
    service.heals("web")
    assert service.dockmend("status", "--health").strip() == "healthy"
    group = service.machine.run("getent", "group", "dockmend").stdout.split(":")[2]
    as_user, asks = ("setpriv", "--reuid=4242", "--regid=4242"), ("dockmend", "status", "--health")
    assert service.machine.run(*as_user, f"--groups={group}", *asks).stdout.strip() == "healthy"
    assert (
        "may not be used"
        in service.machine.run(*as_user, "--clear-groups", *asks, check=False).stdout
    )


def a_reload_takes_good_rules_and_fails_with_the_errors_of_wrong_ones(service: Service) -> None:
    rules = service.path("/etc/dockmend/rules.d/web.yaml")
    rules.write_text(RULE)
    service.machine.run("systemctl", "reload", "dockmend")
    assert "mine" in service.dockmend("rules", check=False)
    rules.write_text(RULE.replace("unhealthy", "unhealty"))
    assert service.machine.run("systemctl", "reload", "dockmend", check=False).returncode != 0
    assert "did you mean" in service.log()
    assert "unhealthy: rules: " in service.dockmend("status", "--health", check=False)
    rules.write_text(RULE)
    service.machine.run("systemctl", "reload", "dockmend")


def one_that_stands_still_or_is_killed_comes_back(service: Service) -> None:
    drop_in = service.path(DROP_IN)
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=5\n")
    service.machine.run("systemctl", "daemon-reload")
    service.machine.run("systemctl", "restart", "dockmend")
    still = service.pid
    service.signal(still, signal.SIGSTOP)
    service.comes_back(still)
    assert "Watchdog timeout" in service.log()
    killed = service.pid
    service.signal(killed, signal.SIGKILL)
    service.comes_back(killed)
    assert len(service.incidents("web")) == 1  # its journal is still there
    service.heals("web")


def an_upgrade_of_the_running_one(service: Service) -> None:
    service.clone.change("pyproject.toml", 'version = "0.1.0"', 'version = "0.1.1"')
    old = service.pid
    service.make("install")
    assert service.pid not in (0, old)
    [release] = service.releases()
    assert release.startswith("0.1.1-")
    service.heals("web")


def one_that_does_not_start_is_put_back(service: Service) -> None:
    before = service.releases()
    service.clone.change(
        "daemon/dockmend/app/daemon_process.py",
        "import asyncio\n",
        "import asyncio\nimport there_is_none\n",
    )
    code, said = service.make("install", check=False)
    assert code != 0
    assert "did not start" in said
    assert "the one before it runs again" in said
    assert service.releases() == before
    service.heals("web")


def what_a_person_wrote_stays_and_is_named(service: Service) -> None:
    said = service.make("uninstall")[1]
    assert "/etc/dockmend: settings and rules" in said
    assert f"{DROP_IN.parent}: what" in said
    assert service.path("/etc/dockmend/rules.d/web.yaml").read_text() == RULE
    assert service.shown("LoadState") == "not-found"
    assert not service.path("/opt/dockmend").exists()


@pytest.mark.timeout(600)
def test_snapshots_outlive_it(docker: PrivateEngine, service: Service):
    docker.docker("volume", "create", "data")
    docker.docker("run", "--rm", "--volume", "data:/data", "toolbox:latest", "touch", "/data/file")
    service.make("install", "START=no")
    assert service.shown("ActiveState") == "inactive"
    service.machine.run("systemctl", "start", "dockmend")
    service.dockmend("snapshots", "create", "data")
    assert "/var/lib/dockmend: snapshots of volumes" in service.make("uninstall")[1]
    assert list((service.path("/var/lib/dockmend/snapshots")).iterdir()) != []
