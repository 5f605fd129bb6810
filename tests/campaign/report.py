"""The table a campaign prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .verdict import KINDS, Finding


@dataclass
class Tally:
    """What a run came to, as it goes on."""

    seed: int
    live_restore: bool
    faults: Counter[str] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)  # by kind: there was nothing to do it to
    failed: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    # by why the engine, or the way to it, had lost the trace
    excused: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    heal_times: list[float] = field(default_factory=list)
    calls: int = 0
    rounds: int = 0
    done: int = 0
    failed_at: int = 0  # faults done when the first round failed; 0: none did
    seconds: float = 0.0
    process: str = ""  # dockmend's size at the end

    def table(self) -> str:
        speed = self.done / self.seconds * 60 if self.seconds else 0.0
        lines = [
            f"seed {self.seed}, live-restore {'on' if self.live_restore else 'off'}",
            (
                f"{self.done} faults in {self.rounds} rounds, {self.seconds:.0f} s ({speed:.0f} "
                "a minute)"
            ),
            "",
            f"{'fault':21}{'done':>6}{'idle':>6}{'failed':>8}  what became of the trouble",
        ]
        for kind in sorted({*self.faults, *self.idle, *self.failed}):
            ends = ", ".join(
                f"{end} {count}" for (of, end), count in sorted(self.outcomes.items()) if of == kind
            )
            row = (
                f"{kind:21}{self.faults[kind]:>6}{self.idle[kind]:>6}{self.failed[kind]:>8}  {ends}"
            )
            lines.append(row.rstrip())
        found = Counter(finding.kind for finding in self.findings)
        lines += [
            "",
            (
                f"dockmend's calls that changed something: {self.calls}; at the end it has "
                f"{self.process}"
            ),
            (
                f"{len(self.heal_times)} heals; time to heal (from the engine's event, outages of "
                "all parts included):"
            ),
            (
                f"  p50 {percentile(self.heal_times, 50):.2f} s, p99 "
                f"{percentile(self.heal_times, 99):.2f} s"
            ),
            *(f"{kind}: {found[kind]}" for kind in KINDS),
            (
                "started although a person had stopped it, where the trace was lost: "
                f"{self.excused.total()}"
            ),
            *(f"  {why}: {count}" for why, count in sorted(self.excused.items())),
        ]
        return "\n".join(lines)


def percentile(values: Sequence[float], of: float) -> float:
    """By nearest rank; 0 where there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(of / 100 * len(ordered)) - 1))]
