"""Names like those that a recreation gives: whose they are, while the container is there and
after."""

from __future__ import annotations

import pytest

from dockmend.engine.wire import plain_link
from dockmend.mirror.identities import GONE_KEPT, SWEPT_AT, Identities
from dockmend.mirror.proven_names import ProvenNames
from dockmend.model import aside_name, target_of
from dockmend.owned import OwnedObject, OwnedObjects
from tests.unit.mirror.host import ID, Host

INCIDENT = "i0abc0abc0abc0ab"
OLD = aside_name("web", "old", INCIDENT)
ROW = OwnedObject("o1", "container", OLD, "", INCIDENT, "aside", 0.0, ID)


@pytest.mark.parametrize("told", ["event", "event of one that was never looked at", "look", "heir"])
def test_it_is_dockmends_while_it_is_there_and_after_also_for_the_next_dockmend(told: str):
    host = Host()
    host.relist(*([] if "never" in told else [host.container()]), first=True)
    host.mirror.owned.put(ROW)
    if told.startswith("event"):
        host.emit("rename", name=OLD)
    elif told == "look":
        host.look(host.container(name=OLD))
    else:
        host.mirror.succeeded(ID, "7" * 64)
    assert ProvenNames(host.mirror.owned, Identities()).plain_name(OLD) == "web"
    host.mirror.owned.drop(ROW)
    restored = Identities()
    restored.restore(ID, host.mirror.identities.encoded(ID) or b"")
    proven = ProvenNames(OwnedObjects(), restored)
    assert plain_link(f"/{OLD}:/db/{OLD}", proven.plain_name) == f"/web:/db/{OLD}"
    assert plain_link(f"/db:/{OLD}/alias", proven.plain_name) == "/db:/web/alias"


@pytest.mark.parametrize("heard", ["event", "look"])
def test_a_strangers_is_the_strangers_and_stays_it(heard: str):
    host = Host()
    stranger = host.container(id="5" * 64, name=OLD)
    host.relist(host.container(), first=True)
    if heard == "event":
        host.mirror.owned.put(ROW)  # the row of another container
        host.emit("rename", id=stranger.id, name=OLD)
        host.mirror.owned.drop(ROW)
    else:
        host.look(stranger)
    proven = ProvenNames(host.mirror.owned, host.mirror.identities)
    assert proven.judged(stranger).plain_name == OLD
    assert plain_link(f"/{OLD}:/{OLD}/alias", proven.plain_name) == f"/{OLD}:/{OLD}/alias"


def test_a_name_that_is_still_asked_about_is_not_forgotten():
    memory = Identities()
    for number in range(2):
        memory.set_aside(f"{number:064x}", aside_name("web", "old", f"i{number:015d}"))
    for number in range(2, GONE_KEPT + SWEPT_AT):
        memory.named(f"{number:064x}", "other")
    assert memory.was_set_aside(aside_name("web", "old", f"i{0:015d}"))
    memory.forget((), ())
    assert memory.was_set_aside(aside_name("web", "old", f"i{0:015d}"))
    assert not memory.was_set_aside(aside_name("web", "old", f"i{1:015d}"))


def test_a_known_stranger_that_takes_such_a_name_is_called_by_it():
    host = Host()
    stranger = "5" * 64
    host.relist(host.container(), host.container(id=stranger, name="other"), first=True)
    host.emit("rename", id=stranger, name=OLD)
    found = host.mirror.container(stranger)
    assert found is not None
    assert target_of(found) == f"container:{OLD}"


def test_a_stranger_of_such_a_name_that_was_gone_before_a_look_is_called_by_it():
    host = Host()
    stranger = "5" * 64
    host.relist(host.container(), first=True)
    for action in ("create", "start", "die"):
        host.emit(action, id=stranger, name=OLD, image="x", exitCode="3")
    host.mirror.gone(stranger, host.now)
    host.wait(60)
    assert {change.target for change in host.seen} == {f"container:{OLD}"}
