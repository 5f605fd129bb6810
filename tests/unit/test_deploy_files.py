"""The files of a container installation work from a clone of any owner and umask."""

from __future__ import annotations

from pathlib import Path

import yaml

TOP = Path(__file__).resolve().parents[2]


def test_compose_mounts_nothing_of_the_clone():
    """Rule files of a clone belong to a user and may be group-writable: dockmend refuses them, and does nothing."""
    services = yaml.safe_load((TOP / "deploy/compose.yaml").read_text())["services"]
    mounts = services["dockmend"]["volumes"]
    assert [each for each in mounts if each.startswith(".")] == []


def test_the_image_closes_its_rule_files_and_is_unhealthy_if_they_are_refused():
    lines = (TOP / "deploy/Dockerfile").read_text()
    assert "install -m 644 rules.d/*.yaml /etc/dockmend/rules.d/" in lines
    assert "COPY rules.d /etc" not in lines
    assert "/readyz" in lines.partition("HEALTHCHECK")[2].partition("\n#")[0]
