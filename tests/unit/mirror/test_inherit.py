"""What one that took another's place knows of a network that it lacks."""

from __future__ import annotations

from dockmend.mirror.ends import Run
from dockmend.mirror.entry import Entry, Kept
from dockmend.model import Container, Endpoint

FIXED = Endpoint("n1", aliases=("web-alias",), ipv4="172.29.77.24", address="172.29.77.24")
BARE = Endpoint("n1", address="172.29.77.2")


def test_a_fixed_place_outlives_a_bare_one_that_a_look_saw_as_it_was_made():
    """`recreate` connects it plainly when it is made, and takes it out before it starts: the network was lost."""
    old = Kept(container=Container("1" * 64, "web"), run=Run(), good={"lane": FIXED}, lost={"lane": 5.0})
    new = Entry(Kept(container=Container("2" * 64, "web"), run=Run(), good={"lane": BARE}))
    new.inherit(old)
    place = new.kept.good["lane"]
    assert (place.ipv4, place.aliases, place.address) == ("172.29.77.24", ("web-alias",), "")
    assert new.kept.lost == {"lane": 5.0}
    again = dict(new.kept.good)
    new.inherit(old)
    assert new.kept.good == again


def test_a_place_that_it_has_is_its_own():
    old = Kept(container=Container("1" * 64, "web"), run=Run(), good={"lane": FIXED})
    new = Entry(Kept(container=Container("2" * 64, "web", networks={"lane": BARE}), run=Run(), good={"lane": BARE}))
    new.inherit(old)
    assert new.kept.good == {"lane": BARE}
