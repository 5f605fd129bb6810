"""Whom a reference in a definition means."""

from __future__ import annotations

from dockmend.mirror.identities import Identities
from dockmend.mirror.resolver import Resolver, Snapshot
from dockmend.model import Container

GONE = "ab" * 32


def test_nobody_takes_the_place_of_one_that_is_gone_by_its_id_as_a_name():
    stranger = Container(id="1" * 64, name=GONE)
    assert Resolver(Snapshot([stranger]), Identities()).container(GONE) is None


def test_a_name_is_no_beginning_of_an_id():
    stranger = Container(id="db" + "1" * 62, name="other")
    assert Resolver(Snapshot([stranger]), Identities()).container("db") is None
