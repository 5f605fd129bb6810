"""The container dockmend runs in is known by its own mounts, and no other container is taken for
it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockmend.own_container import in_container, own_containers

ME, OTHER = "a" * 64, "b" * 64
FOLDER, STORE = "/var/lib/docker/containers", "/containers/storage/overlay-containers"
INSIDE = f"""\
612 595 8:1 {FOLDER}/{ME}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw
613 595 8:1 {FOLDER}/{ME}/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw
614 595 8:1 {FOLDER}/{ME}/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
"""
IN_PODMAN = f"""\
612 595 0:25 {STORE}/{ME}/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw
"""
ON_THE_HOST = f"""\
25 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
90 25 0:55 / /var/lib/docker/containers/{OTHER}/mounts/shm rw,nosuid - tmpfs shm rw,size=65536k
"""


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (INSIDE, {ME}),
        (IN_PODMAN, {ME}),
        (ON_THE_HOST, set()),
        (INSIDE + ON_THE_HOST, {ME}),
        ("", set()),
        ("x\n", set()),
    ],
)
def test_whose_mounts_they_are(tmp_path: Path, text: str, own: set[str]) -> None:
    path = tmp_path / "mountinfo"
    path.write_text(text)
    assert own_containers(path) == own


def test_without_mounts_to_read_it_runs_in_none(tmp_path: Path) -> None:
    assert own_containers(tmp_path / "nothing") == set()


def test_where_its_id_cannot_be_found_the_engines_mark_says_that_it_runs_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dockmend.own_container.own_containers", frozenset)
    mark = tmp_path / ".containerenv"
    assert not in_container([mark])
    mark.touch()
    assert in_container([mark])
