"""Snapshot speed and memory against the shortest pipeline of standard programs that does the same,
on the same stream.

    python bench/snapshot.py [--mib 512] [--rounds 7] [--write]

Starts a private engine (needs root), fills a volume, and alternates between curl … | tee
>(sha256sum) | zstd -T2 > FILE; sync FILE and dockmend's own `take` (helper made and removed,
manifest, fsyncs and all). Memory is the peak of the process's resident set during a snapshot less
what it was before, in a process of its own for each size.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dockmend.engine.client import DockerEngine
from dockmend.snapshots.archive import Why, take
from dockmend.snapshots.helper_container import ROOT, HelperSource, helper
from dockmend.snapshots.snapshot_store import SnapshotStore
from tests.fakes.owning import owning
from tests.lab import PrivateEngine

MIB = 1 << 20
RESULTS = Path(__file__).parent / "results" / "snapshot.md"
FLOOR = (
    "set -o pipefail; curl -sS --fail --unix-socket {socket} -H 'Accept-Encoding: identity' "
    "'http://docker/containers/{container}/archive?path=/{root}' | tee >(sha256sum >{folder}/sum) "
    "| zstd -q -T2 >{folder}/floor.tar.zst; sync {folder}/floor.tar.zst"
)

INTRODUCTION = """\
## Snapshot

Floor: `curl … | tee >(sha256sum) | zstd -T2 > FILE; sync FILE` of the same archive stream (identity
encoding), alternating with dockmend's snapshot; {rounds} rounds after one to warm up; rates of the
median and the fastest round. dockmend's time holds the helper's making and removal, the look
through the volume for what is not kept, the manifest and all fsyncs. `sync FILE` is kinder to the
floor than `sync`, which also waits for what others write.
Load average before and after: {before:.1f}, {after:.1f}; both pipelines want two cores.

| volume | archive | compressed: floor, dockmend | floor MB/s | dockmend MB/s | ratio (≥ 0.9) |
| --- | --- | --- | --- | --- | --- |"""


@dataclass(frozen=True)
class Speed:
    """Seconds of every round, the pipeline's and dockmend's, and the archive's bytes."""

    name: str
    floor: list[float]
    own: list[float]
    size: int
    packed: int
    floor_packed: int

    @property
    def ratio(self) -> float:
        return statistics.median(self.floor) / statistics.median(self.own)

    def rates(self, seconds: list[float]) -> str:
        return (
            f"{self.size / statistics.median(seconds) / 1e6:.0f} (fastest "
            f"{self.size / min(seconds) / 1e6:.0f})"
        )


def fill(folder: Path, mib: int, files: int) -> None:
    """Half words (a quarter of their size when compressed), half noise: about what a database's
    folder is like."""
    dice = random.Random(1)
    words = [
        bytes(dice.choices(b"abcdefghijklmnopqrstuvwxyz", k=dice.randint(3, 9)))
        for _ in range(5000)
    ]
    text = b" ".join(dice.choices(words, k=100_000))
    each = mib * MIB // files
    for number in range(files):
        with (folder / f"{number:06}").open("wb") as file:
            left = each
            while left:
                piece = (text if dice.random() < 0.5 else dice.randbytes(min(left, len(text))))[
                    :left
                ]
                file.write(piece)
                left -= len(piece)


def floor(engine: PrivateEngine, container: str, folder: Path) -> float:
    command = FLOOR.format(socket=engine.socket, container=container, root=ROOT, folder=folder)
    began = time.perf_counter()
    subprocess.run(["bash", "-c", command], check=True)
    return time.perf_counter() - began


async def compare(
    engine: PrivateEngine, name: str, volume: str, rounds: int, folder: Path
) -> Speed:
    client = DockerEngine(engine.url)
    store = SnapshotStore(folder / "snapshots")
    own: list[float] = []
    floors: list[float] = []
    size = packed = 0
    try:
        await client.connect()
        source = HelperSource("volume", volume)
        own_objects = owning(client)
        async with helper(own_objects, source, "bench", read_only=True) as container:
            for number in range(rounds + 1):
                floors.append(floor(engine, container, folder))
                began = time.perf_counter()
                manifest = await take(
                    owning(client), store, source, Why(f"bench-{number}"), time.time
                )
                own.append(time.perf_counter() - began)
                size, packed = manifest.bytes, manifest.compressed_bytes
                store.remove(manifest.id)
    finally:
        await client.close()
    floor_packed = (folder / "floor.tar.zst").stat().st_size
    # the first round warms the page cache
    return Speed(name, floors[1:], own[1:], size, packed, floor_packed)


def memory(url: str, volume: str, folder: str) -> int:
    """In a fresh process: bytes by which the resident set grew during one snapshot at its peak."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory, (url, volume, folder))


def _memory(url: str, volume: str, folder: str) -> int:
    async def run() -> int:
        client = DockerEngine(url)
        store = SnapshotStore(Path(folder) / "snapshots")
        try:
            await client.connect()
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            before = _status("VmRSS")
            manifest = await take(
                owning(client), store, HelperSource("volume", volume), Why("bench"), time.time
            )
            store.remove(manifest.id)
            return _status("VmHWM") - before
        finally:
            await client.close()

    return asyncio.run(run())


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def report(speeds: list[Speed], peaks: dict[int, int], rounds: int, load: float) -> str:
    lines = [INTRODUCTION.format(rounds=rounds, before=load, after=os.getloadavg()[0])]
    for each in speeds:
        verdict = "" if each.ratio >= 0.9 else " (not reached)"
        lines.append(
            f"| {each.name} | {each.size / MIB:.0f} MiB | {each.floor_packed / MIB:.0f}, "
            f"{each.packed / MIB:.0f} MiB | {each.rates(each.floor)} | {each.rates(each.own)} | "
            f"{each.ratio:.2f}{verdict} |"
        )
    lines += [
        "",
        (
            "Memory: peak resident set during a snapshot less that before it (target < 60 MiB for "
            "any size)."
        ),
        "",
    ]
    lines += ["| archive | more memory |", "| --- | --- |"]
    lines += [f"| {mib} MiB | {peak / MIB:.0f} MiB |" for mib, peak in peaks.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    engine = PrivateEngine().start()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shapes = {
                "large": ("8 files", options.mib, 8),
                "small": (f"{options.mib * 40} small files", options.mib // 2, 0),
            }
            speeds = []
            for volume, (title, mib, files) in shapes.items():
                engine.docker("volume", "create", volume)
                fill(mountpoint(engine, volume), mib, files or options.mib * 40)
                speeds.append(asyncio.run(compare(engine, title, volume, options.rounds, folder)))
            peaks = {}
            for mib in (64, options.mib, options.mib * 4):
                volume = f"memory-{mib}"
                engine.docker("volume", "create", volume)
                fill(mountpoint(engine, volume), mib, 4)
                peaks[mib] = memory(engine.url, volume, name)
                engine.docker("volume", "rm", volume)
    finally:
        engine.stop()
    text = report(speeds, peaks, options.rounds, load)
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text)


def mountpoint(engine: PrivateEngine, volume: str) -> Path:
    return Path(json.loads(engine.docker("volume", "inspect", volume))[0]["Mountpoint"])


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(sys.path))
    main()
