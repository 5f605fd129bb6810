"""The way of one `container.unhealthy`: which functions it passes from the socket to the closed
incident.

The whole daemon runs on a fake engine; from the event until the incident is closed and told, each
function of dockmend that is entered is written down once. Other tasks run meanwhile and are counted
too, so two runs differ by a few.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

import structlog

from tests.integration.inside import Ward, inside
from tests.structure.source import ROOT

RULES = """
version: 1
rules:
  - {name: restart-unhealthy, when: container.unhealthy, match: all,
     then: restart, verify: {state: healthy}}
"""


@dataclass
class Way:
    """`functions`: (file, name) in the order of their first call. `changes`: how often a call led
    to another file."""

    functions: dict[tuple[str, str], int] = field(default_factory=dict)
    changes: int = 0

    @property
    def files(self) -> set[str]:
        return {file for file, _ in self.functions}


class Tracer:
    """Comprehensions, lambdas and generator expressions belong to the function that holds them."""

    def __init__(self) -> None:
        self.way = Way()
        self._known: dict[CodeType, tuple[str, str] | None] = {}
        self._last = ""

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code not in self._known:
            self._known[code] = self._name(code)
        if (name := self._known[code]) is None:
            return
        if name not in self.way.functions:
            self.way.functions[name] = code.co_firstlineno
            if name[0] != self._last:
                self.way.changes += 1
        self._last = name[0]

    def _name(self, code: CodeType) -> tuple[str, str] | None:
        path = Path(code.co_filename)
        if not path.is_relative_to(ROOT) or code.co_name.startswith("<"):
            return None
        return str(path.relative_to(ROOT / "dockmend")), code.co_qualname


async def trace() -> Way:
    structlog.configure(
        logger_factory=structlog.ReturnLoggerFactory(), cache_logger_on_first_use=False
    )
    with tempfile.TemporaryDirectory(prefix="dm-way-") as folder:
        ward = Ward(Path(folder))
        await ward.start()
        try:
            ward.patient("web")
            async with inside(ward, Path(folder), RULES) as one:
                tracer = Tracer()
                sys.setprofile(tracer)
                try:
                    ward.sicken("web")
                    (incident,) = await one.closed()
                finally:
                    sys.setprofile(None)
                assert incident.outcome == "healed", incident
        finally:
            await ward.stop()
    return tracer.way


def main() -> None:
    way = asyncio.run(trace())
    for (file, name), line in way.functions.items():
        print(f"{file}:{line} {name}")
    print(
        f"{len(way.functions)} functions in {len(way.files)} files, {way.changes} changes of file"
    )


if __name__ == "__main__":
    main()
