"""How far the attempt of each open incident is: the one place that holds it.

IDLE: no attempt is under way, or nothing of it was done. STEPS: its steps are run, and so many are
done; if it is interrupted, it goes on there. MADE: every step is done, `finally` too, and only the
verification is to come: whatever interrupts that, the steps are not run again.

The journal keeps the stage with each change of the incident, so a start loads it and goes on. How
many steps are done is told by the records of the steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dockmend.journal.records import AttemptStage, Incident
from dockmend.pipeline.step_runner import StepFailed

ALL_STEPS = 1 << 20
"""More steps than a rule can have."""


TRANSITIONS: tuple[tuple[AttemptStage, str, AttemptStage, str], ...] = (
    (AttemptStage.IDLE, "at_step", AttemptStage.STEPS, "an attempt begins"),
    (AttemptStage.IDLE, "all_done", AttemptStage.MADE, "the trouble went after an attempt"),
    (AttemptStage.IDLE, "forget_steps", AttemptStage.IDLE, ""),
    (AttemptStage.STEPS, "at_step", AttemptStage.STEPS, "a step is done"),
    (AttemptStage.STEPS, "all_done", AttemptStage.MADE, "every step is done"),
    (AttemptStage.STEPS, "forget_steps", AttemptStage.IDLE, "it failed, or does not go on"),
    (AttemptStage.MADE, "at_step", AttemptStage.STEPS, "a start found a step that was cut short"),
    (AttemptStage.MADE, "all_done", AttemptStage.MADE, ""),
    (
        AttemptStage.MADE,
        "forget_steps",
        AttemptStage.IDLE,
        "verified: it is well, or it did not help",
    ),
)
"""(before, what happens, after, when that is). What changes nothing has no text, and is not
drawn."""

_NEXT = {(before, event): after for before, event, after, _ in TRANSITIONS}


def diagram() -> str:
    """The stages as a Mermaid diagram, for docs/architecture.md."""
    edges = [
        f"    {before.name} --> {after.name}: {when}"
        for before, _, after, when in TRANSITIONS
        if when
    ]
    return "\n".join(("stateDiagram-v2", "    [*] --> IDLE", *edges))


@dataclass(slots=True)
class AttemptState:
    """The last attempt of one incident. `steps_done`: of `then` and, after those, of `finally`;
    `failure`: of `then`, while `finally` may still have to wait; `began_at`: by dockmend's clock,
    None if it has not begun; `finally_owed`: a step was cut short, so `finally` is to be run even
    if the attempt does not go on; `superseded_by`: why the incident is to give way, "" if it is
    not."""

    stage: AttemptStage = AttemptStage.IDLE
    steps_done: int = 0
    failure: StepFailed | None = None
    began_at: float | None = None
    finally_owed: bool = False
    superseded_by: str = ""

    @property
    def begun(self) -> bool:
        """Whether steps of it are run, or were."""
        return self.stage is not AttemptStage.IDLE

    @property
    def midway(self) -> bool:
        """Whether some of its steps are done and others are still to come."""
        return self.stage is AttemptStage.STEPS and self.steps_done > 0

    @property
    def made(self) -> bool:
        """Whether only its verification is to come."""
        return self.stage is AttemptStage.MADE

    @property
    def goes_on(self) -> bool:
        """Whether it would go on, and is not begun anew."""
        return self.midway or self.made

    @property
    def behind(self) -> int:
        """How many steps are not run again; ALL_STEPS if the attempt is made."""
        return ALL_STEPS if self.made else self.steps_done

    @property
    def stored(self) -> dict[str, Any]:
        """What the journal keeps of it with the incident. An attempt of which no step is done
        begins anew."""
        return {
            "stage": self.stage if self.goes_on else AttemptStage.IDLE,
            "finally_owed": self.finally_owed,
            "superseded_by": self.superseded_by,
        }

    def load(self, incident: Incident) -> None:
        """As the journal kept it."""
        self.finally_owed, self.superseded_by = incident.finally_owed, incident.superseded_by
        if incident.stage is AttemptStage.MADE:
            self.all_done()

    def at_step(self, done: int) -> None:
        """So many steps are done, and the next one is about to be."""
        self._go("at_step", done)

    def one_more(self) -> None:
        """Another step is done."""
        self.at_step(self.steps_done + 1)

    def all_done(self) -> None:
        """Only the verification is still to come."""
        self._go("all_done")

    def forget_steps(self) -> None:
        """The next attempt, if there is one, begins with its first step."""
        self._go("forget_steps")

    def _go(self, event: str, done: int = 0) -> None:
        self.stage, self.steps_done = _NEXT[self.stage, event], done

    def take_failure(self) -> StepFailed | None:
        """The failure of `then`; it is not kept."""
        failure, self.failure = self.failure, None
        return failure


@dataclass(slots=True)
class AttemptStates:
    """One state for each incident that had an attempt, or is to give way."""

    _of: dict[str, AttemptState] = field(default_factory=dict)

    def of(self, incident_id: str) -> AttemptState:
        """The state of an incident. One that nothing is known of is idle, and is remembered."""
        return self._of.setdefault(incident_id, AttemptState())

    def get(self, incident_id: str) -> AttemptState:
        """The same to be read only: what is not remembered is idle."""
        return self._of.get(incident_id) or AttemptState()

    def drop(self, incident_id: str) -> None:
        """The incident is closed."""
        self._of.pop(incident_id, None)

    def known(self) -> Iterable[str]:
        """Ids of the incidents that a state is remembered of."""
        return self._of.keys()
