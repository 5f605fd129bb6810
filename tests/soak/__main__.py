"""`make soak MINUTES=60 RATE=200`: dockmend under a steady mix of events from a real engine; memory
must stay flat."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.lab import Daemon, PrivateEngine, sweep

from . import mix
from .sampling import Sample, cpu, judge, sample

EVERY = 10.0
WARM_UP = 600.0
RUNS = Path(__file__).parent / "runs"


def main() -> int:
    """Exit 0 where memory, files, tasks and threads stayed flat and the rate was reached, else
    1."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=200.0, help="events a second")
    parser.add_argument(
        "--log", type=Path, default=None, help="default: tests/soak/runs/soak-MINUTES-RATE.log"
    )
    given = parser.parse_args()
    sweep()
    log = given.log or RUNS / f"soak-{given.minutes:g}m-{given.rate:g}.log"
    warm_up = min(WARM_UP, given.minutes * 60 / 2)
    engine = PrivateEngine()
    load = mix.Mix(engine, given.rate)
    try:
        engine.start()
        engine.toolbox_image()
        load.make_fleet()
        daemon = Daemon(engine.url, rules={"soak.yaml": mix.RULES}, config=mix.CONFIG)
        try:
            daemon.start()
            load.start()
            samples = watch(daemon, load, given.minutes * 60)
            load.engine_cpu = cpu(engine.pid)
        finally:
            load.stop()
            faults = [
                line
                for line in daemon.text.splitlines()
                if "Traceback" in line or "fault of dockmend" in line
            ]
            daemon.close()
    finally:
        engine.stop()
    told, well = report(samples, warm_up, load, faults)
    log.write_text(told + "\n")
    print(told)
    print(f"log: {log}")
    return 0 if well else 1


def watch(daemon: Daemon, load: mix.Mix, seconds: float) -> list[Sample]:
    """One sample every ten seconds, printed every minute."""
    since = time.monotonic()
    samples = [sample(daemon, since)]
    while samples[-1].at < seconds and not load.failed:
        time.sleep(max(0.0, since + len(samples) * EVERY - time.monotonic()))
        samples.append(sample(daemon, since))
        if len(samples) % 6 == 1:
            print(samples[-1].line(), flush=True)
    return samples


def report(
    samples: list[Sample], warm_up: float, load: mix.Mix, faults: list[str]
) -> tuple[str, bool]:
    """The log of a run: one line a minute, the load, the verdict."""
    verdict = judge(samples, warm_up)
    first, last = samples[0], samples[-1]
    span = last.at - first.at
    rate = (last.events - first.events) / span
    own = (os.times().user + os.times().system) / span
    well = verdict.passed and not faults and not load.failed and rate >= 0.95 * load.rate
    lines = [
        *(each.line() for index, each in enumerate(samples) if index % 6 == 0),
        "",
        (
            "load, all of it through a real engine: "
            f"{', '.join(f'{kind} {n}' for kind, n in sorted(load.done.items()))}"
        ),
        f"{rate:.0f} events/s read by dockmend over {span:.0f} s, {last.heals - first.heals} heals",
        (
            f"cores: dockmend {(last.cpu - first.cpu) / span:.2f}, dockerd "
            f"{load.engine_cpu / span:.2f}, load {own:.2f}"
        ),
        *(f"the load failed: {each}" for each in load.failed),
        *(f"fault: {each[:500]}" for each in faults),
        f"{verdict}; warm-up {warm_up:.0f} s: {'passed' if well else 'FAILED'}",
    ]
    return "\n".join(lines), well


if __name__ == "__main__":
    sys.exit(main())
