"""`python -m tests.campaign.fuzz --inputs 1000000 --seed 1`: mutated inputs for everything that
reads from outside."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from .mutator import Mutator
from .readers import READERS, Reader, quiet

MOST_FINDS = 5  # of one reader that are shown


def fuzz(reader: Reader, inputs: int, seed: int) -> list[tuple[bytes, str]]:
    """The finds: inputs, and what was raised."""
    mutator = Mutator(seed, reader.corpus())
    finds: list[tuple[bytes, str]] = []
    places: set[str] = set()
    for _ in range(inputs):
        data = mutator.next()
        try:
            reader.read(data)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            place = str(traceback.extract_tb(error.__traceback__)[-1]) + type(error).__name__
            if place not in places and len(places) < MOST_FINDS:
                places.add(place)
                finds.append((data, traceback.format_exc()))
    return finds


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    quiet()
    print(f"seed {asked.seed}\n\n{'what reads':34} {'inputs':>9} {'finds':>6} {'seconds':>8}")
    whole, total, began = sum(reader.share for reader in READERS), 0, time.monotonic()
    found: list[tuple[str, bytes, str]] = []
    for reader in READERS:
        inputs, at = -(-asked.inputs * reader.share // whole), time.monotonic()
        finds = fuzz(reader, inputs, asked.seed)
        total += inputs
        found += [(reader.name, *find) for find in finds]
        print(
            f"{reader.name:34} {inputs:9,} {len(finds):6} {time.monotonic() - at:8.1f}", flush=True
        )
    print(f"{'all':34} {total:9,} {len(found):6} {time.monotonic() - began:8.1f}")
    for name, data, what in found:
        print(f"\nFOUND in {name}: {data[:2000]!r}\n{what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
