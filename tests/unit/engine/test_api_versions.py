"""What differs between versions of the Engine API, as tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dockmend.engine import wire
from dockmend.engine.api_versions import (
    CONNECT_TAKES_MAC,
    NEWEST,
    RANDOM_MACS,
    ApiVersion,
    configured_mac,
    settled,
)
from dockmend.errors import Unreachable

BEFORE = ApiVersion(1, 45)
MAC = "02:11:22:33:44:55"


@pytest.mark.parametrize(
    ("newest", "oldest", "used"),
    [
        ("1.40", "1.12", "1.40"),
        ("1.45", "1.24", "1.45"),
        ("1.51", "1.24", "1.48"),
        ("1.60", "1.44", "1.48"),
        ("1.47", "1.47", "1.47"),
        ("1.50", "", "1.48"),
    ],
)
def test_the_newest_that_both_know_is_settled(newest: str, oldest: str, used: str) -> None:
    assert str(settled("unix:///x", newest, oldest)) == used


@pytest.mark.parametrize(
    ("newest", "oldest", "said"),
    [
        ("1.39", "1.12", "too old: it speaks API 1.39, dockmend needs 1.40"),
        ("1.60", "1.50", "too new: it speaks API 1.50 and up, dockmend knows up to 1.48"),
        ("", "", "no Docker Engine"),
        ("x.y", "1", "no Docker Engine"),
    ],
)
def test_where_there_is_none_a_sentence_says_so(newest: str, oldest: str, said: str) -> None:
    with pytest.raises(Unreachable, match=said):
        settled("unix:///x", newest, oldest)


def test_what_rests_on_the_newest_version() -> None:
    assert NEWEST < (1, 52), "inspect leaves out Config.MacAddress from there on"
    assert NEWEST < CONNECT_TAKES_MAC, (
        "and from there on a connect is able to give a MAC address back"
    )
    assert RANDOM_MACS <= NEWEST


@pytest.mark.parametrize(
    ("version", "shown", "ipv4", "ran", "configured"),
    [
        (BEFORE, "02:42:ac:11:00:02", "172.17.0.2", True, ""),
        (BEFORE, "02:42:AC:11:00:02", "172.17.0.2", True, ""),
        (BEFORE, "02:42:ac:11:00:03", "172.17.0.2", True, "02:42:ac:11:00:03"),
        (BEFORE, "02:42:ac:11:00:03", "", True, ""),  # a network without IPv4
        (BEFORE, MAC, "172.17.0.2", True, MAC),
        (BEFORE, "", "", True, None),  # it does not run
        (BEFORE, MAC, "", False, MAC),  # it never ran: nothing has been made up
        (BEFORE, "", "", False, ""),
        (RANDOM_MACS, MAC, "172.17.0.2", True, None),
        (RANDOM_MACS, "02:42:ac:11:00:02", "172.17.0.2", True, None),
        (RANDOM_MACS, "", "", True, None),
        (RANDOM_MACS, MAC, "", False, MAC),
        (RANDOM_MACS, "", "", False, ""),
    ],
)
def test_which_mac_address_was_configured(
    version: ApiVersion, shown: str, ipv4: str, ran: bool, configured: str | None
) -> None:
    assert configured_mac(version, shown, ipv4, ran=ran) == configured


def answer(mac: str | None, *, running: bool = True) -> dict[str, Any]:
    place = {"MacAddress": MAC if running else "", "IPAddress": "10.0.0.2" if running else ""}
    return {
        "Id": "a" * 64,
        "State": {
            "Status": "running" if running else "exited",
            "StartedAt": "2026-12-01T10:00:00Z",
        },
        "Config": {"MacAddress": mac} if mac else {},
        "HostConfig": {"NetworkMode": "shop"},
        "NetworkSettings": {
            "Networks": {"shop": place | {"NetworkID": "n1"}, "lane": place | {"NetworkID": "n2"}}
        },
    }


@pytest.mark.parametrize("version", [BEFORE, RANDOM_MACS])
@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("mac", ["92:d0:c6:0a:29:33", None])
def test_of_the_main_network_the_containers_own_field_alone_tells(
    version: ApiVersion, running: bool, mac: str | None
) -> None:
    told = msgspec.convert(answer(mac, running=running), wire.WireContainer)
    seen = wire.to_container(told, {}, version).networks["shop"]
    assert (seen.mac, seen.mac_in_use) == (mac or "", MAC if running else "")


@pytest.mark.parametrize(
    ("filed", "version", "running", "noted"),
    [
        ({"shop": "", "lane": MAC}, RANDOM_MACS, True, MAC),
        ({"shop": "", "lane": ""}, RANDOM_MACS, True, ""),
        ({"shop": "", "lane": ""}, BEFORE, True, ""),  # the file knows better
        ({"shop": "", "lane": MAC}, RANDOM_MACS, False, MAC),
        (None, RANDOM_MACS, True, None),
        (None, RANDOM_MACS, False, None),
        (None, BEFORE, True, MAC),
        ({}, BEFORE, True, MAC),  # connected since the file was written
    ],
)
def test_a_raw_answer_says_what_is_known_beside_it(
    filed: dict[str, str] | None, version: ApiVersion, running: bool, noted: str | None
) -> None:
    raw = answer(None, running=running)
    wire.note_configured_macs(raw, version, filed)
    assert raw["NetworkSettings"]["Networks"]["lane"].get("DesiredMacAddress") == noted
    assert "DesiredMacAddress" not in raw["NetworkSettings"]["Networks"]["shop"]
