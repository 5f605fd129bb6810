"""Answers of the engine that were asked for before an event was heard: what the event told
stays."""

from __future__ import annotations

from msgspec.structs import replace

from dockmend.model import Container, HealthCheck
from tests.unit.mirror.host import ID, Host


def host(health: str) -> tuple[Host, Container]:
    one = Host()
    container = one.container(check=HealthCheck(), health=health)
    one.relist(container, first=True)
    one.seen.clear()
    return one, container


def health(one: Host) -> str:
    found = one.mirror.container(ID)
    assert found is not None
    return found.health


def test_an_older_answer_does_not_take_back_a_health_and_another_look_makes_sure() -> None:
    one, starting = host("starting")
    asked = one.mirror.heard(ID)
    one.now += 1
    one.emit("health_status: healthy")
    one.mirror.observe(starting, one.now, asked=asked)
    assert health(one) == "healthy"
    assert one.mirror.wanted == {ID}
    one.mirror.observe(replace(starting, health="healthy"), one.now, asked=one.mirror.heard(ID))
    assert one.triggers() == ["container.healthy"]


def test_nor_does_an_older_list() -> None:
    one, starting = host("starting")
    asked = {ID: one.mirror.heard(ID)}
    one.now += 1
    one.emit("health_status: healthy")
    one.mirror.relist([starting], (), (), one.now, asked=asked)
    assert health(one) == "healthy"
    assert one.mirror.wanted == {ID}


def test_unhealthy_is_one_trouble_whatever_older_answers_say() -> None:
    one, well = host("healthy")
    asked = one.mirror.heard(ID)
    one.now += 1
    one.emit("health_status: unhealthy")
    (told,) = one.seen
    one.seen += one.mirror.observe(well, one.now, asked=asked)
    one.seen += one.mirror.observe(
        replace(well, health="unhealthy"), one.now, asked=one.mirror.heard(ID)
    )
    assert one.seen == [told]
    assert one.mirror.stands(ID, told.trouble)


def test_an_answer_asked_for_after_the_event_is_believed() -> None:
    one, well = host("healthy")
    one.now += 1
    one.emit("health_status: unhealthy")
    one.seen += one.mirror.observe(well, one.now, asked=one.mirror.heard(ID))
    assert one.triggers() == ["container.unhealthy", "container.healthy"]
    assert one.mirror.standing() == []


def test_an_answer_of_a_later_run_is_believed() -> None:
    one, well = host("healthy")
    asked = one.mirror.heard(ID)
    one.now += 1
    one.emit("health_status: unhealthy")
    again = replace(well, started_at=one.now, health="starting")
    one.mirror.observe(again, one.now, asked=asked)
    assert health(one) == "starting"


def test_what_was_listed_before_it_went_does_not_come_back() -> None:
    one, well = host("healthy")
    one.now += 1
    one.emit("destroy")
    one.seen.clear()
    one.relist(well)
    assert one.triggers() == []
    assert list(one.mirror.containers()) == []
    assert one.mirror.wanted == {ID}  # a look makes sure
    one.look(well)
    assert one.mirror.container(ID) is not None


def test_a_health_event_that_does_not_say_which_is_looked_into() -> None:
    """Podman's: `health_status` alone."""
    one, well = host("healthy")
    one.now += 1
    one.emit("health_status")
    assert one.mirror.wanted == {ID}
    assert one.seen == []
    one.seen += one.mirror.observe(
        replace(well, health="unhealthy"), one.now, asked=one.mirror.heard(ID)
    )
    assert one.triggers() == ["container.unhealthy"]


def began(one: Host) -> Container:
    """A container of which only events are known: it was started, and turned unhealthy."""
    one.relist(first=True)
    container = one.container(check=HealthCheck(), started_at=one.now)
    one.emit("create", name="web")
    one.emit("start", name="web")
    one.now += 1
    one.emit("health_status: unhealthy", name="web")
    return container


def test_a_list_begun_before_a_new_container_turned_healthy_tells_no_second_trouble() -> None:
    one = Host()
    listed = replace(began(one), health="unhealthy")
    one.now += 1
    one.emit("health_status: healthy", name="web")
    one.seen += one.mirror.relist([listed], (), (), one.now, asked={})
    assert one.triggers() == ["container.started", "container.unhealthy", "container.healthy"]
    assert (health(one), one.mirror.wanted) == ("healthy", {ID})  # a look makes sure


def test_nor_does_an_inspect_that_was_asked_for_before() -> None:
    one = Host()
    listed = replace(began(one), health="unhealthy")
    asked = one.mirror.heard(ID)
    one.now += 1
    one.emit("health_status: healthy", name="web")
    one.seen += one.mirror.observe(listed, one.now, asked=asked)
    assert one.triggers() == ["container.started", "container.unhealthy", "container.healthy"]
    assert (health(one), one.mirror.wanted) == ("healthy", {ID})


def test_an_inspect_that_was_asked_for_after_the_last_event_of_a_new_container_is_believed() -> (
    None
):
    one = Host()
    seen = replace(began(one), health="healthy")  # its event is still on its way
    one.seen += one.mirror.observe(seen, one.now, asked=one.mirror.heard(ID))
    assert one.triggers() == ["container.started", "container.unhealthy", "container.healthy"]
    assert health(one) == "healthy"
