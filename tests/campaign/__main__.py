"""`python -m tests.campaign --seed 7 --faults 500 --minutes 8`: faults to a real engine, judged by an oracle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.lab import sweep

from .plan import WEIGHTS
from .report import Tally
from .run import campaign
from .shrink import shortest


def main() -> int:
    """Exit 0 where every round was well, else 1."""
    parser = argparse.ArgumentParser(prog="make campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--live-restore", choices=("on", "off", "seed"), default="seed")
    parser.add_argument("--keep-going", action="store_true", help="go on after a round that failed")
    parser.add_argument("--only", default="", metavar="KIND,…", help="faults of these kinds alone")
    parser.add_argument(
        "--shrink", type=int, default=None, metavar="RUNS",
        help="how often to look for a shorter prefix that fails (default 2; 0 with --keep-going)",
    )  # fmt: skip
    given = parser.parse_args()
    sweep()
    live = {"on": True, "off": False, "seed": None}[given.live_restore]
    only = tuple(filter(None, given.only.split(",")))
    if unknown := set(only) - set(WEIGHTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))} (there are {', '.join(WEIGHTS)})")

    def run(faults: int, *, keep_going: bool = False, say: Callable[[str], None] = print) -> Tally:
        return campaign(
            given.seed, faults, given.minutes * 60, live_restore=live, keep_going=keep_going, only=only, say=say
        )  # fmt: skip

    tally = run(given.faults, keep_going=given.keep_going)
    print(tally.table(), flush=True)
    if not tally.findings:
        return 0
    runs = given.shrink if given.shrink is not None else 0 if given.keep_going else 2
    shorter = shortest(tally.failed_at, lambda faults: run(faults, say=lambda line: None).failed_at, runs)
    arguments = f' ARGS="--only {given.only}"' if only else ""
    print(f"FAILED: make campaign SEED={given.seed} FAULTS={shorter}{arguments}   # the shortest prefix known to fail")
    return 1


if __name__ == "__main__":
    sys.exit(main())
