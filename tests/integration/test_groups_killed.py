"""dockmend killed at every journalled step of a group's restart: one of each member is left,
running, named right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.stories import all_told, incidents, stories
from tests.integration.test_killed import MOMENTS, Killed
from tests.integration.vpn import RULE
from tests.lab import HoldingProxy, PrivateEngine, eventually
from tests.lab.proxy import When

pytestmark = [pytest.mark.timeout(400), pytest.mark.deaths]
REJOIN = ("--label", "dockmend.rejoin=true", "--stop-timeout", "2")
GROUP = ("one", "two", "deep")


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


def owner(docker: PrivateEngine) -> None:
    docker.run("vpn", "--restart", "always", "--stop-timeout", "2")


def dependents(docker: PrivateEngine) -> dict[str, str]:
    """Two behind the owner, and one that hangs on one of them; their ids."""
    docker.run("one", "--network", "container:vpn", *REJOIN)
    docker.run("two", "--network", "container:vpn", *REJOIN)
    docker.run("deep", "--label", "dockmend.depends-on=one", "--stop-timeout", "2")
    return {name: str(docker.inspect(name)["Id"]) for name in GROUP}


def each_is_there_once(docker: PrivateEngine, killed: Killed) -> None:
    """One survivor of each, running, under its name, in the network of the owner as it is now."""

    def over() -> bool:
        found = incidents(killed.daemon)
        return bool(found) and all(each.state == "closed" for each in found)

    eventually(over, 180, what="everything is treated")
    rows = docker.api("GET", "/containers/json?all=1")[1]
    assert sorted((row["Names"][0], row["State"]) for row in rows) == sorted(
        (f"/{name}", "running") for name in ("vpn", *GROUP)
    )
    address = f"inet {docker.inspect('vpn')['NetworkSettings']['IPAddress']}/"
    for name in ("one", "two"):
        assert address in docker.docker("exec", name, "ip", "-o", "addr")
    assert (
        docker.inspect("deep")["State"]["StartedAt"] > docker.inspect("one")["State"]["StartedAt"]
    )
    assert [each.outcome for each in incidents(killed.daemon)] == ["healed"], stories(killed.daemon)
    all_told(killed.daemon)


RESTARTED = {"deep is stopped": ("deep", "stop"), "one": ("one", "restart"),
    "two": ("two", "restart"),
             "deep is started": ("deep", "start")}  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", RESTARTED)
def test_an_owner_that_was_restarted(
    docker: PrivateEngine, proxy: HoldingProxy, step: str, moment: When
) -> None:
    owner(docker)
    ids = dependents(docker)
    name, action = RESTARTED[step]
    with Killed(docker, proxy, RULE) as killed:
        hold = proxy.hold(f"POST /v[0-9.]+/containers/{ids[name]}/{action}", moment)
        docker.docker("restart", "vpn")
        killed.dies(hold)
        each_is_there_once(docker, killed)


KNOWN, NEW = "KNOWN", "NEW"
REPLACED = {
    "deep is stopped": f"POST /v[0-9.]+/containers/{KNOWN}/stop",
    "the new one is made": r"POST /v[0-9.]+/containers/create\?name=one",
    "the old one is stopped": f"POST /v[0-9.]+/containers/{KNOWN}/stop",
    "the old one is set aside": f"POST /v[0-9.]+/containers/{KNOWN}/rename",
    "the new one takes the name": f"POST /v[0-9.]+/containers/{NEW}/rename",
    "the new one is started": f"POST /v[0-9.]+/containers/{NEW}/start",
    "the old one is removed": f"DELETE /v[0-9.]+/containers/{KNOWN}",
}
"""Steps of the recreation of `one`, and of `deep`'s stop before it."""


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", REPLACED)
def test_an_owner_that_was_replaced(
    docker: PrivateEngine, proxy: HoldingProxy, step: str, moment: When
) -> None:
    owner(docker)
    ids = dependents(docker)
    known = ids["deep"] if step.startswith("deep") else ids["one"]
    others = "|".join(ids.values())
    pattern = REPLACED[step].replace(KNOWN, known).replace(NEW, f"(?!{others})[0-9a-f]{{64}}")
    with Killed(docker, proxy, RULE) as killed:
        hold = proxy.hold(pattern, moment)
        docker.docker("rm", "--force", "vpn")
        owner(docker)
        killed.dies(hold)
        each_is_there_once(docker, killed)
        vpn = docker.inspect("vpn")["Id"]
        modes = {docker.inspect(name)["HostConfig"]["NetworkMode"] for name in ("one", "two")}
        assert modes == {f"container:{vpn}"}
