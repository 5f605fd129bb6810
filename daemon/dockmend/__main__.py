"""`python -m dockmend`: the same as the command."""

from __future__ import annotations

from dockmend.cli import main

if __name__ == "__main__":
    main()
