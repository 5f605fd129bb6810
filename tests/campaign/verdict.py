"""What the oracle says of a round."""

from __future__ import annotations

from dataclasses import dataclass, field

KINDS = ("missed", "double", "touched", "leftover", "limit", "journal", "fault", "left_down")
"""`left_down`: nobody stopped it, the engine's own record says so too, and it is left as if
somebody had."""


@dataclass
class Finding:
    kind: str  # one of KINDS
    text: str


@dataclass
class Verdict:
    findings: list[Finding] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)
    # left by a recreation, and only a person may remove it
    aside: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    suppressed: dict[str, str] = field(default_factory=dict)  # slot -> reason
    states: dict[str, str] = field(default_factory=dict)

    def found(self, kind: str, text: str) -> None:
        self.findings.append(Finding(kind, text))
