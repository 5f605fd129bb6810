"""compose_restart on a real Compose project: in order, conditions waited for, a death at every step
survived."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dockmend.engine.engine_times import epoch
from tests.integration.healing import daemon
from tests.integration.shop import RUNNING, Shop
from tests.integration.stories import all_told, closed, incidents, stories
from tests.integration.test_killed import Killed
from tests.lab import HoldingProxy, PrivateEngine, eventually
from tests.lab.proxy import When

RULE = """
version: 1
rules:
  - name: group
    when: container.unhealthy
    match: {compose: {project: shop}}
    then: compose_restart
    verify: {within: 60s}
"""
SERVICES = RULE.replace(
    "then: compose_restart", "then: {compose_restart: {services: [web], timeout: 1s}}"
)


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


@pytest.fixture
def shop(docker: PrivateEngine, tmp_path: Path) -> Shop:
    one = Shop(docker, tmp_path / "shop")
    one.up()
    docker.docker("stop", "--time", "1", "shop-extra-1")
    return one


def sicken(docker: PrivateEngine, name: str = "shop-db-1") -> None:
    docker.docker("exec", name, "rm", "-f", "/tmp/well")


def test_a_project_is_restarted_in_order_and_what_a_person_stopped_stays_stopped(
    docker: PrivateEngine, shop: Shop
) -> None:
    before = shop.began()
    with daemon(docker, RULE, config="heal: off\n") as one:
        sicken(docker)

        (incident,) = closed(one, rule="group", timeout=120)

        assert incident.outcome == "healed", incident
        after = shop.began()
        assert {name for name in after if after[name] != before[name]} == set(RUNNING)
        ((_, done),) = stories(one)
        steps = [
            (each.action, each.object_name) for each in done if each.action != "compose_restart"
        ]
        assert steps == [
            ("stop", "shop-worker-1"), ("stop", "shop-web-1"), ("stop", "shop-db-1"),
            ("start", "shop-db-1"), ("start", "shop-web-1"), ("start", "shop-worker-1"),
        ]  # fmt: skip
        (group,) = [each for each in done if each.action == "compose_restart"]
        assert group.detail.startswith("restarted in order: shop-db-1, shop-web-1, shop-worker-1;")
        assert "shop-extra-1 was left alone: " in group.detail
        started = [epoch(docker.inspect(name)["State"]["StartedAt"]) for name in RUNNING]
        # each becomes well a second after its start: who did not wait for it started within that
        # second
        assert started[1] - started[0] >= 1.0
        assert started[2] - started[1] >= 1.0
        assert docker.state("shop-extra-1") == "exited"
        all_told(one)


def test_of_a_service_only_what_feels_its_restart_is_restarted(
    docker: PrivateEngine, shop: Shop
) -> None:
    before = shop.began()
    with daemon(docker, SERVICES, config="heal: off\n") as one:
        sicken(docker, "shop-web-1")

        (incident,) = closed(one, rule="group", timeout=120)

        assert incident.outcome == "healed", incident
        after = shop.began()
        assert {name for name in after if after[name] != before[name]} == {
            "shop-web-1",
            "shop-worker-1",
        }


def test_what_is_protected_is_left_alone(docker: PrivateEngine, shop: Shop) -> None:
    before = shop.began()
    with daemon(
        docker, RULE, config="heal: off\npolicy: {protect: {name: [shop-worker-*]}}\n"
    ) as one:
        sicken(docker)

        (incident,) = closed(one, rule="group", timeout=120)

        assert incident.outcome == "healed"
        assert shop.began()["shop-worker-1"] == before["shop-worker-1"]
        ((_, done),) = stories(one)
        (group,) = [each for each in done if each.action == "compose_restart"]
        assert (
            "shop-worker-1 was left alone: the settings' policy protects name shop-worker-*"
            in group.detail
        )


def test_what_depends_on_one_that_does_not_come_back_is_not_started_and_said(
    docker: PrivateEngine, shop: Shop
) -> None:
    """It is unhealthy for good: whoever waits for its health waits in vain."""
    rule = RULE + "    limits: {attempts: 1 per 1h}\n"
    with daemon(docker, rule, config="heal: off\n") as one:
        docker.docker("exec", "shop-db-1", "touch", "/broken")
        sicken(docker)

        (incident,) = closed(one, rule="group", timeout=120)

        assert incident.outcome == "failed", incident
        assert (
            "shop-web-1 was not started: shop-db-1, on which it depends, is unhealthy"
            in incident.reason
        )
        assert docker.state("shop-web-1") == docker.state("shop-worker-1") == "exited"


def test_healed_only_once_what_was_stopped_for_it_runs_again(
    docker: PrivateEngine, proxy: HoldingProxy, shop: Shop
) -> None:
    """The engine refuses a member's start once; the target itself is well by then. The next attempt
    starts what is down, and nothing else."""
    before = shop.began()
    with Killed(docker, proxy, RULE) as killed:
        proxy.refuse(f"POST /v[0-9.]+/containers/{docker.inspect('shop-worker-1')['Id']}/start", 1)
        sicken(docker)

        (incident,) = closed(killed.daemon, rule="group", timeout=120)

        assert (incident.outcome, incident.attempts) == ("healed", 2), incident
        assert docker.state("shop-worker-1") == "running"
        assert (
            killed.events.actions("shop-db-1", "start")
            == killed.events.actions("shop-web-1", "start")
            == ["start"]
        )
        assert shop.began()["shop-extra-1"] == before["shop-extra-1"]
        all_told(killed.daemon)


def test_not_healed_if_what_was_stopped_for_it_stays_down(
    docker: PrivateEngine, proxy: HoldingProxy, shop: Shop
) -> None:
    with Killed(
        docker, proxy, RULE + "    limits: {attempts: 2 per 1h, backoff: 100ms to 1s}\n"
    ) as killed:
        proxy.refuse(f"POST /v[0-9.]+/containers/{docker.inspect('shop-worker-1')['Id']}/start", 9)
        sicken(docker)

        (incident,) = closed(killed.daemon, rule="group", timeout=120)

        assert (incident.outcome, incident.attempts) == ("failed", 2), incident
        assert "shop-worker-1" in incident.reason
        assert docker.state("shop-worker-1") == "exited"


MEANWHILE = {
    "just before dockmend stops it": ("shop-web-1", "stop"),
    "once it runs again, as the next one is started": ("shop-worker-1", "start"),
}


@pytest.mark.parametrize("moment", MEANWHILE)
def test_a_member_that_a_person_stops_meanwhile_stays_down_and_the_others_run(
    docker: PrivateEngine, proxy: HoldingProxy, shop: Shop, moment: str
) -> None:
    name, verb = MEANWHILE[moment]
    with Killed(docker, proxy, RULE) as killed:
        call = f"POST /v[0-9.]+/containers/{docker.inspect(name)['Id']}/{verb}"
        deed = proxy.meanwhile(call, lambda: docker.docker("stop", "--time", "1", "shop-web-1"))
        sicken(docker)

        assert deed.done.wait(60)
        closed(killed.daemon, rule="group", outcome="healed", timeout=120)

        assert docker.state("shop-web-1") == "exited"
        assert docker.state("shop-db-1") == docker.state("shop-worker-1") == "running"
        starts = killed.events.actions("shop-web-1", "start")
        assert starts == ([] if verb == "stop" else ["start"])
        all_told(killed.daemon)


STEPS: dict[str, tuple[str, str, When]] = {
    "the first stop is asked for": ("shop-worker-1", "stop", "before"),
    "in the middle of the stops": ("shop-web-1", "stop", "after"),
    "the last stop": ("shop-db-1", "stop", "during"),
    "before the first start": ("shop-db-1", "start", "before"),
    "between the starts": ("shop-web-1", "start", "before"),
    "after the last start": ("shop-worker-1", "start", "after"),
}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_every_member_that_ran_runs(
    docker: PrivateEngine, proxy: HoldingProxy, shop: Shop, step: str
) -> None:
    name, verb, when = STEPS[step]
    before = shop.began()
    with Killed(docker, proxy, RULE) as killed:
        hold = proxy.hold(f"POST /v[0-9.]+/containers/{docker.inspect(name)['Id']}/{verb}", when)
        sicken(docker)

        killed.dies(hold)

        eventually(
            lambda: [each.state for each in incidents(killed.daemon, rule="group")] == ["closed"],
            120,
        )
        assert [each.outcome for each in incidents(killed.daemon, rule="group")] == ["healed"]
        after = shop.began()
        assert {one for one in after if after[one] != before[one]} == set(RUNNING)
        for one in RUNNING:
            assert docker.state(one) == "running"
            assert killed.events.actions(one, "start") == ["start"], one
        assert docker.state("shop-extra-1") == "exited"
        all_told(killed.daemon)
