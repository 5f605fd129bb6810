"""Images whose author wrote what no build accepts and every engine takes: they are no fault of
dockmend's."""

from __future__ import annotations

import os
import signal

from tests.integration.healing import CRASHED, closed, daemon
from tests.lab import PrivateEngine

ODD: dict[str, dict[str, object]] = {
    "endless-signal": {"StopSignal": "9" * 5000},
    "negative-signal": {"StopSignal": "-5"},
    "no-signal": {"StopSignal": "SIGNOTHING"},
    "negative-check": {
        "Healthcheck": {
            "Test": ["CMD", "true"],
            "Interval": -5,
            "Timeout": -1,
            "StartPeriod": -9,
            "Retries": -3,
        }
    },
    "endless-check": {
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**9, "Retries": 2**62}
    },
    "empty-check": {"Healthcheck": {"Test": ["CMD-SHELL"], "Interval": 2**63 - 1}},
}


def kill_main(docker: PrivateEngine, name: str) -> None:
    os.kill(int(docker.inspect(name)["State"]["Pid"]), signal.SIGKILL)


SIGNALS = [name for name in ODD if name.endswith("signal")]


def test_what_an_images_author_wrote_stops_dockmend_from_nothing(docker: PrivateEngine) -> None:
    for name, config in ODD.items():
        docker.load_image(f"{name}:1", config)
        for which in ("stopped", "killed", "crashed"):
            docker.run(f"{name}-{which}", image=f"{name}:1")
    docker.run("witness")
    with daemon(docker, CRASHED) as one:
        for name in ODD:
            docker.docker("stop", "-t", "1", f"{name}-stopped")
            docker.docker("kill", f"{name}-killed")
            kill_main(docker, f"{name}-crashed")
        # Those with an odd check are never healthy; what is asked of dockmend is to go on.
        for name in SIGNALS:
            closed(one, "healed", name=f"{name}-crashed")
        one.stop()  # what was read of them is in its journal, and is read again
        one.start()
        kill_main(docker, "witness")
        closed(one, "healed", name="witness")
        assert {
            docker.state(f"{name}-{which}") for name in ODD for which in ("stopped", "killed")
        } == {"exited"}
        assert {docker.state(f"{name}-crashed") for name in SIGNALS} == {"running"}
        assert [line for line in one.log if "exception" in line] == []
