"""Prints the figures: `make structure`. They are compared by hand, before and after a change of
structure."""

from __future__ import annotations

import asyncio

from tests.structure.source import SHARED, circles, lines, modules, names
from tests.structure.way import trace


def main() -> None:
    found = modules()
    named, written, way = names(found), lines(found), asyncio.run(trace())
    rows = [
        ("functions on the way of one `container.unhealthy`, as called", len(way.functions)),
        ("files on that way", len(way.files)),
        ("circles of imports", len(circles(found))),
        ("functions whose name is one word", f"{named.one_word:.0%} of {named.functions:,}"),
        (f"functions whose name {SHARED} or more have", f"{named.shared:,}"),
        ("module names that two or more have", len(named.modules)),
        ("class names that two or more have", len(named.classes)),
        ("lines of comment for 1,000 of code", f"{written.comments:.0f}"),
        ("code lines: 95 % are at most so long", written.long),
        ("lines", f"{written.all:,}, {written.code:,} of them code"),
    ]
    print("| what | figure |\n| --- | --- |")
    for what, figure in rows:
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    main()
