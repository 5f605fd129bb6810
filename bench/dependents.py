"""How long dependents are without what they hang on: from what befell the owner, and from the
owner's being well again.

Each kind of tie on a private engine, with rules.d/60-rejoin-network.yaml and rules for what is no
namespace; looked at from inside. `python bench/dependents.py` (root; Markdown on standard output)
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.lab import Daemon, PrivateEngine
from tests.lab.waiting import eventually

TOP = Path(__file__).resolve().parents[1]
RULES = {
    "rejoin.yaml": (TOP / "rules.d" / "60-rejoin-network.yaml")
    .read_text()
    .replace("rejoin-network:", "rejoin:"),
    "others.yaml": """
version: 1
rules:
  - name: moved
    when: [container.address_changed, container.started]
    match: {name: base}
    then: restart_dependents
    limits: {backoff: none, attempts: none}
""",
}
SETTINGS = "heal: off\nlimits: {rate: none}\n"
REJOIN = ("--label", "dockmend.rejoin=true", "--stop-timeout", "2")
HEALTH = (
    "--health-cmd",
    "test -e /well",
    "--health-interval=200ms",
    "--health-timeout=2s",
    "--health-retries=1",
)
WELL = ("sh", "-c", "touch /well; exec sleep 86400")


class Bench:
    def __init__(self, engine: PrivateEngine) -> None:
        self.engine = engine

    def vpn(self) -> None:
        self.engine.run("vpn", "--restart", "always", "--stop-timeout", "2", *HEALTH, command=WELL)
        self.engine.await_health("vpn", "healthy", 30)

    def behind(self) -> None:
        for number in range(3):
            self.engine.run(
                f"behind{number}", "--network", "container:vpn", "--restart", "always", *REJOIN
            )

    def base(self, *options: str) -> None:
        self.engine.run("base", "--stop-timeout", "2", *options)

    def started_at(self, name: str) -> str:
        return str(self.engine.inspect(name)["State"]["StartedAt"])

    def inside(self, name: str) -> bool:
        address = self.engine.inspect("vpn")["NetworkSettings"]["IPAddress"]
        return f"inet {address}/" in self.engine.docker("exec", name, "ip", "-o", "addr")

    def back(self) -> tuple[float, float]:
        """(when the owner was healthy, when all behind it had its network): wall seconds."""
        eventually(lambda: self.engine.health("vpn") == "healthy", 60, every=0.02)
        healthy = time.time()
        for number in range(3):
            eventually(lambda: self.inside(f"behind{number}"), 90, every=0.05)  # noqa: B023 - called at once
        return healthy, time.time()


@contextlib.contextmanager
def scene(bench: Bench) -> Iterator[Daemon]:
    one = Daemon(bench.engine.url, rules=RULES, config=SETTINGS)
    try:
        yield one.start(timeout=60)
    finally:
        one.close()
        bench.engine.clean()


def namespace(bench: Bench, deed: Callable[[Bench], None]) -> tuple[float, float]:
    """Seconds from the deed, and from the owner's being healthy, to the network of the last
    dependent."""
    bench.vpn()
    bench.behind()
    with scene(bench):
        began = time.time()
        deed(bench)
        healthy, done = bench.back()
    return done - began, done - healthy


def restarted(bench: Bench) -> None:
    bench.engine.docker("restart", "vpn")


def replaced(bench: Bench) -> None:
    bench.engine.docker("rm", "--force", "vpn")
    bench.vpn()


def gone_then_back(bench: Bench) -> None:
    bench.engine.docker("stop", "vpn")
    time.sleep(5)
    bench.engine.docker("start", "vpn")


def rebooted(bench: Bench) -> None:
    names = ("vpn", "behind0", "behind1", "behind2")
    pids = [int(bench.engine.inspect(name)["State"]["Pid"]) for name in names]
    shims = [
        int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids
    ]
    bench.engine.kill()
    for pid in (*shims, *pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    bench.engine.start()


TIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "its processes (`--pid container:`)": ((), ("--pid", "container:base")),
    "its memory (`--ipc container:`)": (("--ipc", "shareable"), ("--ipc", "container:base")),
    "a link on the default bridge": ((), ("--link", "base:gateway")),
    "the label `dockmend.depends-on`": ((), ("--label", "dockmend.depends-on=base")),
    "Compose's `depends_on` with `restart: true`": (
        ("--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service=base"),
        ("--label", "com.docker.compose.project=p", "--label", "com.docker.compose.service=app",
         "--label", "com.docker.compose.depends_on=base:service_started:true"),
    ),
}  # fmt: skip


def tie(bench: Bench, of_base: tuple[str, ...], of_app: tuple[str, ...]) -> float:
    """Seconds from a restart of what an app hangs on to the app's new start."""
    bench.base(*of_base)
    bench.engine.run("app", "--stop-timeout", "2", *of_app, init="--pid" not in of_app)
    with scene(bench):
        before, began = bench.started_at("app"), time.time()
        bench.engine.docker("restart", "base")
        eventually(
            lambda: bench.started_at("app") != before and bench.engine.state("app") == "running",
            60,
            every=0.02,
        )
        return time.time() - began


def untouched(bench: Bench, *of_app: str) -> str:
    """What is never treated: the app runs on in the run it had."""
    bench.base("--volume", "/files", "--network", "lane")
    bench.engine.run("app", "--stop-timeout", "2", *of_app)
    with scene(bench) as one:
        before = bench.started_at("app")
        bench.engine.docker("restart", "base")
        eventually(lambda: any(row["state"] == "closed" for row in one.incidents()), 60)
        return "left alone" if bench.started_at("app") == before else "RESTARTED"


def main() -> None:
    engine = PrivateEngine()
    bench = Bench(engine)
    try:
        engine.start()
        engine.toolbox_image()
        print(
            "| the owner of a network was | those behind had it after | of these after the owner "
            "was healthy |"
        )
        print("| --- | --- | --- |")
        for deed in (restarted, replaced, gone_then_back, rebooted):
            total, after = namespace(bench, deed)
            print(
                f"| {deed.__name__.replace('_', ' ')} | {total:.1f} s | {after:.1f} s |", flush=True
            )
        print("\n| what it hangs on by | restarted after |\n| --- | --- |")
        for name, (of_base, of_app) in TIES.items():
            print(f"| {name} | {tie(bench, of_base, of_app):.1f} s |", flush=True)
        never = {
            "`--volumes-from`": ("--volumes-from", "base"),
            "a shared network": ("--network", "lane"),
        }
        for name, options in never.items():
            engine.docker("network", "create", "lane")
            print(f"| {name} | {untouched(bench, *options)} |", flush=True)
    finally:
        engine.stop()


if __name__ == "__main__":
    main()
