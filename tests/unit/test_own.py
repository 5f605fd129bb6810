"""The container dockmend runs in is known by its own mounts, and no other container is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockmend.app.own import own_containers

ME, OTHER = "a" * 64, "b" * 64
INSIDE = f"""\
612 595 8:1 /var/lib/docker/containers/{ME}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw
613 595 8:1 /var/lib/docker/containers/{ME}/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw
614 595 8:1 /var/lib/docker/containers/{ME}/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
"""
ON_THE_HOST = f"""\
25 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
90 25 0:55 / /var/lib/docker/containers/{OTHER}/mounts/shm rw,nosuid - tmpfs shm rw,size=65536k
"""


@pytest.mark.parametrize(
    ("text", "own"), [(INSIDE, {ME}), (ON_THE_HOST, set()), (INSIDE + ON_THE_HOST, {ME}), ("", set()), ("x\n", set())]
)
def test_whose_mounts_they_are(tmp_path: Path, text: str, own: set[str]) -> None:
    path = tmp_path / "mountinfo"
    path.write_text(text)
    assert own_containers(path) == own


def test_without_mounts_to_read_it_runs_in_none(tmp_path: Path) -> None:
    assert own_containers(tmp_path / "nothing") == set()
