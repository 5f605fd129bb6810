"""How soon ready, how much memory, how much CPU when idle: the daemon as a process, on a host of
canned answers.

Floor of the start: a process that imports what the daemon imports. `python bench/footprint.py
[IDLE_SECONDS]`
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.lab import Daemon

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


def rules(count: int) -> str:
    lines = ["version: 1", "rules:"]
    lines += [
        f"  - {{name: r{number}, when: container.unhealthy, match: {{name: "
        f"'svc-{number:04d}-*'}}, then: restart}}"
        for number in range(count)
    ]
    return "\n".join(lines)


def memory(pid: int) -> float:
    """Resident MiB."""
    line = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def cpu(pid: int) -> float:
    """Seconds of CPU used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def on_host(containers: int, rule_count: int, idle: float) -> tuple[float, float, float]:
    """(seconds until /readyz says 200, MiB, CPU seconds a minute)."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/s"
        host = subprocess.Popen(
            [sys.executable, str(HERE / "fake_host.py"), socket, str(containers), "0"],
            stdout=subprocess.PIPE,
        )
        assert host.stdout is not None
        host.stdout.readline()
        one = Daemon(f"unix://{socket}", rules={"bench.yaml": rules(rule_count)})
        try:
            begun = time.perf_counter()
            one.start(ready=False)
            while one.status("/readyz") != 200:
                time.sleep(0.01)
            ready = time.perf_counter() - begun
            time.sleep(3.0)
            resident = memory(one.pid)
            before, since = cpu(one.pid), time.perf_counter()
            time.sleep(idle)
            return ready, resident, (cpu(one.pid) - before) * 60 / (time.perf_counter() - since)
        finally:
            one.close()
            host.kill()
            host.wait()


def imports() -> float:
    """Seconds for a process that only imports the daemon."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import dockmend.app.daemon"], check=True)
    return time.perf_counter() - begun


def main() -> None:
    idle = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    floor = statistics.median(imports() for _ in range(3))
    starts = [on_host(1000, 1000, 0.1) for _ in range(3)]
    _, _, busy = on_host(200, 10, idle)
    print("| what | measured |\n| --- | --- |")
    print(f"| imports alone (floor) | {floor:.2f} s |")
    print(
        "| ready with 1,000 containers and 1,000 rules | "
        f"{statistics.median(each[0] for each in starts):.2f} s |"
    )
    print(f"| resident then | {statistics.median(each[1] for each in starts):.0f} MiB |")
    print(f"| CPU when idle with 200 containers, a minute | {busy:.2f} s |")


if __name__ == "__main__":
    main()
