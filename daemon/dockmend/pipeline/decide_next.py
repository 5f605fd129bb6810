"""What comes next for an open incident.

Pure: from what is known of an incident to one answer. The reconciler gathers what is known, asks,
carries the answer out and asks again, until the incident waits or is closed:

    decide_next         before an attempt: look, run the steps, verify, escalate or close
    after_gate          the gate does not let the attempt begin now: wait, give up or close
    after_verification  it is known whether the attempt worked: close, wait or try again
"""

from __future__ import annotations

from dataclasses import dataclass

from dockmend.decide import Suppress, WaitUntil
from dockmend.journal.records import Incident, Outcome
from dockmend.pipeline.attempt_state import AttemptState
from dockmend.pipeline.verification import VerifyResult, left_on_purpose

# What the reconciler knows -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """What a look at an incident's object showed.

    `resumed`: an attempt that was cut short would go on where it was, and is not begun anew;
    `gone`: the object is not there, and the trouble is not that it is missing; `over`: the trouble
    does not stand any more; `disconnected`: a person took it out of the network that the incident
    is about; `down`: it is a container that does not run; `stopped`: a person stopped it;
    `forbidden`: why the rule's steps may not be run on it as it is; `regrouped`: why it is another
    group's now, "" if it is not.
    """

    resumed: bool = False
    gone: bool = False
    over: bool = False
    disconnected: bool = False
    down: bool = False
    stopped: bool = False
    forbidden: Suppress | None = None
    regrouped: str = ""

    @property
    def blocked(self) -> bool:
        """Whether no step may be run, nor an attempt that was cut short go on."""
        return self.gone or self.over or self.forbidden is not None


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of an open incident.

    `out_of_force`: why its rule is not in force, "" if it is; `live`: None if its object was not
    looked at yet; `cut`: an attempt was cut short, and its `finally` was just run.
    """

    incident: Incident
    attempt: AttemptState
    out_of_force: str = ""
    live: LiveFacts | None = None
    cut: bool = False


# What it is to do --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """Inspect the incident's object."""


@dataclass(frozen=True, slots=True)
class RunFinally:
    """Run `finally` of an attempt that was cut short and does not go on."""


@dataclass(frozen=True, slots=True)
class RunSteps:
    """Ask the gate, then run the steps. `resumed`: from where they were cut short."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class AwaitVerification:
    """Wait until it is known whether the attempt worked."""


@dataclass(frozen=True, slots=True)
class Escalate:
    """Go on with the rule's `escalate`. `reason`: why the attempts did not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No attempt is left: open the breaker, then escalate."""

    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """Let it wait, with a timer."""

    wait: WaitUntil


@dataclass(frozen=True, slots=True)
class Close:
    """Close the incident. `code`: for metrics; `decided`: it is counted as a decision not to
    act."""

    outcome: Outcome
    reason: str
    code: str = ""
    decided: bool = False


@dataclass(frozen=True, slots=True)
class GiveWay:
    """Close the incident: it was superseded, or dockmend ends and it stays open."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt worked."""

    reason: str


@dataclass(frozen=True, slots=True)
class GuestsOut:
    """Its object is well, and not everything that lives in its namespaces is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt did not work."""

    reason: str


@dataclass(frozen=True, slots=True)
class AwaitUnpause:
    """A person paused it: nobody can tell before it goes on."""


BeforeAttempt = Look | RunFinally | RunSteps | AwaitVerification | Escalate | GiveWay | Close
NotNow = Park | GiveUp | Close
AfterVerification = Succeeded | GuestsOut | Close | AwaitUnpause | GiveWay | Failed

_CLOSES: dict[str, Outcome] = {
    "dry_run": "dry_run", "owner": "failed", "unknown_owner": "failed",
    "owner_stopped": "on_purpose",
}  # fmt: skip
"""Outcomes of an incident that is not treated, by the code of the reason; else `suppressed`."""


# The decisions -----------------------------------------------------------------------------------


def decide_next(now: Situation) -> BeforeAttempt:
    """What to do for an incident before an attempt of it."""
    incident, attempt = now.incident, now.attempt
    if now.out_of_force:
        return Close("interrupted", now.out_of_force)
    if incident.rung is not None:
        return Escalate(incident.reason)
    if attempt.superseded_by and not attempt.goes_on:
        # A step was cut short: what `finally` puts right may be half done.
        return RunFinally() if attempt.finally_owed else GiveWay()
    if incident.state == "verifying":
        return AwaitVerification()
    if now.live is None:
        return Look()
    if now.live.blocked and (attempt.goes_on or attempt.finally_owed):
        return RunFinally()
    return _by_live(incident, now.live, now.cut)


def _by_live(incident: Incident, live: LiveFacts, cut: bool) -> BeforeAttempt:
    if live.gone and (live.resumed or cut or incident.actor):
        return Close("interrupted", "it is gone")
    if live.gone:
        return Close("recovered", "recovered on its own: it is gone")
    if live.over:
        return _of_no_trouble(incident, live)
    if live.forbidden is not None:
        return Close("suppressed", live.forbidden.reason, live.forbidden.code, decided=True)
    return RunSteps(live.resumed)


def _of_no_trouble(incident: Incident, live: LiveFacts) -> BeforeAttempt:
    """The trouble went. If something was tried, it may be well, and that is verified."""
    if live.disconnected:
        return Close("on_purpose", left_on_purpose(incident.network or ""), "on_purpose")
    if live.regrouped:
        return Close("interrupted", live.regrouped)
    if not incident.attempts:
        by = "with what was treated beside it" if incident.waiting_for == "owner" else "on its own"
        return Close("recovered", f"recovered {by}")
    if live.down and live.stopped:
        return Close("on_purpose", "stopped by a person", "stopped")
    if live.down:
        return Close("interrupted", "it ended again, and that is a trouble of its own")
    return AwaitVerification()


def after_gate(incident: Incident, verdict: WaitUntil | Suppress) -> NotNow:
    """What becomes of an incident of which the gate lets no attempt begin now."""
    if isinstance(verdict, WaitUntil):
        return Park(verdict)
    if verdict.code == "attempts" and not incident.dry_run:
        return GiveUp(f"{verdict.reason}, and {incident.note}" if incident.note else verdict.reason)
    return Close(
        _CLOSES.get(verdict.code, "suppressed"), verdict.reason, verdict.code, decided=True
    )


def after_verification(verified: VerifyResult, guests_left_out: str) -> AfterVerification:
    """What follows from a verification. `guests_left_out`: why guests were not brought back, or
    ""."""
    match verified.result:
        case "guests":
            return GuestsOut(guests_left_out or verified.reason)
        case "healed":
            return GuestsOut(guests_left_out) if guests_left_out else Succeeded(verified.reason)
        case "stopped" | "on_purpose":
            return Close("on_purpose", verified.reason, verified.result)
        case "gone":
            return Close("interrupted", verified.reason)
        case "paused":
            return AwaitUnpause()
        case "cut":
            return GiveWay()
        case "failed":
            return Failed(verified.reason)
