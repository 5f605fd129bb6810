"""The index of owners says what a look at every reference says, whatever happened in which
order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dockmend.mirror import Mirror
from dockmend.mirror.resolver import Resolver
from dockmend.model import Container
from tests.unit.mirror.host import Host

IDS = tuple(f"{number:064x}" for number in range(0xA0, 0xA6))
NAMES = ("vpn", "web", "db")
LABELS: tuple[dict[str, str], ...] = (
    {},
    {"com.docker.compose.project": "shop", "com.docker.compose.service": "vpn"},
)
REFERENCES = (*IDS[:3], *NAMES, IDS[0][:12], IDS[5][:60])

DEED = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(IDS), st.sampled_from(NAMES), st.sampled_from(LABELS),
        st.booleans(),
              st.sampled_from(("", *REFERENCES)), st.sampled_from(("", *REFERENCES))),
    st.tuples(st.just("remove"), st.sampled_from(IDS)),
    st.tuples(st.just("rename"), st.sampled_from(IDS), st.sampled_from(NAMES)),
    st.tuples(st.just("run"), st.sampled_from(IDS), st.booleans()),
    st.tuples(st.just("heir"), st.sampled_from(IDS), st.sampled_from(IDS)),
    st.tuples(st.just("stand in"), st.sampled_from(IDS), st.sampled_from(IDS)),
)  # fmt: skip


def do(host: Host, deed: tuple) -> None:  # type: ignore[type-arg]
    mirror, what, one = host.mirror, deed[0], deed[1]
    found = mirror.entries.get(one)
    if what == "add" and found is None:
        _, _, name, labels, runs, joined, ipc = deed
        state = "running" if runs else "exited"
        modes = {"network_mode": f"container:{joined}"} if joined else {}
        modes |= {"ipc_mode": f"container:{ipc}"} if ipc else {}
        host.look(host.container(id=one, name=name, labels=labels, state=state, **modes))
    elif what == "remove" and found is not None:
        mirror.gone(one, host.now)
    elif what == "rename" and found is not None:
        mirror.put(found, replace(found.container, name=deed[2]))
    elif what == "run" and found is not None:
        mirror.put(found, replace(found.container, state="running" if deed[2] else "exited"))
    elif what == "heir":
        mirror.succeeded(one, deed[2])
    elif what == "stand in":
        mirror.identities.stands_in(one, deed[2])


def meant(mirror: Mirror, reference: str) -> str:
    found = Resolver(mirror, mirror.identities).container(reference)
    return found.id if found is not None else ""


def living_in(mirror: Mirror, container_id: str) -> set[str]:
    heir_of = mirror.identities.heir_of
    heir = heir_of(container_id)
    found = set()
    for each in mirror.containers():
        for named in each.owners:
            who = meant(mirror, named)
            if container_id in (named, who) or heir in (heir_of(named), who):
                found.add(each.id)
    return found - {container_id, heir}


def guests(mirror: Mirror, owner: str) -> set[str]:
    root, found = mirror.of_owner(owner), set[str]()
    for each in mirror.containers():
        if each.joined is None or each.one_off:
            continue
        who = meant(mirror, each.joined)
        if (who and root is not None and who == root.id) or (
            not who and root is None and mirror._is_called(each.joined, owner)
        ):
            found.add(each.id)
    return found - {root.id if root is not None else ""}


def as_a_look_at_all_says(mirror: Mirror) -> None:
    references = {each for container in mirror.containers() for each in container.owners}
    assert mirror.owned_by.all_meant() == {each: meant(mirror, each) for each in references}
    for each in IDS:
        assert {one.id for one in mirror.living_in(each)} == living_in(mirror, each)
    owners = {mirror.owner_key(each) for each in mirror.containers() if each.joined}
    for owner in (*owners, *(f"container:{name}" for name in NAMES), "compose:shop/vpn/1"):
        assert {one.id for one in mirror.guests(owner)} == guests(mirror, owner), owner


HEIR: list[tuple[Any, ...]] = [
    ("add", IDS[3], "web", {}, True, IDS[0], ""), ("add", IDS[4], "db", {}, True, "", ""),
    ("heir", IDS[0], IDS[4]),
]  # fmt: skip


@example(HEIR)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(DEED, max_size=25))
def test_the_index_of_owners_says_what_a_look_at_all_says(deeds: list[tuple]) -> None:  # type: ignore[type-arg]
    host = Host()
    host.relist(first=True)
    for deed in deeds:
        do(host, deed)
        as_a_look_at_all_says(host.mirror)


def test_what_one_owner_costs_does_not_grow_with_how_many_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def looks(owners: int) -> int:
        host, count = Host(), 0
        every = []
        for number in range(owners):
            every.append(host.container(id=f"{number + 4096:064x}", name=f"vpn-{number}"))
            every.append(host.container(
                id=f"{number + 999424:064x}", name=f"app-{number}",
                network_mode=f"container:{number + 4096:064x}"
            ))  # fmt: skip
        host.relist(*every, first=True)
        for number in range(owners):
            host.mirror.gone(f"{number + 4096:064x}", host.now)
        container = Resolver.container

        def counted(self: Resolver, reference: str) -> Container | None:
            nonlocal count
            count += 1
            return container(self, reference)

        host.mirror.guests("container:vpn-0")
        monkeypatch.setattr(Resolver, "container", counted)
        for number in range(owners):
            assert len(host.mirror.guests(f"container:vpn-{number}")) == 1
        monkeypatch.undo()
        return count

    assert looks(60) <= 60


def test_a_container_that_names_another_owner_than_before_is_no_longer_found_by_the_first():
    host = Host()
    guest, first, second = IDS[:3]
    host.look(host.container(id=guest, network_mode=f"container:{first}"))
    host.look(host.container(id=guest, network_mode=f"container:{second}"))
    naming = host.mirror.owned_by.naming
    assert (list(naming(first)), list(naming(second))) == ([], [guest])
    host.mirror.gone(guest, host.now)
    assert list(naming(second)) == []
    host.look(host.container(id=first, name="vpn"))  # who hangs on it is looked at
