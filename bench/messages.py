"""How soon a message is handed over after an incident's outcome, and what messages cost in memory.

The outcome is the incident's `closed_at` in the journal; the message has arrived when a web server
on loopback has its request. The first one starts the process that sends; it is running for the
others. The memory is of dockmend itself on a host of canned answers, without a channel and with
one. `python bench/messages.py` (root)
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.footprint import memory
from tests.lab import Daemon, PrivateEngine, receivers
from tests.lab.waiting import eventually

HERE = Path(__file__).parent
ROUNDS = 8  # of more than ten in a minute, dockmend makes one
SETTLED = 5.0  # seconds until the memory is read


def hand_over() -> list[float]:
    """Seconds from each outcome to its message."""
    engine = PrivateEngine()
    engine.start()
    took = []
    try:
        engine.toolbox_image()
        with receivers.web() as phone:
            one = Daemon(
                engine.url, environment={"DOCKMEND_NOTIFY_URL": f"json://127.0.0.1:{phone.port}/"}
            )
            try:
                one.start()
                for number in range(ROUNDS):
                    engine.docker(
                        "run", "-d", "--name", f"sonarr{number}", "--label", "dockmend.heal=true",
                        "--label", "dockmend.heal.attempts=1 per 1h", "toolbox", "sh", "-c",
                        "sleep 0.3; exit 3",
                    )  # fmt: skip
                    eventually(partial(came, phone, number + 1), what="a message came", every=0.002)
                    arrived = time.time()
                    took.append(arrived - float(incidents(one)[0]["closed_at"]))
            finally:
                one.close()
    finally:
        engine.stop()
    return took


def came(phone: receivers.Web, count: int) -> bool:
    return len(phone.got) == count


def incidents(one: Daemon) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "dockmend", "incidents", "--json", "--state", str(one.state)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert isinstance(found, list)
    return found


def resident(containers: int, *, channel: bool) -> float:
    """MiB of dockmend itself."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/s"
        host = subprocess.Popen(
            [sys.executable, str(HERE / "fake_host.py"), socket, str(containers), "0"],
            stdout=subprocess.PIPE,
        )
        assert host.stdout is not None
        host.stdout.readline()
        environment = {"DOCKMEND_NOTIFY_URL": "json://127.0.0.1:9/"} if channel else {}
        one = Daemon(f"unix://{socket}", environment=environment)
        try:
            one.start()
            time.sleep(SETTLED)
            return memory(one.pid)
        finally:
            one.close()
            host.kill()
            host.wait()


def main() -> None:
    first, *others = hand_over()
    print("| what | measured |\n| --- | --- |")
    print(f"| from the outcome to the message, the first one | {first:.2f} s |")
    print(
        f"| the next {len(others)}, median and longest | {statistics.median(others):.2f} s, "
        f"{max(others):.2f} s |"
    )
    print(f"| resident with 200 containers, no channel | {resident(200, channel=False):.0f} MiB |")
    print(f"| resident with 200 containers and a channel | {resident(200, channel=True):.0f} MiB |")


if __name__ == "__main__":
    main()
