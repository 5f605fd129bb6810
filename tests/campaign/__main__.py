"""Faults to a real engine, judged by an oracle: one seed, or (without --seed) the seeds that the
table lacks."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from tests.lab import EngineKind, sweep

from .plan import WEIGHTS
from .report import Tally
from .results import Recording, Results, UnusableError, clean_commit, markdown
from .run import campaign
from .series import AT_ONCE, EACH, Series, starter
from .shrink import shortest

FAULTS, MINUTES = 200, 10.0
"""Of one seed, if nothing is said."""
WANTED = 5000
"""Faults of a series."""


def main() -> int:
    """Exit 0 if every round was well, 1 if not, 2 if nothing could be run."""
    parser = _parser()
    given = parser.parse_args()
    if given.record and (given.seed is None or given.faults is None):
        parser.error("--record is for one seed: it needs --seed and --faults")
    # as Ctrl-C: the engines are taken away
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    EngineKind(given.engine).choose()
    try:
        if given.table:
            print(markdown(_results(given).rows()))
            return 0
        sweep()
        if given.seed is None:
            return _series(given)
        return _recorded(given) if given.record else _single(given, parser)
    except UnusableError as error:
        print(f"campaign: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("campaign: ended by hand; what has finished is in the table", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make campaign", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed alone, and no table")
    parser.add_argument(
        "--faults",
        type=int,
        help=f"of the seed (default {FAULTS}), or that the table is to hold (default {WANTED})",
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="of one seed: no round begins after them"
    )
    parser.add_argument(
        "--engine", choices=[str(kind) for kind in EngineKind], default=str(EngineKind.chosen())
    )
    parser.add_argument(
        "--table", action="store_true", help="print the table of the commit that is checked out"
    )
    parser.add_argument("--commit", help="print the table of this one instead")
    parser.add_argument(
        "--at-once", type=int, default=AT_ONCE, help="seeds of a series that run side by side"
    )
    parser.add_argument("--each", type=int, default=EACH, help="faults of each seed of a series")
    parser.add_argument(
        "--record", action="store_true", help="one seed of a series: to its end, and into the table"
    )
    parser.add_argument("--live-restore", choices=("on", "off", "seed"), default="seed")
    parser.add_argument("--keep-going", action="store_true", help="go on after a round that failed")
    parser.add_argument("--only", default="", metavar="KIND,…", help="faults of these kinds alone")
    parser.add_argument(
        "--shrink", type=int, default=None, metavar="RUNS",
        help="how often to look for a shorter prefix that fails (default 2; 0 with --keep-going)",
    )  # fmt: skip
    return parser


def _results(given: argparse.Namespace) -> Results:
    return Results(given.commit or clean_commit(), EngineKind(given.engine))


def _series(given: argparse.Namespace) -> int:
    """Runs what the table lacks, and prints it."""
    results = _results(given)
    series = Series(results, starter(results, given.each), clean_commit)
    well = series.run(given.faults or WANTED, each=given.each, at_once=given.at_once)
    print(markdown(results.rows()))
    return 0 if well else 1


def _recorded(given: argparse.Namespace) -> int:
    """One seed of a series. It has no row unless all of its faults were done."""
    with Recording(_results(given), given.seed) as recording:
        tally = campaign(given.seed, given.faults, float("inf"), keep_going=True, say=recording.say)
        recording.say(tally.table())
        if tally.done < given.faults:
            return 1
        recording.finish(tally)
    return 1 if tally.findings else 0


def _single(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    live = {"on": True, "off": False, "seed": None}[given.live_restore]
    only = tuple(filter(None, given.only.split(",")))
    if unknown := set(only) - set(WEIGHTS):
        parser.error(
            f"no such fault: {', '.join(sorted(unknown))} (there are {', '.join(WEIGHTS)})"
        )

    def run(faults: int, *, keep_going: bool = False, say: Callable[[str], None] = print) -> Tally:
        return campaign(
            given.seed, faults, given.minutes * 60, live_restore=live, keep_going=keep_going,
            only=only, say=say
        )  # fmt: skip

    tally = run(given.faults or FAULTS, keep_going=given.keep_going)
    print(tally.table(), flush=True)
    if not tally.findings:
        return 0
    runs = given.shrink if given.shrink is not None else 0 if given.keep_going else 2
    shorter = shortest(
        tally.failed_at, lambda faults: run(faults, say=lambda line: None).failed_at, runs
    )
    arguments = f' ARGS="--only {given.only}"' if only else ""
    print(
        f"FAILED: make campaign SEED={given.seed} FAULTS={shorter}{arguments}   # the shortest "
        "prefix known to fail"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
