"""An engine that refuses for a while in the middle of a recreation: what stands half-way is
finished or taken back."""

from __future__ import annotations

import pytest

from tests.integration.test_groups_killed import (
    KNOWN,
    NEW,
    dependents,
    each_is_there_once,
    owner,
    proxy,
)
from tests.integration.test_killed import Killed
from tests.integration.vpn import RULE
from tests.lab import HoldingProxy, PrivateEngine, eventually

pytestmark = pytest.mark.timeout(400)
__all__ = ["proxy"]

REFUSED = {
    "to start the new ones, and to take them away again": (
        f"POST .*/containers/{NEW}/start",
        f"DELETE .*/containers/{NEW}",
    ),
    "to give the old ones their names back": (
        f"POST .*/containers/{NEW}/start",
        r"POST .*/rename\?name=(one|two) ",
    ),
    "to remove the old ones": (f"DELETE .*/containers/{KNOWN}",),
}


@pytest.mark.parametrize("what", REFUSED)
def test_members_of_a_group(docker: PrivateEngine, proxy: HoldingProxy, what: str) -> None:
    owner(docker)
    ids = "|".join(dependents(docker).values())
    with Killed(docker, proxy, RULE) as killed:
        refusals = [
            proxy.refuse(
                pattern.replace(KNOWN, f"({ids})").replace(NEW, f"(?!{ids})[0-9a-f]{{64}}"), times=2
            )
            for pattern in REFUSED[what]
        ]
        docker.docker("rm", "--force", "vpn")
        owner(docker)
        eventually(
            lambda: all(each.taken == each.times for each in refusals),
            60,
            what="the engine refused",
        )
        each_is_there_once(docker, killed)
