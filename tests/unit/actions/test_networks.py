from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from dockmend.actions import create_network, networks
from dockmend.actions.action import ActionFailed
from dockmend.actions.endpoints import lost_for_good
from dockmend.errors import EngineAway, NotFound, Permanent
from dockmend.model import Container, Endpoint, Network
from dockmend.rules.action_parameters import CreateNetwork
from tests.unit.actions.stage import ID, WEB, Script, Stage

ANY = SimpleNamespace(network=None, create=False)
MAC = "02:42:0a:00:00:99"
OLD = Endpoint(network_id="old", aliases=("shop",), ipv4="10.0.0.5", mac=MAC, gw_priority=7)
NOW = Network(id="new", name="lane")


def stage(state: str = "running", endpoint: Endpoint | None = None, **changes: object) -> Stage:
    """The container has (or lost) the network lane, which bears the id `new` now."""
    made = Stage(engine=Script(networks={"lane": NOW}), known={"lane": OLD})
    made.engine.set(state=state, networks={} if endpoint is None else {"lane": endpoint}, **changes)
    made.engine.on["connect"] = lambda: made.engine.set(
        networks={"lane": replace(OLD, network_id="new", address="10.0.0.5")}
    )
    return made


async def test_lost_network_is_written_down_and_connected_with_the_old_settings():
    web = stage()

    done = await networks.reconnect(web.context, ANY, WEB)

    assert web.engine.did() == ["remember", "connect"]
    assert ("connect", "new", replace(OLD, network_id="new")) in web.engine.calls
    assert web.undo["reconnect"][0]["network"] == "lane"
    assert web.undo["reconnect"][0]["endpoint"]["ipv4"] == "10.0.0.5"
    assert web.undo["reconnect"][0]["endpoint"]["gw_priority"] == 7
    assert done.detail == "reconnected to lane"


async def test_connected_container_is_left_alone():
    web = stage(endpoint=replace(OLD, network_id="new"))

    assert (
        await networks.reconnect(web.context, ANY, WEB)
    ).detail == "was connected already to lane"
    assert web.engine.did() == []


async def test_container_that_lost_nothing():
    web = Stage()

    assert (await networks.reconnect(web.context, ANY, WEB)).detail == "it has lost no network"


async def test_endpoint_without_a_network_is_a_failed_connect_only_while_it_runs():
    running, stopped = (
        stage(state, replace(OLD, network_id="")) for state in ("running", "exited")
    )

    await networks.reconnect(running.context, ANY, WEB)
    await networks.reconnect(stopped.context, ANY, WEB)

    assert running.engine.did() == ["remember", "connect"]
    assert stopped.engine.did() == []


async def test_engine_that_keeps_a_stale_endpoint_gets_it_disconnected_by_force():
    web = stage("exited", OLD)
    web.engine.on["connect"] = lambda: None
    connected = replace(OLD, network_id="")
    web.engine.on["disconnect"] = lambda: web.engine.on.update(
        connect=lambda: web.engine.set(networks={"lane": connected})
    )

    await networks.reconnect(web.context, ANY, WEB)

    assert web.engine.did() == ["remember", "connect", "disconnect", "connect"]
    assert ("disconnect", "lane", True) in web.engine.calls


async def test_cancelled_between_disconnect_and_connect_it_still_connects():
    web = stage("exited", OLD)
    web.engine.on["connect"] = lambda: None
    web.engine.trouble["disconnect"] = asyncio.CancelledError()

    with pytest.raises(asyncio.CancelledError):
        await networks.reconnect(web.context, ANY, WEB)

    assert web.engine.did() == ["remember", "connect", "disconnect", "connect"]


@pytest.mark.parametrize(
    ("error", "did"),
    [
        ("", ["remember", "connect"]),
        ("OCI runtime create failed", ["remember", "connect"]),
        ("network 65e14cff061436c4 not found", ["remember", "connect", "start"]),
    ],
)
async def test_it_is_started_only_where_its_last_start_failed_for_the_network(error, did):
    web = stage("exited", OLD, error=error)

    done = await networks.reconnect(web.context, ANY, WEB)

    assert web.engine.did() == did
    assert ("started" in done.detail) is ("start" in did)


async def test_leftover_of_the_engine_under_its_name_is_cleared():
    web = stage()
    web.engine.trouble["connect"] = [
        Permanent("endpoint with name web already exists in network lane", 403),
        None,
    ]
    web.engine.on["connect"] = lambda: None
    web.engine.on["disconnect"] = lambda: web.engine.set(
        networks={"lane": replace(OLD, network_id="new")}
    )

    await networks.reconnect(web.context, ANY, WEB)

    assert web.engine.did() == ["remember", "connect", "disconnect", "connect"]


@pytest.mark.parametrize(
    ("configured", "in_use", "said"),
    [
        (MAC, "7a:11:22:33:44:55", True),
        # another network than the main one: the engine has forgotten it
        ("", "7a:11:22:33:44:55", True),
        (MAC, MAC.upper(), False),
        (MAC, "", False),  # it does not run
    ],
)
async def test_mac_that_was_not_taken_over_is_said(configured, in_use, said):
    web = stage()
    other = replace(OLD, network_id="new", address="10.0.0.5", mac=configured, mac_in_use=in_use)
    web.engine.on["connect"] = lambda: web.engine.set(networks={"lane": other})

    done = await networks.reconnect(web.context, ANY, WEB)

    assert (f"the engine did not take over its MAC address {MAC} in lane" in done.detail) is said


@pytest.mark.parametrize("configured", ["", None])
async def test_nothing_is_said_of_a_mac_that_the_engine_made_up(configured):
    made_up = replace(OLD, mac=configured, mac_in_use="7a:11:22:33:44:55")
    web = Stage(engine=Script(networks={"lane": NOW}), known={"lane": made_up})
    web.engine.set(state="running", networks={})
    other = replace(made_up, network_id="new", address="10.0.0.5", mac_in_use="1e:11:22:33:44:66")
    web.engine.on["connect"] = lambda: web.engine.set(networks={"lane": other})

    done = await networks.reconnect(web.context, ANY, WEB)

    assert "MAC" not in done.detail


async def test_settings_of_a_stale_endpoint_are_newer_but_know_no_mac():
    live = replace(OLD, aliases=("newer",), mac=None)

    settings = networks._settings(replace(WEB, networks={"lane": live}), {"lane": OLD}, "lane")

    assert settings == replace(OLD, aliases=("newer",))


async def test_network_whose_id_begins_like_the_name_is_another():
    web = stage()
    web.engine.networks["lane"] = Network(id="lane0000", name="other")

    with pytest.raises(ActionFailed, match="network lane does not exist"):
        await networks.reconnect(web.context, ANY, WEB)


async def test_engine_that_is_away_is_the_runners_affair():
    web = stage()
    web.engine.trouble["connect"] = EngineAway("nobody answers")

    with pytest.raises(EngineAway):
        await networks.reconnect(web.context, ANY, WEB)


async def test_container_that_vanishes_meanwhile():
    web = stage()
    web.engine.trouble["connect"] = NotFound(f"connect: No such container: {ID}", 404)

    with pytest.raises(
        ActionFailed, match="cannot reconnect web to lane: the container is gone"
    ) as failure:
        await networks.reconnect(web.context, ANY, WEB)

    assert not failure.value.again


async def test_settling_finishes_with_what_was_written_down():
    web = stage("exited", OLD, error="network old not found")
    await networks.reconnect(web.context, ANY, WEB)
    web.engine.calls.clear()
    web.known.clear()
    web.engine.set(networks={})

    settled = await networks.settle_reconnect(web.context, web.record("reconnect_network"))

    assert settled.detail == "the reconnection was finished: lane; it was started"
    assert settled.facts["reconnected"] == {ID: ["lane"]}
    assert web.engine.did() == ["connect", "start"]


async def test_settling_does_not_start_what_ran_since():
    web = stage("exited", OLD, error="network old not found")
    await networks.reconnect(web.context, ANY, WEB)
    web.engine.calls.clear()
    web.engine.set(started_at=2000.0)

    await networks.settle_reconnect(web.context, web.record("reconnect_network"))

    assert web.engine.did() == []


@pytest.mark.parametrize("before", ["the look", "the call"])
async def test_a_network_that_a_person_put_back_first_is_not_dockmends_own(before: str):
    """Its loss soon after would be taken for a person's will, as is a second one after dockmend's
    (campaign, 2063)."""
    there = replace(OLD, network_id="new", address="10.0.0.5")
    web = stage(endpoint=there if before == "the look" else None)
    web.network = "lane"
    web.engine.trouble["connect"] = Permanent(
        "endpoint with name web already exists in network lane", 403
    )

    done = await networks.reconnect(web.context, ANY, WEB)

    assert done.detail == "was connected already to lane"
    assert not done.facts.get("reconnected", {}).get(ID)


@pytest.mark.parametrize("look", [1, 2], ids=["which makes sure of it", "for what it tells"])
async def test_a_network_that_a_person_took_away_before_a_look_of_dockmends_was_given_back(
    look: int,
):
    """Else their second disconnect is undone, or taken for another loss, and they need a third
    one."""
    web = stage()
    looks = 0

    def taken_again() -> None:
        nonlocal looks
        looks += web.engine.did() == ["remember", "connect"]
        if looks == look:
            web.engine.set(networks={})

    web.engine.on["inspect"] = taken_again

    done = await networks.reconnect(web.context, ANY, WEB)

    assert looks == 2
    assert web.engine.did() == ["remember", "connect"]
    assert done.facts["reconnected"] == {ID: ["lane"]}


async def test_what_is_written_down_of_a_network_lacks_its_secrets_and_is_not_made_from():
    web = Stage()
    params = CreateNetwork(
        name="lane", labels={"token": "hunter2"}, options={"url": "x://me:hunter2@h"}
    )
    web.engine.trouble["create_network"] = EngineAway("gone")
    with pytest.raises(EngineAway):
        await create_network.create(web.context, params, WEB)
    assert "hunter2" not in str(web.undo)
    assert web.undo["create"]["options"] == {"url": "x://me:***@h"}

    del web.engine.trouble["create_network"]
    record = replace(web.record("create_network"), params={"name": "lane"})
    settled = await create_network.settle(web.context, record)
    assert not settled.done  # the step is done again, by the rule, which has them
    assert web.engine.networks == {}
    # One that goes by its last known definition has them from there.
    web.defined["lane"] = Network(id="", name="lane", labels={"token": "hunter2"})
    settled = await create_network.settle(web.context, replace(record, params={}))
    assert settled.done
    assert web.engine.networks["lane"].labels == {"token": "hunter2"}


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        ("network 37f79ccf6be4 not found", True),
        ("could not find a network matching network mode shop: network shop not found", True),
        (
            (
                'OCI runtime create failed: exec: "network x not found": executable file not found '
                "in $PATH"
            ),
            False,
        ),
        ("unable to find user network x not found: no matching entries in passwd file", False),
    ],
)
def test_that_its_network_was_gone_the_engine_says_and_no_image(error: str, lost: bool):
    assert lost_for_good(Container(id=ID, name="web", state="exited", error=error)) is lost
