"""Why this dockmend does not act, or not by labels, if so: one account for `status`, `/healthz` and
the metrics.

A dockmend that only watches looks as well as one that heals, so each reason has a name that an
alert can test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dockmend.observer import NotActing
from dockmend.rules.label_rules import HEAL

if TYPE_CHECKING:
    from dockmend.app.daemon import Daemon

NAMED = 3
"""Other healers that are named; of the rest the number."""


def not_acting(daemon: Daemon) -> dict[NotActing, str]:
    """Each reason that holds now, with a sentence; empty if this dockmend acts by all its rules.

    That the engine is away is not among them: then there is nothing to act on, and
    `dockmend_engine_up` says so.
    """
    found: dict[NotActing, str] = {}
    if daemon.turn.why_not:
        found[NotActing.OTHER] = daemon.turn.why_not
    elif daemon.settings.dry_run:
        found[NotActing.DRY_RUN] = "this is a dry run: it decides and records, and touches nothing"
    if daemon.rules.observes:
        found[NotActing.RULES] = daemon.rules.degraded or "there are no rules that may be used"
    if not daemon.journal.healthy:
        why = daemon.degraded.get("journal", "the journal cannot be written")
        found[NotActing.JOURNAL] = f"nothing is done that cannot be written down: {why}"
    if any(each.rule is None and each.target is None for each in daemon.pauses.in_force()):
        found[NotActing.PAUSED] = "everything is paused (`dockmend resume`)"
    if daemon.rules.healers and daemon.rules.current.by_name(HEAL) is not None:
        others = ", ".join(daemon.rules.healers[:NAMED])
        if (more := len(daemon.rules.healers) - NAMED) > 0:
            others += f" and {more} more"
        found[NotActing.HEALER] = (
            f"label:heal only says what it would do while another healer runs here: {others}"
        )
    return found
