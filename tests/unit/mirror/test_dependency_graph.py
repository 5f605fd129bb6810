"""The graph from what inspect tells: every kind of tie, by id and by name, and what a label can and
cannot say."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dockmend.mirror.dependency_graph import build
from dockmend.mirror.identities import Identities
from dockmend.model import Container, Endpoint

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
DEPENDS, ONEOFF = "com.docker.compose.depends_on", "com.docker.compose.oneoff"


def one(name: str, **fields: Any) -> Container:
    return Container(**{"id": (name.encode().hex() * 64)[:64], "name": name, **fields})


def ties(*containers: Container) -> list[tuple[str, str, str, str, bool]]:
    graph = build(containers)
    names = {each.id: each.name for each in containers} | graph.missing
    return [
        (names[e.dependent], names[e.dependency], e.kind, e.condition, e.restart)
        for e in graph.edges
    ]


VPN = one("vpn")
STARTED = "service_started"


@pytest.mark.parametrize("said", [VPN.id, VPN.id[:12], "vpn"])
@pytest.mark.parametrize(
    ("field", "kind", "restart"),
    [
        ("network_mode", "network", True), ("pid_mode", "pid", True), ("ipc_mode", "ipc", True),
        ("links", "link", True), ("volumes_from", "volumes", False),
    ],
)  # fmt: skip
def test_ties_by_id_by_its_beginning_and_by_name(said: str, field: str, kind: str, restart: bool):
    told: Any = {
        "links": (f"/{said}:/app/gateway",), "volumes_from": (f"{said}:ro",),
    }.get(field, f"container:{said}")  # fmt: skip
    assert ties(VPN, one("app", **{field: told})) == [("app", "vpn", kind, STARTED, restart)]


def test_a_link_in_a_network_of_ones_own():
    app = one("app", networks={"lan": Endpoint("n1", links=("vpn:gateway", "vpn:other"))})
    assert ties(VPN, app) == [("app", "vpn", "link", STARTED, True)]


def test_what_is_named_and_not_there_is_said():
    lost = one("app", network_mode=f"container:{'9' * 64}")
    assert ties(lost) == [("app", "container 999999999999", "network", STARTED, True)]


GONE = "9" * 64


def known(*heard: tuple[str, str]) -> Identities:
    """Ids and names of containers that were heard of."""
    identities = Identities()
    for container_id, name in heard:
        identities.named(container_id, name)
    return identities


@pytest.mark.parametrize("field", ["network_mode", "pid_mode", "ipc_mode"])
@pytest.mark.parametrize("heir", [True, False], ids=["its heir", "of its name"])
def test_what_took_its_place_is_meant_and_the_tie_is_stale(field: str, heir: bool):
    identities = known((GONE, "other" if heir else "vpn"))
    if heir:
        identities.succeeded(GONE, VPN.id)
    app: Any = one("app", **{field: f"container:{GONE}"})
    (edge,) = build([VPN, app], identities).edges
    assert (edge.dependency, edge.bound, edge.stale) == (VPN.id, True, True)


def test_one_that_was_renamed_is_still_the_owner():
    identities = known((VPN.id, "vpn"), (VPN.id, "vpn-eu"))
    renamed = replace(VPN, name="vpn-eu")
    other = one("other", id="8" * 64)
    app = one("app", network_mode=f"container:{VPN.id}")
    (edge,) = build([renamed, replace(other, name="vpn"), app], identities).edges
    assert (edge.dependency, edge.stale) == (VPN.id, False)


def test_one_that_gave_its_name_away_and_is_gone_is_found_by_that_name():
    identities = known((GONE, "vpn"), (GONE, "vpn-old"))
    (edge,) = build([VPN, one("app", network_mode=f"container:{GONE}")], identities).edges
    assert (edge.dependency, edge.stale) == (VPN.id, True)


@pytest.mark.parametrize(("made_at", "stale"), [(1.0, False), (3.0, True)])
def test_a_link_of_the_bridge_is_to_the_one_that_was_there_then(made_at: float, stale: bool):
    (edge,) = build(
        [replace(VPN, created_at=made_at), one("app", links=("/vpn:/app/a",), created_at=2.0)]
    ).edges
    assert (edge.dependency, edge.bound, edge.stale) == (VPN.id, True, stale)


def test_compose_and_its_conditions():
    def service(name: str, project: str = "shop", **more: str) -> Container:
        return one(f"{project}-{name}", labels={PROJECT: project, SERVICE: name, **more})

    web = service(
        "web", **{DEPENDS: "db:service_healthy:true,cache:service_started:false,gone:bogus"}
    )
    made_once = service("job", **{"com.docker.compose.oneoff": "True"})
    asks_once = service("late", **{DEPENDS: "job:service_completed_successfully"})
    others = [service("db"), service("cache"), service("db", "other"), made_once, asks_once]
    assert ties(web, *others) == [
        ("shop-web", "shop-db", "compose", "service_healthy", True),
        ("shop-web", "shop-cache", "compose", STARTED, False),
        ("shop-web", "service gone of project shop", "compose", STARTED, False),
        (
            "shop-late",
            "service job of project shop",
            "compose",
            "service_completed_successfully",
            False,
        ),
    ]


def test_every_container_of_a_scaled_service():
    db = [one(f"db{n}", labels={PROJECT: "p", SERVICE: "db"}) for n in (1, 2)]
    web = one("web", labels={PROJECT: "p", SERVICE: "web", DEPENDS: "db"})
    assert [tie[1] for tie in ties(web, *db)] == ["db1", "db2"]


def test_a_one_off_is_no_container_of_its_service_and_is_not_begun_anew_with_what_it_depends_on():
    db = one("db", labels={PROJECT: "p", SERVICE: "db"})
    job = one(
        "job",
        labels={PROJECT: "p", SERVICE: "web", DEPENDS: "db:service_started:true", ONEOFF: "True"},
    )
    late = one("late", labels={PROJECT: "p", SERVICE: "late", DEPENDS: "web:service_started:true"})
    assert ties(db, job, late) == [
        ("job", "db", "compose", STARTED, False),
        ("late", "service web of project p", "compose", STARTED, True),
    ]  # fmt: skip


def test_an_image_is_no_container_of_a_service():
    named = {PROJECT: "p", SERVICE: "db", DEPENDS: "web"}
    web = one("web", labels={PROJECT: "p", SERVICE: "web", DEPENDS: "db"})
    assert ties(web, one("stray", image_labels=named)) == [
        ("web", "service db of project p", "compose", STARTED, False)
    ]


def test_a_label_of_its_owner_counts_and_one_of_its_image_does_not():
    app = one("app", labels={"dockmend.depends-on": " vpn:service_healthy , app, ,"})
    assert ties(VPN, app) == [("app", "vpn", "label", "service_healthy", True)]
    forced = one("app", image_labels=app.labels)
    assert ties(VPN, forced) == []


def test_dependents_go_on_through_others_and_end_in_cycles():
    a = one("a", labels={"dockmend.depends-on": "vpn,d"})
    b, c = one("b", network_mode=f"container:{a.id}"), one("c", links=("/b:/c/b",))
    d = one("d", labels={"dockmend.depends-on": "c"})
    other = one("other", volumes_from=("a",))
    graph = build([VPN, a, b, c, d, other])
    assert {graph.nodes[each].name for each in graph.dependents([VPN.id])} == {"a", "b", "c", "d"}
    assert {graph.nodes[each].name for each in graph.dependents([a.id])} == {"b", "c", "d"}
    assert VPN.id in graph.needs()[a.id]


def test_who_shares_a_network_is_shown_and_hangs_on_nobody():
    web = one("web", networks={"lan": Endpoint("n", aliases=("www",)), "bridge": Endpoint("b")})
    db = one("db", networks={"lan": Endpoint("n"), "bridge": Endpoint("b")})
    graph = build([web, db, one("alone", networks={"wan": Endpoint("w")})])
    assert [(each.network, each.members) for each in graph.shared] == [
        ("lan", ((web.id, ("www",)), (db.id, ())))
    ]
    assert graph.edges == ()
    assert graph.dependents([db.id]) == set()


def test_who_hangs_on_what_was_taken_away():
    nobody = build(
        [
            one("app", network_mode=f"container:{VPN.id}"),
            one("web", labels={"dockmend.depends-on": "db"}),
        ]
    )
    assert nobody.cut_off(lambda by: False) == set()
    assert nobody.cut_off(lambda by: by == VPN.id) == {one("app").id}
    assert nobody.cut_off(lambda by: by == "container:db") == {one("web").id}
    service = {
        PROJECT: "shop",
        SERVICE: "web",
        DEPENDS: "db:service_healthy:false,init:service_completed_successfully:",
    }
    waits = build([one("web", labels=service), one("reader", volumes_from=("data",))])
    assert waits.cut_off(lambda by: by == "compose:shop/db/") == {one("web").id}
    assert waits.cut_off(lambda by: by == "compose:shop/init/") == set(), "a job that was pruned"
    assert waits.cut_off(lambda by: by == "container:data") == set(), "volumes outlive it"
    assert (
        build([VPN, one("app", network_mode=f"container:{VPN.id}")]).cut_off(lambda by: True)
        == set()
    )
