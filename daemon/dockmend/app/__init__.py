"""The composition root: parts put together, tasks, signals, reload, exit code."""

from __future__ import annotations

from dockmend.app.run import run

__all__ = ["run"]
