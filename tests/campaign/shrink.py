"""Looking for the shortest prefix of a plan that still fails: ten faults are read sooner than a
thousand."""

from __future__ import annotations

from collections.abc import Callable


def shortest(failed_at: int, run: Callable[[int], int], runs: int) -> int:
    """The smallest number of faults known to fail.

    `failed_at`: after how many the first run failed. `run` does that many and says after how many
    it failed (0: not at all; the instants differ from run to run, so that proves little). At most
    `runs` of them, by halves.
    """
    low, high = 0, failed_at
    for _ in range(runs):
        middle = (low + high) // 2
        if middle in {low, high}:
            break
        again = run(middle)
        low, high = (low, again) if again else (middle, high)
    return high
