"""Whether a container may be out of its network, or in it in another way than it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from .fleet import NETWORK, Slot
from .ledger import Act, Ledger
from .lost_networks import LostNetworks
from .relay import Request
from .witness import EventLog, Seen

OLD, NEW = "a" * 64, "b" * 64
OUT: dict[str, Any] = {"NetworkSettings": {"Networks": {}}}


def judged(
    slot: Slot,
    told: list[tuple[float, str]],
    acts: list[tuple[str, float]],
    seen: dict[str, Any] = OUT,
    calls: tuple[Request, ...] = (),
) -> bool:
    """`told`: when the engine said "disconnect", and of which container; `acts`: what the driver
    did, and when."""
    engine: Any = None
    events, ledger = EventLog(engine), Ledger()
    for at, container in told:
        events._by_container.setdefault(container, []).append(
            Seen(at, "network", "disconnect", container)
        )
    for number, (kind, at) in enumerate(acts):
        ledger.note(Act(number, kind, slot.key, slot.id, at - 0.2, at + 0.2))
    relay = SimpleNamespace(
        changes=lambda container: [each for each in calls if each.container == container]
    )
    driver: Any = SimpleNamespace(events=events, ledger=ledger, relay=relay)
    networks = LostNetworks(driver, lambda call: call.status == 200, lambda begin, end: True)
    return networks.accepted(slot, seen, None)[0]


def heir() -> Slot:
    return Slot("r1", "remade", address="172.29.77.24", id=NEW, born={OLD: 2.0, NEW: 10.0})


@pytest.mark.parametrize(
    ("lost", "accepted"), [((5.0,), False), ((5.0, 20.0), True), ((5.0, 900.0), False), ((), False)]
)
def test_a_network_lost_before_a_recreation_is_the_heirs_to_have_again(
    lost: tuple[float, ...], accepted: bool
):
    """Unless a person took it away twice within ten minutes."""
    acts = [("remake_disconnected", at) for at in lost]
    assert judged(heir(), [(at, OLD) for at in lost], acts) is accepted


@pytest.mark.parametrize("number", [1, 2])
def test_what_the_engine_says_at_an_end_takes_no_network_away(number: int):
    """Nor what dockmend does to one that it makes anew: of these there are always two within ten
    minutes."""
    told = [(at, OLD) for at in (5.0, 90.0)[:number]]
    ends = [(each, container) for each in (50.0, 700.0) for container in (OLD, NEW)]
    acts = [("remake_disconnected", at) for at, _ in told] + [("unhealthy", 700.0)]
    assert judged(heir(), sorted(told + ends), acts) is (number == 2)


def test_out_of_its_network_on_purpose_is_not_in_it_in_another_way():
    bare = {"NetworkSettings": {"Networks": {NETWORK: {"IPAMConfig": None, "Aliases": ["r1"]}}}}
    told = [(5.0, OLD), (20.0, OLD)]
    acts = [("remake_disconnected", at) for at, _ in told]
    assert judged(heir(), told, acts)
    assert not judged(heir(), told, acts, bare)


@pytest.mark.parametrize(("mended_at", "accepted"), [(100.0, True), (300.0, False)])
def test_the_second_disconnect_soon_after_dockmends_reconnect_is_on_purpose(
    mended_at: float, accepted: bool
):
    slot = Slot("n1", "networked", address="172.29.77.21", id=NEW, born={OLD: 2.0, NEW: 10.0})
    body = f'{{"Container": "{NEW}"}}'.encode()
    back = Request(
        "POST", f"/networks/{NETWORK}/connect", mended_at, body, status=200, answered=mended_at
    )
    assert judged(slot, [(200.0, NEW)], [("disconnect", 200.0)], calls=(back,)) is accepted


def test_what_befell_one_that_a_person_made_anew_is_over():
    slot = Slot("n1", "networked", address="172.29.77.21", id=NEW, born={OLD: 2.0, NEW: 10.0})
    assert not judged(slot, [(5.0, OLD)], [("disconnect", 5.0)])
