"""What an action is: one function that acts and reports, and one that settles what a dead
dockmend left.

The step runner inspects the target right before, writes the intent, calls `run` and writes the
outcome. At the next start, `settle` runs for each intent without an outcome. It asks the engine
whether the action was done, and puts right what is half done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dockmend.engine.engine_api import Engine
from dockmend.journal.records import ActionRecord, Incident
from dockmend.mirror.identities import Identities
from dockmend.mirror.resolver import Resolver
from dockmend.model import Container, Endpoint, Image, Network, Object, Volume
from dockmend.ownership import Ownership
from dockmend.rules.rule import Verify


class ActionView(Protocol):
    """The part of the mirror an action may look at; never stale by more than the stream's lag."""

    @property
    def identities(self) -> Identities:
        """What containers were called, those that are gone too."""

    @property
    def resolver(self) -> Resolver:
        """Which container a reference in a definition means."""

    def container(self, container_id: str) -> Container | None: ...
    def container_named(self, name: str) -> Container | None: ...
    def network_named(self, name: str) -> Network | None: ...
    def containers(self) -> Iterable[Container]: ...
    def of_target(self, target: str) -> Container | None: ...
    def taken_down(self, container_id: str) -> bool:
        """Whether it is down because dockmend stopped it."""

    def is_to_run(self, container: Container, since: float) -> bool:
        """Whether it runs, or is down by dockmend's doing or its own since a time (wall
        seconds)."""

    def of_owner(self, owner: str) -> Container | None:
        """The container whose network the members of a group are to share; see `model.owner_in`."""

    def shares(self, container: Container) -> bool:
        """Whether a container as it was just seen runs, and in the network that its owner has
        now."""

    def joined_at(self, container: Container) -> float:
        """When a container as it was just seen joined another's namespace, at the earliest (wall
        seconds)."""

    def orphans(self, group: str) -> list[Container]:
        """Those of a group whose trouble stands, and that no person stopped."""

    def stopped(self, container_id: str) -> bool:
        """Whether somebody stopped a container that does not run."""

    def engine_was_there(self, at: float) -> bool:
        """Whether the present engine was there at a time (wall seconds); False where that is not
        known."""

    def known_networks(self, container_id: str) -> Mapping[str, Endpoint]:
        """The container's last known good set: network name -> endpoint; outlives restarts of
        dockmend."""

    def network_definition(self, name: str) -> Network | None:
        """How a network was made, as last seen, whether it is there or not; outlives restarts of
        dockmend."""

    def members(self, network: str) -> list[tuple[Container, Endpoint]]:
        """The containers in whose last known good set a network is, and how they were connected."""


class Teller(Protocol):
    """Where actions that tell hand over: bounded and never in the way."""

    def publish(self, topic: str, payload: str, retain: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Notice:
    """A rule's own message to people, as the rule has it.

    `title` None: the text's first line; `to`: names of channels, None: those that the container's
    label names, or all; `fill(text, quoted)`: a text with its fields filled in, each as `quoted`
    makes it; `mark(channels)`: notes in the step's record where it goes.
    """

    text: str
    title: str | None
    to: tuple[str, ...] | None
    fill: Callable[[str, Callable[[str], str]], str]
    mark: Callable[[tuple[str, ...]], None]


class Messenger(Protocol):
    """Where such messages go: into the outbox, from where they are sent."""

    def tell(self, incident: Incident, notice: Notice) -> ActionResult:
        """The message and what `mark` notes are on disk together or not at all. Raises ActionFailed
        if there is no channel, JournalError if that cannot be noted (nothing is sent then)."""


class Nobody:
    """The messenger where no channel is configured."""

    def tell(self, incident: Incident, notice: Notice) -> ActionResult:
        raise ActionFailed(
            "no message was sent: no channel is configured (settings: notify)", again=False
        )


AS_IT_IS = Verify()
"""What is well where no rule says: healthy where there is a check, else running."""


class Expectations(Protocol):
    """What the mirror is to hear of containers beyond the target. By their ids."""

    def open(self, container_id: str, *, on_trial: bool = False) -> None:
        """The action has only just made it; `on_trial`: and may take it away again."""

    def take_away(self, container_id: str) -> None:
        """The action takes away again what it made on trial."""


class NoExpectations:
    """If nobody listens to the stream."""

    def open(self, container_id: str, *, on_trial: bool = False) -> None:
        return

    def take_away(self, container_id: str) -> None:
        return


async def _unknown(container_id: str) -> Mapping[str, Any] | None:
    """Where no definitions are kept."""
    return None


def _nobody(text: str, title: str | None, to: tuple[str, ...] | None) -> ActionResult:
    raise ActionFailed(
        "no message was sent: actions of this kind run without channels here", again=False
    )


async def _no_parts(action: str, params: Any, subject: Container) -> ActionResult:
    raise ActionFailed(f"{action} of {subject.name}: nobody carries out parts here", again=False)


async def _nobody_stopped(member: Container, since: float) -> bool:
    """Where nobody listens to the stream."""
    return False


@dataclass(frozen=True, slots=True)
class ActionContext:
    """What a running action is given."""

    engine: Engine
    own: Ownership  # makes and removes what is dockmend's own
    view: ActionView
    teller: Teller
    incident: Incident
    clock: Callable[[], float]  # wall seconds as the action begins, and then by what elapses
    state: Path  # dockmend's state folder
    bind_roots: tuple[Path, ...]
    render: Callable[[str], str]  # fills `{container.name}` and other fields of a string parameter
    # journals `undo`, and returns when it is on disk
    remember: Callable[[Mapping[str, Any]], Awaitable[None]]
    # bytes of the state folder's disk that stay free; None: as disk_reserve.py has it
    reserve: int | None = None
    timeout: float = 300.0  # seconds the step may take
    tell: Callable[[str, str | None, tuple[str, ...] | None], ActionResult] = (
        _nobody  # text, title, channels: see `Notice`
    )
    # why another object than the target must be left alone
    forbids: Callable[[Object], str | None] | None = None
    # whether one asks for the rule, if that is of labels
    asks: Callable[[Container], bool] = lambda container: True
    part: Callable[[str, Any, Container], Awaitable[ActionResult]] = _no_parts
    """Takes another action as a part of this one, journalled on its own; raises ActionFailed."""
    obey: Callable[[Container, float], Awaitable[bool]] = _nobody_stopped
    """Stops again what a person stopped since a time (wall seconds) and another program began
    again; True if so."""
    # a stop that was asked for found it over, by its id
    found_down: Callable[[str], None] = lambda container: None
    expectations: Expectations = field(default_factory=NoExpectations)
    # last known, by a container's id
    definition: Callable[[str], Awaitable[Mapping[str, Any] | None]] = _unknown
    verify: Verify = AS_IT_IS  # what the rule calls well
    # hands over what was the old one's; see `succeed`
    heir: Callable[[str, str], None] = lambda old, new: None
    # references under which an image is being made, by any action
    claims: set[str] = field(default_factory=set)


async def succeed(
    ctx: ActionContext, old: str, new: str, undo: Mapping[str, Any] | None = None
) -> None:
    """One container takes another's place (ids): on disk first, with what else is to be remembered,
    and then done.

    To be called once that is so for good: nothing after it may lead back.
    """
    await ctx.remember({**(undo or {}), "heir": {"old": old, "new": new}})
    ctx.heir(old, new)


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What an action did: `detail` for a person, `facts` for the steps that come after it (ids,
    names, sizes). Facts are not journalled: a start after a death has those of `Settled`."""

    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class ActionFailed(Exception):
    """The action could not do its work; the text is for a person. `again` False: another attempt
    cannot help."""

    def __init__(self, detail: str, again: bool = True) -> None:
        super().__init__(detail)
        self.again = again


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an intent whose dockmend died. `done`: the action had gone through (it is not
    done again); `untouched`: nothing had been asked of the engine, so that no limit counts it."""

    done: bool
    detail: str
    facts: Mapping[str, Any] = field(default_factory=dict)  # as those of ActionResult
    untouched: bool = False


NOT_BEGUN = Settled(done=False, detail="nothing had been done yet", untouched=True)


Run = Callable[[ActionContext, Any, Object], Awaitable[ActionResult]]
Settle = Callable[[ActionContext, ActionRecord], Awaitable[Settled]]


@dataclass(frozen=True, slots=True)
class Action:
    """`touches` False: it does nothing to its target itself, so what is heard of that meanwhile is
    no echo."""

    name: str
    run: Run
    settle: Settle
    touches: bool = True


REGISTRY: dict[str, Action] = {}


def register(action: Action) -> None:
    if action.name in REGISTRY:
        raise ValueError(f"action {action.name} is registered twice")
    REGISTRY[action.name] = action


__all__ = [
    "REGISTRY",
    "Action",
    "ActionContext",
    "ActionFailed",
    "ActionResult",
    "ActionView",
    "Container",
    "Image",
    "Settled",
    "Teller",
    "Volume",
    "register",
    "succeed",
]  # fmt: skip
