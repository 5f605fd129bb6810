"""`python -m tests.campaign --seed 7 --faults 500 --minutes 8`: faults to a real engine, judged by an oracle."""

from __future__ import annotations

import argparse
import sys

from tests.lab import sweep

from .run import campaign


def main() -> int:
    """Exit 0 where every round was well, else 1."""
    parser = argparse.ArgumentParser(prog="make campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--live-restore", choices=("on", "off", "seed"), default="seed")
    parser.add_argument("--keep-going", action="store_true", help="go on after a round that failed")
    parser.add_argument("--shrink", type=int, default=0, metavar="RUNS", help="look for a shorter prefix that fails")
    given = parser.parse_args()
    sweep()
    live = {"on": True, "off": False, "seed": None}[given.live_restore]
    tally = campaign(given.seed, given.faults, given.minutes * 60, live_restore=live, keep_going=given.keep_going)
    print(tally.table(), flush=True)
    if not tally.findings:
        return 0
    shortest = tally.done if not given.keep_going else given.faults
    low = 0
    for _ in range(given.shrink):
        middle = (low + shortest) // 2
        if middle in {low, shortest}:
            break
        again = campaign(given.seed, middle, given.minutes * 60, live_restore=live, say=lambda line: None)
        low, shortest = (low, again.done) if again.findings else (middle, shortest)
    print(f"FAILED: make campaign SEED={given.seed} FAULTS={shortest}   # the shortest prefix known to fail")
    return 1


if __name__ == "__main__":
    sys.exit(main())
