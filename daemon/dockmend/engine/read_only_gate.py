"""The engine as it may be used: one that only looks lets no change through, wherever in dockmend
that is asked for.

What may not act decides so before it asks (decide, app.daemon); this is what makes it certain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from dockmend.engine.engine_api import Engine
from dockmend.errors import Permanent

LOOKS = frozenset({
    "url", "ahead", "trusted", "connect", "close", "ping", "events", "marker_present", "past",
    "listing", "inspect", "inspect_raw", "inspect_network", "addresses", "networks", "volumes",
    "inspect_volume", "images", "inspect_image", "inspect_image_raw", "desired_macs", "wait",
    "logs", "last_lines", "exec_inspect", "get_archive", "started_at",
})  # fmt: skip
"""What changes nothing on the engine; all else does, also what comes to the protocol later."""
OF_ONE = frozenset({
    "restart", "start", "stop", "kill", "pause", "unpause", "remove", "rename", "update",
    "exec_create", "commit", "put_archive",
})  # fmt: skip
"""Changes of the one container that their first argument names."""


@dataclass(slots=True)
class ActingSwitch:
    """What dockmend may change on the engine. `why_not`: a sentence that says why it may change
    nothing, "" if it may; `only`: the id of the one container that it may act on, "" for all."""

    why_not: str = ""
    only: str = ""

    def refusal(self, call: str, container: object) -> str:
        """Why a call that changes something is refused; "" if it is not."""
        if self.why_not:
            return self.why_not
        if self.only and (call not in OF_ONE or container != self.only):
            return f"this dockmend may act on {self.only[:12]} only"
        return ""


class GatedEngine:
    """Passes on what looks, and what changes something as far as `acting` lets it."""

    def __init__(self, engine: Engine, acting: ActingSwitch) -> None:
        self._engine = engine
        self._acting = acting

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name in LOOKS or not callable(found):
            return found
        return self._gate(name, found)

    def _gate(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def gated(*arguments: Any, **named: Any) -> Any:
            container = arguments[0] if arguments else named.get("container")
            if refusal := self._acting.refusal(name, container):
                _refuse(name, refusal)
            return call(*arguments, **named)

        return gated


def _refuse(name: str, why: str) -> NoReturn:
    raise Permanent(f"{name.replace('_', ' ')}: nothing is changed on the engine: {why}")


def gated(engine: Engine, acting: ActingSwitch) -> Engine:
    """`engine`, through a gate."""
    return cast("Engine", GatedEngine(engine, acting))
