"""Which parts do not work and why: one account for `status`, `/readyz` and systemd's status
line."""

from __future__ import annotations

from dockmend.observer import Observer
from dockmend.tell.notify_systemd import Notifier


class DegradedParts(Observer):
    """`parts`: for each part that does not work, why. `usual`: the status that systemd shows if all
    parts work."""

    def __init__(self, notifier: Notifier) -> None:
        self.parts: dict[str, str] = {}
        self.usual = ""
        self._notifier = notifier

    def degraded(self, part: str, why: str | None) -> None:
        before = dict(self.parts)
        if why is None:
            self.parts.pop(part, None)
        else:
            self.parts[part] = why
        if self.parts != before:
            self.tell()

    def tell(self) -> None:
        """systemd's status line, as it is now."""
        told = "; ".join(f"{part}: {why}" for part, why in sorted(self.parts.items()))
        self._notifier.status(f"degraded: {told}" if told else self.usual)
