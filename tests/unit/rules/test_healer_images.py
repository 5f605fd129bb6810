"""Other healers on the same host, told by their images."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.model import Container
from dockmend.rules.healer_images import foreign_healers, healers_changed, other_dockmends


@pytest.mark.parametrize(
    ("image", "state", "found"),
    [
        ("willfarrell/autoheal:1.2.0", "running", True),
        ("willfarrell/autoheal", "running", True),
        ("registry.example:5000/mirror/autoheal@sha256:00", "running", True),
        ("qmcgaw/deunhealth", "running", True),
        ("willfarrell/autoheal", "exited", False),
        ("shop/autohealer-docs", "running", False),
        ("nginx", "running", False),
    ],
)
def test_other_healers_are_known_by_their_image(image: str, state: str, found: bool) -> None:
    assert foreign_healers([Container(id="1", name="other", image=image, state=state)]) == (
        ["other"] if found else []
    )


@pytest.mark.parametrize(
    ("image", "more", "found"),
    [
        ("dockmend", {}, True),
        ("registry.example:5000/tools/dockmend:0.1@sha256:00", {}, True),
        ("mine", {"image_labels": {"org.opencontainers.image.title": "dockmend"}}, True),
        ("dockmend", {"state": "exited"}, False),
        # docker compose run dockmend check
        ("dockmend", {"labels": {"com.docker.compose.oneoff": "True"}}, False),
        ("dockmend-proxy", {}, False),
        ("nginx", {"labels": {"dockmend.heal": "true"}}, False),
    ],
)
def test_another_dockmend_is_known_by_its_image(
    image: str, more: dict[str, Any], found: bool
) -> None:
    one = Container(id="1" * 64, name="other", image=image, **{"state": "running", **more})
    assert other_dockmends([one], lambda each: False) == (["other"] if found else [])
    assert other_dockmends([one], lambda each: each is one) == []
    assert healers_changed(None, one) is found
