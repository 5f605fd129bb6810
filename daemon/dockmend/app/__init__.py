"""The composition root: parts put together, tasks, signals, reload, exit code."""

from __future__ import annotations

from dockmend.app.daemon_process import run

__all__ = ["run"]
