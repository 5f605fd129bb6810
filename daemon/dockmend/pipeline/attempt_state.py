"""Where the attempt of each open incident is: the one place that holds it.

    IDLE ──at_step──→ STEPS ──all_done──→ MADE
      ↑                 │                   │
      └──forget_steps───┴───────────────────┘

IDLE: no attempt is under way, or nothing of it was done. STEPS: its steps are run, and so many are
done; if it is interrupted, it goes on there. MADE: every step is done, `finally` too, and only the
verification is to come: whatever interrupts that, the steps are not run again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from dockmend.pipeline.step_runner import StepFailed

ALL_STEPS = 1 << 20
"""More steps than a rule can have."""


class AttemptStage(Enum):
    """How far an attempt is, see the module."""

    IDLE = "idle"
    STEPS = "steps"
    MADE = "made"


@dataclass(slots=True)
class AttemptState:
    """The last attempt of one incident. `steps_done`: of `then` and, after those, of `finally`;
    `failure`: of `then`, while `finally` may still have to wait; `began_at`: by dockmend's clock, None
    if it has not begun; `finally_owed`: a step was cut short, so `finally` is to be run even if the
    attempt does not go on; `superseded_by`: why the incident is to give way, "" if it is not."""

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

    def at_step(self, done: int) -> None:
        """So many steps are done, and the next one is about to be."""
        self.stage, self.steps_done = AttemptStage.STEPS, done

    def one_more(self) -> None:
        """Another step is done."""
        self.at_step(self.steps_done + 1)

    def all_done(self) -> None:
        """Only the verification is still to come."""
        self.stage, self.steps_done = AttemptStage.MADE, 0

    def forget_steps(self) -> None:
        """The next attempt, if there is one, begins with its first step."""
        self.stage, self.steps_done = AttemptStage.IDLE, 0

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
