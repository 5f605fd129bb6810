"""Why a container ended: exactly one cause for each end (docs/rules.md, "Why a container ended").

The evidence is collected per run (from one start to the next), because a signal or a stop of an
earlier run explains nothing in a later one. Evidence is what the event stream told and, if it
told nothing, the engine's own record: did some call stop or signal this run? Such a call can be a
person's, dockmend's, a signal that ended nothing, or the engine's own at its start. So the record
counts as a person's stop only if the other three are excluded.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import replace

from dockmend.model import Cause, Container, Origin

STOP_WAIT = 0.2
"""Seconds to wait after a `die` for the `stop` that may follow it without any `kill`."""
UNHEARD_WAIT = 1.0
"""Seconds to wait for the `die` itself, and for who did it, where a look was ahead of the
stream."""
KILL_SLACK = 5.0
"""Seconds beyond the stop timeout within which an end is still the work of a signal that asks for
one."""
KILL_EARLY = 0.5
"""Seconds before the end of its stop timeout in which the SIGKILL of a call may come."""
OOM_SLACK = 5.0
"""Seconds between an `oom` event and the end it explains: a child that was killed long ago explains
nothing."""
COMING_UP = 15.0
"""Seconds in which an engine that was killed has stopped what it finds running at its start (its
own limit)."""
BEGAN_SLACK = 0.2
"""Seconds by which the time of an engine's start, that of a folder which it makes then, may be too
late."""
EARLIER = 16
"""Starts of engines before the present one that are remembered."""
GOING_DOWN = 30.0
"""Seconds before its loss in which an engine may have been stopping its containers (its own limit
is 15), and around the end of the last of them that was seen."""
STARTS_AGAIN = 60.0
"""Seconds after its start in which an engine has begun to start again what ran before."""
HISTORY = "history"
"""What an end counts as that was over before dockmend knew the container."""

_REAL_TIME = re.compile(r"(?:SIG)?RT(MIN|MAX)([+-]\d{1,2})?")
"""Signals of the kernel that have no name of their own: systemd, as a container's first process,
ends by RTMIN+3."""
_ENDING = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


class ContainerRun(Struct, omit_defaults=True):
    """One run of a container and what was seen of it. Mutable: the mirror's own bookkeeping.

    All times are the engine's own, so that they compare however far its clock is from ours.
    """

    started_at: float = 0.0  # as inspect tells it; 0.0 until it was asked
    announced_at: float = 0.0  # of its `start` event; 0.0 while none was seen
    asked_at: float = 0.0  # when dockmend asked for it; 0.0 where it did not
    # (wall seconds, signal; 0 where labels hide it)
    kills: list[tuple[float, int]] = field(default_factory=list)
    stopped: bool = False  # a `stop` or `restart` event
    restarted: bool = False  # a `restart` event: one call stopped it and began the next run
    # when those were: several where calls overlapped
    restarts: list[float] = field(default_factory=list)
    # when its `stop` events were: several where calls overlapped
    stops: list[float] = field(default_factory=list)
    # ids of dockmend's own actions that asked for its stop
    calls: list[str] = field(default_factory=list)
    # those of them that begin the next run as well
    renewals: list[str] = field(default_factory=list)
    # the only one of them had not left before that time; 0.0 where that is not known
    called_at: float = 0.0
    patience: float = 0.0  # the shortest stop timeout of those calls; 0.0 where it is not known
    signals: bool = False  # signals of it may be dockmend's own beyond those that its calls explain
    # it ended, or was stopped, as dockmend was about to ask for something, and had not yet
    forestalled: bool = False
    own: bool = False  # dockmend's call began it
    # dockmend asked for this run, and that undid a person's stop of the run before
    owed: bool = False
    oom_at: float = 0.0  # the last `oom` event
    died_at: float = 0.0  # 0.0 while it runs
    code: int | None = None  # exit code, from inspect or an event no label could have forged
    by: Literal["", "engine", "dockmend"] = ""  # whose doing its end is known to be
    # by the engine's own record of its end, a call stopped or signalled it
    signalled: bool | None = None
    outlived: bool = False  # it was seen to run on after such a call
    put_down: bool = False  # dockmend ended it by a rule that leaves it down
    handled: bool = False  # dockmend itself asked for its end, which may have failed
    told: str = ""  # what its end was told as, once it was

    @property
    def begun(self) -> float:
        """Since when it runs; 0.0 where it never did."""
        return self.started_at or self.announced_at

    @property
    def over(self) -> bool:
        return self.died_at > 0.0

    def part(self, at: float) -> ContainerRun:
        """Takes out what was heard since `at`, when another run had begun of which nobody heard: it
        is that run's."""
        later = ContainerRun(started_at=at, kills=[each for each in self.kills if each[0] >= at])
        self.kills = [each for each in self.kills if each[0] < at]
        if self.oom_at >= at:
            later.oom_at, self.oom_at = self.oom_at, 0.0
        if self.died_at >= at:
            later.died_at, later.code, later.by, later.told = (
                self.died_at,
                self.code,
                self.by,
                self.told,
            )
            later.stopped, self.stopped = self.stopped, False
            # Of two stops at once the second may be told of after the next start: then that run
            # goes on.
            later.stops = [each for each in self.stops if each >= at]
            self.stops = [each for each in self.stops if each < at]
            later.forestalled = self.forestalled
            self.handled = self.forestalled = False
            self.died_at, self.code, self.by, self.told = 0.0, None, "", ""
        return later


class EngineStart(Struct, frozen=True):
    """The present engine's start: from then to its first answer it stops what an engine that was
    killed left running, and its own record says of those that a call stopped them. `ready_at` 0.0:
    nothing of it is known.

    So did each engine before it that was killed in its turn, and their records stay as they are."""

    began_at: float = 0.0
    ready_at: float = 0.0
    # the same of the engines before it, as far as they were noticed
    earlier: tuple[tuple[float, float], ...] = ()
    went_down_at: float = 0.0  # when the one before it had been terminated; 0.0 where nothing tells

    @classmethod
    def told(cls, began_at: float, bridge_made_at: float, *, live_restore: bool) -> EngineStart:
        """`began_at`: by the engine's files, 0.0 where not known; `bridge_made_at`: the default
        network's making, which comes after those stops and before the first answer; 0.0 where there
        is none."""
        if live_restore:  # it stops nothing, and keeps that network
            at = began_at or bridge_made_at
            return cls(at, at)
        if bridge_made_at and bridge_made_at >= began_at:
            return cls(began_at or bridge_made_at - COMING_UP, bridge_made_at)
        return cls(began_at, began_at + COMING_UP) if began_at else cls()

    def after_others(self, before: EngineStart, unwatched: Iterable[float]) -> EngineStart:
        """With the starts before it: that of the engine that was watched before (or still is), and
        when those began that nobody watched. What these did until the next one began, or for as
        long as a start takes, is not known."""
        spans = {*before.earlier, (before.began_at, before.ready_at)} - {
            (0.0, 0.0),
            (self.began_at, self.ready_at),
        }
        begun = {began_at for began_at, _ in spans}
        others = [at for at in unwatched if at not in begun and at < self.began_at]
        nexts = sorted({*begun, *others, self.began_at})
        spans.update(
            (at, min([at + COMING_UP, *(each for each in nexts if each > at)])) for at in others
        )
        return replace(self, earlier=tuple(sorted(spans)[-EARLIER:]))

    def with_witnesses(self, containers: Iterable[Container], before: EngineStart) -> EngineStart:
        """With when the engine before it went down: what this one started again at once had run
        until then.

        `before`: what was known so far, as a witness may have ended again since."""
        ended = (each.finished_at for each in containers if self._started_again(each))
        known = before.went_down_at if before.began_at == self.began_at else 0.0
        return replace(self, went_down_at=max(known, *ended, 0.0))

    def _started_again(self, seen: Container) -> bool:
        soon = (
            self.began_at
            and self.began_at - BEGAN_SLACK <= seen.started_at <= self.began_at + STARTS_AGAIN
        )
        return bool(soon) and seen.restart_policy != "no" and self.after(seen.finished_at)

    def took_down(self, at: float) -> bool:
        """Whether the engine before it was going down at that time."""
        return (
            self.went_down_at > 0.0 and self.after(at) and abs(at - self.went_down_at) <= GOING_DOWN
        )

    def after(self, at: float) -> bool:
        """Whether that was before it, and so under another engine."""
        return at < self.began_at - BEGAN_SLACK

    def during(self, at: float) -> bool:
        """Whether an engine, this one or one before it, was starting at that time."""
        spans = (*self.earlier, (self.began_at, self.ready_at))
        return any(began_at - BEGAN_SLACK <= at <= ready_at for began_at, ready_at in spans)


class RunEnd(Struct, eq=False):
    """An end whose cause is not settled yet."""

    run: ContainerRun
    at: float
    due: float
    origin: Origin
    # events of this run may have been lost: without evidence the cause is unknown
    blind: bool = False
    looked: bool = False  # inspect answered after it
    held: bool = False  # the engine is restarting it by its own policy


def signal_number(text: str) -> int:
    """The number of a signal as the engine writes it ("15", "SIGTERM", "TERM", "RTMIN+3"); 0 where
    it is none."""
    if text.isdecimal():
        # what an image's author wrote may be of any length
        return int(text) if len(text) <= 3 else 0
    name = text.upper()
    if (found := _REAL_TIME.fullmatch(name)) is not None:
        return (signal.SIGRTMIN if found[1] == "MIN" else signal.SIGRTMAX) + int(found[2] or 0)
    name = name if name.startswith("SIG") else "SIG" + name
    try:
        return signal.Signals[name].value
    except KeyError:
        return 0


def forged(container: Container, attribute: str) -> bool:
    """True where a label of the container would have overwritten the engine's own attribute in its
    events."""
    return attribute in container.labels or attribute in container.image_labels


def cause_of(run: ContainerRun, container: Container, engine: EngineStart, *, blind: bool) -> Cause:
    """The one cause of a run's end. `blind`: events may have been lost, so no evidence proves
    nothing."""
    return judge(run, container, engine, blind=blind)[0]


def judge(
    run: ContainerRun, container: Container, engine: EngineStart, *, blind: bool
) -> tuple[Cause, bool]:
    """The cause, and whether nothing but the engine's own record tells of it."""
    recorded = _recorded_stop(run, engine)
    if run.by == "dockmend" and asked_by_another(run, container):
        return "stopped", False
    if run.by == "engine":  # as it went down, a person may have been quicker
        return ("stopped", True) if recorded and engine.after(run.died_at) else ("left_down", False)
    if run.by:
        return run.by, False
    if run.stopped or any(_asked_for(run, container, at, number) for at, number in run.kills):
        return "stopped", False
    if (
        run.oom_at
        and run.code == 128 + signal.SIGKILL
        and abs(run.died_at - run.oom_at) <= OOM_SLACK
    ):
        return "oom_killed", False
    return ("stopped", True) if recorded else _unheard(run, engine, recorded, blind=blind)


def _unheard(
    run: ContainerRun, engine: EngineStart, recorded: bool | None, *, blind: bool
) -> tuple[Cause, bool]:
    """The same of an end of which neither the stream nor the engine's own record says that anybody
    asked for it."""
    if blind and recorded is False and engine.took_down(run.died_at):
        return "left_down", False
    if run.code == 0:
        return "completed", False
    if run.code is None or (blind and recorded is None):
        return "unknown", False
    return "crashed", blind


def _recorded_stop(run: ContainerRun, engine: EngineStart) -> bool | None:
    """Whether a person stopped it by the engine's own record; None where that does not tell."""
    if not run.signalled:
        return run.signalled
    if (
        run.handled
        or run.kills
        or run.outlived
        or not engine.ready_at
        or engine.during(run.died_at)
    ):
        # that was dockmend, a signal that ended nothing, or an engine that found it running at its
        # start
        return None
    return True


def asked_by_another(run: ContainerRun, container: Container, *, followed: bool = False) -> bool:
    """Whether a person, too, asked for the end of a run that dockmend's own calls ended. False if
    none of them did.

    A call that stops a run causes one `stop` event, one stop signal and, after its timeout, one
    SIGKILL. If the engine tells of more than dockmend's calls cause, the rest is a person's. A
    person's restart at the same time is no stop. `followed`: the start of the next run was told,
    and so everything that dockmend's calls did to this one.
    """
    own = len(run.calls)
    if not own:
        return False
    restarts = max(0, len(run.restarts) - len(run.renewals))
    if (beyond := len(run.stops) - own) > 0:
        return beyond > restarts
    ending, heard = _asking_to_end(container), _near_its_end(run, container)
    signals = [(at, number) for at, number in heard if number in ending]
    if run.signals or restarts or not signals:
        return False
    if not run.stops:  # dockmend's calls found it down
        return followed
    asking = [at for at, number in signals if number != signal.SIGKILL]
    if own == 1 and any(at < run.called_at for at, _ in signals):
        return True  # dockmend's call found it down, and sent no signal
    by_kill = signal_number(container.stop_signal) == signal.SIGKILL
    if asking and not by_kill and min(signals)[1] == signal.SIGKILL:
        # a call sends the stop signal first: this SIGKILL is of `docker kill` or `docker rm -f`
        return True
    first = min(at for at, _ in heard)
    due = first + run.patience - KILL_EARLY
    early = any(number == signal.SIGKILL and first < at < due for at, number in signals)
    return len(asking) > own or early


def _near_its_end(run: ContainerRun, container: Container) -> list[tuple[float, int]]:
    """The signals that can have to do with the end of a run that dockmend's calls ended. One that
    the container took and went on, an hour ago, asks for nothing any more; the calls themselves
    wait no longer than their timeout."""
    within = max(container.stop_timeout, run.patience) + KILL_SLACK
    return [(at, number) for at, number in run.kills if run.died_at - at <= within]


def _asked_for(run: ContainerRun, container: Container, at: float, number: int) -> bool:
    ending = _asking_to_end(container)
    soon = run.died_at - at <= container.stop_timeout + KILL_SLACK
    if run.code is not None and number and run.code == 128 + number:
        # A program may take its time over TERM; but one that took a HUP for "reload" long ago was
        # not ended by it.
        return number in ending or soon
    if not number:  # a label hides which signal it was: the exit code may tell
        return soon and run.code is not None and run.code - 128 in ending
    return number in ending and soon


def _asking_to_end(container: Container) -> frozenset[int]:
    """The signals that ask for its end: its own stop signal is among them."""
    return _ENDING | ({signal_number(container.stop_signal)} - {0})
