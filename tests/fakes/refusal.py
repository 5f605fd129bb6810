"""The fake engine's no."""

from __future__ import annotations


class Refusal(Exception):
    """An HTTP status and the engine's sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
