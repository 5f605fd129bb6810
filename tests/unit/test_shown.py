"""What is shown of a container: nothing that looks like a secret."""

from __future__ import annotations

import pytest

from dockmend.app.daemon_commands import container_row
from dockmend.cli.doctor_checks import labels
from dockmend.model import Container, Endpoint


def test_a_driver_option_of_a_network_is_shown_without_its_secret() -> None:
    place = Endpoint(
        "n1", driver_opts={"password": "hunter22", "com.docker.network.endpoint.ifname": "eth7"}
    )
    row = container_row(Container(id="c" * 64, name="web", networks={"lan": place}))
    shown = {"password": "***", "com.docker.network.endpoint.ifname": "eth7"}
    assert row["networks"]["lan"]["driver_opts"] == shown


@pytest.mark.parametrize("own", [True, False], ids=["its own", "of its image"])
def test_doctor_names_a_label_that_means_nothing_without_its_secret(own: bool) -> None:
    given = {"dockmend.token": "hunter22", "dockmend.url": "discord://1/hunter22"}
    container = Container(
        id="c" * 64, name="web", labels=given if own else {}, image_labels={} if own else given
    )
    found = labels([container], ())
    assert len(found) == len(given)
    assert "hunter22" not in repr(found)
