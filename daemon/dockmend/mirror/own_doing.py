"""dockmend's own doing, as the mirror is told of it: the events that it causes are its echoes and
nobody's trouble."""

from __future__ import annotations

import math

from dockmend.mirror import conditions
from dockmend.mirror.container_record import ContainerRecord
from dockmend.mirror.deadlines import Deadlines
from dockmend.mirror.exit_cause import ContainerRun, cause_of
from dockmend.mirror.expectations import GRACE, Expectation
from dockmend.mirror.mirror_queries import ANNOUNCED, MirrorQueries
from dockmend.model import Change, Container

SPANS_KEPT, ACTED_KEPT = 8, 4096
"""Actions that were cut short as they ended a container: how many are remembered of each, and of
how many containers.
"""


class OwnDoing(MirrorQueries, Deadlines):
    """`wanted` holds ids of containers to inspect, `changed` those whose last known state is to be
    journalled."""

    def __init__(self) -> None:
        MirrorQueries.__init__(self)
        Deadlines.__init__(self)
        self.wanted: set[str] = set()
        self.changed: set[str] = set()
        # since, until, the last begin of a run
        self._acted: dict[str, list[tuple[float, float, float]]] = {}
        # when the engine was asked for a run that has not begun yet (wall seconds)
        self._asked: dict[str, float] = {}
        # Of containers that dockmend makes and the mirror has not heard of yet.
        self._coming: dict[str, Expectation] = {}

    def expect(self, container_id: str, action: str) -> Expectation | None:
        """Opens the echo of an action about to be taken; None where the container is not known."""
        found = self.entries.get(container_id)
        if found is None:
            return None
        earlier = found.echo
        if earlier is not None:
            earlier.earlier = None
        found.echo = Expectation(action, earlier=earlier)
        return found.echo

    def expect_made(self, container_id: str, action: str, *, on_trial: bool = False) -> Expectation:
        """The same for a container that the action has only just made; `on_trial`: and that it may
        take away again."""
        echo = self.expect(container_id, action)
        if echo is None:
            echo = self._coming[container_id] = Expectation(action)
        echo.on_trial = on_trial
        return echo

    def expect_taken_away(self, container_id: str, action: str) -> Expectation:
        """The action takes away what it had made: an end on trial, which nobody was told of, was
        its doing too."""
        found = self.entries.get(container_id)
        trial = found.echo if found is not None else None
        echo = self.expect_made(container_id, action)
        if found is not None and trial is not None and trial.on_trial:
            run = found.kept.run
            if run.over and not run.told:
                run.by = "dockmend"
                self.changed.add(container_id)
        return echo

    def asks_to_stop(
        self, container_id: str, action_id: str, begun: float | None = None, *, again: bool = False,
        patience: float = 0.0,
    ) -> None:  # fmt: skip
        """An action of dockmend's asks for the stop of the run in hand; `begun`: only if it is the
        run of that time; `again`: it begins the next one too; `patience`: the stop timeout, 0.0
        where it is not known."""
        found = self.entries.get(container_id)
        if found is None or action_id in found.kept.run.calls:
            return
        run = found.kept.run
        if begun is None or abs(run.begun - begun) <= ANNOUNCED:
            run.patience = min(patience, run.patience) if run.calls else patience
            run.calls = [*run.calls[-7:], action_id]
            if again:
                run.renewals = [*run.renewals[-7:], action_id]
            self.changed.add(container_id)

    def found_down(self, container_id: str, action_id: str) -> None:
        """A stop that dockmend asked for found the run in hand over already: it ended nothing."""
        found = self.entries.get(container_id)
        if found is None or action_id not in found.kept.run.calls:
            return
        run = found.kept.run
        run.calls = [each for each in run.calls if each != action_id]
        run.forestalled = True
        if found.echo is not None:
            found.echo.asked = False
        if run.by == "dockmend" and not run.calls and not run.signals:
            run.by = ""
        self.changed.add(container_id)

    def was_to_stop(self, container_id: str) -> bool:
        """Whether dockmend asked for the stop of the run in hand, or was about to when a person was
        quicker."""
        found = self.entries.get(container_id)
        return found is not None and bool(found.kept.run.calls or found.kept.run.forestalled)

    def undoes_a_stop(self, seen: Container, since: float) -> bool:
        """Whether a run that another program began undid a person's stop of after `since` (wall
        seconds): then one is owed, as for a run of dockmend's own."""
        found = self.entries.get(seen.id)
        before = found.previous if found is not None else None
        if found is None or before is None or not seen.running or found.kept.run.over:
            return False
        if not before.over or before.died_at < since or before.by or before.restarted:
            return False
        if cause_of(before, found.container, self.engine_start, blind=True) != "stopped":
            return False
        found.kept.run.owed = True
        self.changed.add(seen.id)
        return True

    def signals(self, container_id: str) -> None:
        """dockmend itself signals the run in hand, or a call of its that was to stop it failed
        halfway."""
        found = self.entries.get(container_id)
        if found is not None and not found.kept.run.signals:
            found.kept.run.signals = True
            self.changed.add(container_id)

    def acted(self, container_id: str, since: float, until: float, begun: float = math.inf) -> None:
        """Between these times (wall seconds) dockmend itself was ending its run of `begun`: what
        died then, died by that, but for a run that began later (a restart's own).

        Told where an action was cut short, and at a start, before anything is heard: its echo does
        not last.
        """
        spans = self._acted.pop(container_id, [])  # the newest last
        self._acted[container_id] = [*spans[1 - SPANS_KEPT :], (since, until, begun + ANNOUNCED)]
        if len(self._acted) > ACTED_KEPT:
            del self._acted[next(iter(self._acted))]
        found = self.entries.get(container_id)
        if found is None or not found.kept.run.over or found.kept.run.told:
            return  # why it ended is told already
        found.kept.run.handled = self.handled(container_id, found.kept.run)
        if self.ended_by_dockmend(container_id, found.kept.run, found.kept.run.died_at):
            found.kept.run.by = "dockmend"
            self.changed.add(container_id)

    def ended_by_dockmend(self, container_id: str, run: ContainerRun, at: float) -> bool:
        """Whether a run's death at this time is that of one of dockmend's own actions of before its
        start."""
        spans = self._acted.get(container_id, ())
        return any(since <= at <= until and run.begun <= begun for since, until, begun in spans)

    def handled(self, container_id: str, run: ContainerRun) -> bool:
        """Whether dockmend asked for the end of a run, which may have ended by something else."""
        spans = self._acted.get(container_id, ())
        return any(
            since <= run.died_at and run.begun <= (until if math.isinf(begun) else begun)
            for since, until, begun in spans
        )

    def echoes(self, container_id: str, action: str, now: float) -> bool:
        """Whether such an event of a container can be dockmend's own doing now."""
        found = self.entries.get(container_id)
        return found is not None and _taken_by(found.echo, action, now) is not None

    def trial_over(self, container_id: str) -> None:
        """What dockmend made has its predecessor's place, or is dockmend's no more: an end that was
        heard of meanwhile is told, with its own cause."""
        if (coming := self._coming.get(container_id)) is not None:
            coming.on_trial = False
        found = self.entries.get(container_id)
        if found is not None and found.echo is not None:
            found.echo.on_trial = False

    def expected(self, container_id: str, now: float) -> None:
        """The outcome is known: what is still on its way may take `GRACE` seconds."""
        self._coming.pop(container_id, None)
        found = self.entries.get(container_id)
        if found is None:  # gone before it was known: nothing comes of it any more
            self._asked.pop(container_id, None)
        if found is not None and found.echo is not None:
            found.echo.until = now + GRACE
            self.wanted.add(container_id)

    def asks(self, container_id: str, at: float | None) -> None:
        """The engine is being asked for a run since then (wall seconds); None where nothing comes
        of that any more."""
        if at is None:
            self._asked.pop(container_id, None)
        else:
            self._asked[container_id] = at

    def look_again(self, container_id: str, at: float) -> None:
        """Has a container inspected at a later time (wall seconds)."""

        def look(now: float) -> list[Change]:
            if container_id in self.entries:
                self.wanted.add(container_id)
            return []

        self.later(at, look)

    def put_down(self, container_id: str) -> None:
        """An attempt is over that stopped a container and was not to start it again: that is on
        purpose.

        Its end may still have to be heard of; if it was started again, that is another run.
        """
        found = self.entries.get(container_id)
        run = found.kept.run if found is not None else None
        if run is not None and (run.calls or run.signals) and not run.put_down:
            run.put_down = True
            self.changed.add(container_id)

    def stopped_by_person(self, container_id: str) -> None:
        """dockmend carried out a person's stop that the engine had lost: the end is that
        person's."""
        found = self.entries.get(container_id)
        if found is not None:
            found.kept.run.stopped, found.kept.run.by, found.kept.run.told = True, "", "stopped"
            self.changed.add(container_id)

    def reconnected(self, container_id: str, network: str, now: float) -> None:
        """dockmend put a network back: a disconnect soon after is a person's will."""
        found = self.entries.get(container_id)
        if found is not None:
            found.kept.mended[network] = now
            self.changed.add(container_id)

    def left(self, container_id: str, network: str) -> None:
        """dockmend takes (or took) a container out of a network because a rule says so: that is no
        loss."""
        found = self.entries.get(container_id)
        if found is not None:
            conditions.forget_network(found, network)
            if found.echo is not None:
                found.echo.leaves.add(network)
            self.changed.add(container_id)

    def asked_at(self, found: ContainerRecord, run: ContainerRun, now: float) -> float:
        """When dockmend asked for a run that begins, by the engine's clock; 0.0 where it did not.

        By how long that is ago, as the engine's clock may be another than ours; and never before
        the run before it was over, as the engine does one after the other.
        """
        since, over = self._asked.pop(found.container.id, None), found.kept.run.died_at
        if since is None:
            return 0.0
        # Where a look told of both, the end before it is put to when it began.
        return min(
            run.begun, max(since, run.begun - (now - since), over if over < run.begun else 0.0)
        )

    def echoed(self, found: ContainerRecord, action: str, now: float) -> bool:
        """Whether an event is dockmend's own doing; if so, its expectation notes that it came."""
        echo = found.echo
        taken = _taken_by(echo, action, now)
        if taken is not None:
            taken.note(action)
        elif echo is not None and not echo.covers(now) and echo.until is not None:
            found.echo = None
        return taken is not None


def _taken_by(echo: Expectation | None, action: str, now: float) -> Expectation | None:
    """Whose event this is: of the step in hand, or of the one before, as far as it can be."""
    if echo is None:
        return None
    earlier = echo.earlier
    if action == "die" and "start" in echo.seen:
        earlier = None  # the run that the step in hand began is none that the one before ends
    for each in (echo, earlier) if echo.ends_a_run else (earlier, echo):
        if each is not None and each.covers(now) and each.takes(action):
            return each
    return None
