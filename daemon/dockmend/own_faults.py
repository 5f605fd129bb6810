"""Which parts of dockmend are at fault by themselves."""

from __future__ import annotations

from typing import Final

OWN_FAULTS: Final = ("rules", "journal")
"""Of the parts that Observer.degraded is told of. An engine that is away, or a broker, is somebody
else's."""
