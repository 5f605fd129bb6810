"""One campaign: rounds of faults, a judgement after each, and a tally."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable

from tests.lab import LabError

from . import plan
from .driver import NOTHING, Driver
from .oracle import Oracle
from .plan import TROUBLES, Round
from .report import Tally
from .verdict import Verdict

LOG_SHOWN = 20_000
"""Characters of dockmend's log that are shown with a finding."""


def campaign(
    seed: int,
    faults: int,
    seconds: float,
    *,
    live_restore: bool | None = None,
    keep_going: bool = False,
    only: tuple[str, ...] = (),
    say: Callable[[str], None] = print,
) -> Tally:
    """Runs until the faults are done, the time is up, or (unless `keep_going`) a round failed."""
    live = random.Random(f"engine {seed}").random() < 0.5 if live_restore is None else live_restore
    tally = Tally(seed, live)
    begun = time.monotonic()
    with Driver(live) as driver:
        oracle = Oracle(driver)
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends a campaign, with its table
            for each in plan.rounds(seed, faults, only):
                verdict = _round(driver, oracle, each, tally, say)
                tally.seconds = time.monotonic() - begun
                if verdict.findings:
                    tally.failed_at = tally.failed_at or tally.done
                    _tell_logs(driver, say)
                if verdict.findings and not keep_going:
                    break
                if tally.seconds > seconds:
                    break
        tally.heal_times = oracle.heal_times
        tally.calls = len(driver.relay.changes())
        tally.process = driver.size()
    return tally


def _round(
    driver: Driver, oracle: Oracle, each: Round, tally: Tally, say: Callable[[str], None]
) -> Verdict:
    tally.rounds += 1
    begun = time.monotonic()
    first = len(driver.ledger.acts)
    for fault in each.faults:
        act = driver.do(fault)
        tally.done += 1
        counter = (
            tally.faults
            if act.result == "done"
            else tally.idle
            if act.result == NOTHING
            else tally.failed
        )
        counter[act.kind] += 1
        say(
            f"{act.begin:.3f} #{act.number} {act.kind} {act.slot} {act.container[:12]} {act.result}"
        )
    chaos = time.monotonic() - begun
    verdict = Verdict()
    try:
        driver.finish_chaos()
        driver.daemon.await_ready(60)
        verdict = oracle.judge()
    except (AssertionError, LabError) as error:
        verdict.found("missed", f"dockmend or the engine is not back: {error}"[:2000])
    for act in driver.ledger.acts[first:]:
        if act.kind in TROUBLES and act.result == "done":
            tally.outcomes[act.kind, oracle.outcome_of(act, verdict)] += 1
    tally.findings += verdict.findings
    tally.excused.update(excuse.rpartition(": ")[2] for excuse in verdict.excused)
    _tell(verdict, say)
    spent = f"{chaos:.1f} s of faults, {time.monotonic() - begun - chaos:.1f} s until quiet"
    say(
        f"--- {time.time():.3f} round {tally.rounds}, {tally.done} faults, {spent}: "
        f"{len(verdict.findings)} findings"
    )
    if each.restore:
        driver.restore()
    return verdict


def _tell_logs(driver: Driver, say: Callable[[str], None]) -> None:
    """Who is asked why later has no other record of it: the folders go with the engine."""
    say(f"dockmend's log ends with:\n{driver.daemon.text[-LOG_SHOWN:]}")
    if driver.ledger.second_lives:
        say(f"the second dockmend's log ends with:\n{driver.second.text[-LOG_SHOWN:]}")
    if not driver.engine.running:
        say(f"dockerd has ended, and its log ends with:\n{driver.engine.log[-LOG_SHOWN:]}")


def _tell(verdict: Verdict, say: Callable[[str], None]) -> None:
    if verdict.healed:
        say(f"    {'; '.join(verdict.healed)}")
    for slot, reason in verdict.suppressed.items():
        say(f"    {slot} {verdict.states[slot]}: {reason}")
    for excuse in verdict.excused:
        say(f"    excused: {excuse}")
    for left in verdict.aside:
        say(f"    left aside: {left}")
    for finding in verdict.findings:
        say(f"!!! {finding.kind}: {finding.text}")
