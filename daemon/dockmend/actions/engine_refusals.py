"""What an engine's refusal means for a person, and whether another attempt can help.

The engine's statuses say little (measured on Engine 26.1: if a network's owner is down, a start
answers 409 and a restart 500; an address that is taken answers 403). The texts are moby's. If
none of them fits, a person gets the engine's own sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dockmend.actions.action import ActionFailed
from dockmend.errors import EngineAway, EngineError, NotFound, Temporary, own_words
from dockmend.model import Container


@dataclass(frozen=True, slots=True)
class EngineRefusal:
    """A text of the engine, what to tell, and whether it may pass."""

    pattern: re.Pattern[str]
    sentence: str
    again: bool


def _refusal(pattern: str, sentence: str, again: bool) -> EngineRefusal:
    return EngineRefusal(re.compile(pattern, re.IGNORECASE), sentence, again)


DISK_FULL = "the engine's disk is full"
_ENDS_FULL = re.compile(r"no space left on device(?:: unknown)?$", re.IGNORECASE)
"""Said by the runtime too, of what an image named; what comes last is its own word."""
REFUSALS: tuple[EngineRefusal, ...] = (
    _refusal(
        r"did not receive an exit event",
        "its process does not end, even killed: it hangs in the kernel, or a debugger holds it",
        again=True,
    ),
    _refusal(
        r"marked for removal|dead container",
        "it is marked for removal and can never run again; remove it (docker rm --force) and make "
        "it again",
        again=False,
    ),
    _refusal(
        r"cannot join network of a non running container",
        "it shares the network of another container, which does not run; that one must run first",
        again=True,
    ),
    _refusal(
        r"container sharing network namespace with another container or host",
        "it shares the network of another container or of the host, and cannot be connected to "
        "networks of its own",
        again=False,
    ),
    _refusal(
        r"network \S+ not found|could not find (?:a )?network",
        "a network it belongs to was removed; make that network again and reconnect it",
        again=True,
    ),
    _refusal(
        r"no configured subnet or ip-range contain the IP address|networks with user "
        r"configured subnets",
        "the network has no subnet of its own that holds the container's fixed address; make the "
        "network again with that subnet (docker network create --subnet), or recreate the "
        "container without a fixed address",
        again=False,
    ),
    _refusal(
        r"^(?!.*(?:port|bind)).*address already in use",
        "its fixed address is in use by another container",
        again=True,
    ),
    _refusal(
        r"port is already allocated|bind.*address already in use",
        "a port it publishes is taken",
        again=True,
    ),
    _refusal(r"invalid signal", "the engine knows no such signal", again=False),
    _refusal(r"no space left on device", DISK_FULL, again=True),
    _refusal(
        r"cannot start a paused container",
        "it is paused, not stopped: unpause it instead",
        again=False,
    ),
    _refusal(
        r"removal of container \S+ is already in progress|is being removed",
        "it is being removed",
        again=False,
    ),
)


NETWORK_REFUSALS: tuple[EngineRefusal, ...] = (
    _refusal(r"pool overlaps", "another network has its addresses", again=True),
    _refusal(
        r"have same bridge name|already using parent interface",
        "another network has its device",
        again=True,
    ),
    _refusal(
        r"configuration network \S+ does not exist",
        "the network that it is configured by is gone",
        again=True,
    ),
    _refusal(
        r"plugin \S+ not found|could not find plugin",
        "the engine has no such network driver",
        again=False,
    ),
    _refusal(
        r"not a swarm manager", "only the manager of a swarm makes networks of a swarm", again=False
    ),
    _refusal(
        r"non-overlapping \S+ address pool",
        "the engine has no addresses left to give to a network",
        again=True,
    ),
)


def network_refused(error: EngineError, what: str) -> ActionFailed:
    """The outcome to raise for an engine that refused to make a network; raises EngineAway where it
    is away."""
    if isinstance(error, EngineAway):
        raise error
    for refusal in NETWORK_REFUSALS:
        if refusal.pattern.search(str(error)):
            return ActionFailed(
                f"cannot {what}: {refusal.sentence} (engine: {error})", refusal.again
            )
    return ActionFailed(f"cannot {what}: {error}", again=isinstance(error, Temporary))


def gone(error: EngineError, container: str) -> bool:
    """True where it is `container` (its id) itself that the engine does not know, not one that it
    depends on."""
    return isinstance(error, NotFound) and container in str(error)


def failed(error: EngineError, what: str, container: Container) -> ActionFailed:
    """The outcome to raise for an engine that refused `what` ("restart web").

    Raises `error` itself where the engine is away: whether the action went through is then unknown,
    and the runner settles it when the engine is back.
    """
    if isinstance(error, EngineAway):
        raise error
    if gone(error, container.id):
        return ActionFailed(f"cannot {what}: the container is gone", again=False)
    said = str(error)
    if (
        container.joined is not None
        and container.joined in said
        and "no such container" in said.lower()
    ):
        return owner_gone(what, container)
    words = own_words(said)
    for refusal in REFUSALS:
        if refusal.pattern.search(words):
            return ActionFailed(
                f"cannot {what}: {refusal.sentence} (engine: {said})", refusal.again
            )
    if _ENDS_FULL.search(said):
        return ActionFailed(f"cannot {what}: {DISK_FULL} (engine: {said})")
    return ActionFailed(f"cannot {what}: {said}", again=isinstance(error, Temporary))


def failed_call(error: EngineError, what: str) -> ActionFailed:
    """The same for a call that is about no container in hand."""
    return failed(error, what, Container(id="no container", name=""))


def unfinished(what: str, error: Temporary) -> EngineAway:
    """To raise where what stands half-way can be neither finished nor taken back now. As if the
    engine were away, whatever it is: the record stays open, and `settle` tries again."""
    return error if isinstance(error, EngineAway) else EngineAway(f"{what}: {error}")


def owner_gone(what: str, container: Container, shared: str = "network") -> ActionFailed:
    """The container whose namespace this one joined does not exist any more."""
    return ActionFailed(
        f"cannot {what}: the container whose {shared} it shares was removed;"
        f" {container.name} must be recreated to join its successor",
        again=False,
    )
