"""Other healers on the same host, told by their images."""

from __future__ import annotations

import pytest

from dockmend.model import Container
from dockmend.rules.healer_images import foreign_healers


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
    assert foreign_healers([Container(id="1", name="other", image=image, state=state)]) == (["other"] if found else [])
