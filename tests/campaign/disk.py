"""The engine's own record of a container, on its disk: the oracle reads what dockmend may read on a
local engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def signalled(data: Path, seen: dict[str, Any]) -> bool | None:
    """Whether any call stopped or signalled the run that an inspect answer shows the end of.

    `data`: the engine's data folder. None if the record cannot be read, does not say, or is of
    another run: it is written a little after the engine has answered.
    """
    try:
        record = json.loads(Path(data, "containers", seen["Id"], "config.v2.json").read_text())
    except (OSError, ValueError):
        return None
    kept, state = record.get("State") or {}, seen["State"]
    same = all(
        kept.get(key) == state[key] for key in ("StartedAt", "FinishedAt", "ExitCode", "Running")
    )
    told = record.get("HasBeenManuallyStopped")
    return told if same and isinstance(told, bool) and not state["Running"] else None
