"""The command line: what a person types. Each command's module is imported only when that command
runs."""

from __future__ import annotations

import sys
from typing import NoReturn

from dockmend.cli.command_frame import execute

__all__ = ["execute", "main"]


def main() -> NoReturn:
    """The entry point of `dockmend`; ends the process with 0, 1, 2 or 3 (docs/cli.md), 130 after
    Ctrl-C."""
    sys.exit(execute(sys.argv[1:]))
