from __future__ import annotations

import json
from typing import Any

import pytest

from dockmend.engine import engine_times, wire, wire_networks
from dockmend.model import Container, Endpoint, HealthCheck


def told(**parts: Any) -> Container:
    answer = {
        "Id": "a" * 64,
        "Name": "/web",
        "State": {"Status": "running", "StartedAt": "2026-01-02T03:04:05Z"},
        **parts,
    }
    return wire.to_container(wire.container_decoder.decode(json.dumps(answer)), {})


def test_the_barest_answer_is_understood() -> None:
    seen = wire.to_container(wire.container_decoder.decode(b'{"Id":"a"}'), {})
    assert (seen.id, seen.name, seen.state, seen.exit_code, seen.networks, seen.check) == (
        "a",
        "",
        "",
        None,
        {},
        None,
    )
    nulls = ("State", "Config", "HostConfig", "NetworkSettings", "Mounts")
    assert told(**dict.fromkeys(nulls)).state == ""
    assert told(NetworkSettings={"Networks": None}, Config={"Labels": None}).networks == {}
    stopped = told(State={"Status": "exited"}, NetworkSettings={"Networks": {"none": None}})
    assert stopped.networks == {"none": Endpoint(network_id="")}


def test_an_entry_that_a_failed_connect_left_is_no_network_of_a_container_that_runs() -> None:
    places = {
        "lane": {"NetworkID": "n1"},
        "failed": {"NetworkID": "", "IPAMConfig": {"IPv4Address": "10.0.0.9"}},
    }
    assert set(told(NetworkSettings={"Networks": places}).networks) == {"lane"}
    assert set(told(State={"Status": "exited"}, NetworkSettings={"Networks": places}).networks) == {
        "lane",
        "failed",
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-23T23:05:02.772240084Z", 1795475102.77224),
        ("2026-11-23T23:05:02Z", 1795475102.0),
        ("2026-11-24T00:05:02+01:00", 1795475102.0),
        ("0001-01-01T00:00:00Z", 0.0),
        ("", 0.0),
        (None, 0.0),
        ("yesterday", 0.0),
        ("1969-12-31T23:59:59Z", 0.0),
    ],
)
def test_times(text: str | None, seconds: float) -> None:
    assert engine_times.epoch(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("status", "started", "code"),
    [
        ("created", "0001-01-01T00:00:00Z", None),
        ("created", "2026-01-02T03:04:05Z", None),
        ("running", "2026-01-02T03:04:05Z", None),
        ("paused", "2026-01-02T03:04:05Z", None),
        ("restarting", "2026-01-02T03:04:05Z", 9),
        ("exited", "2026-01-02T03:04:05Z", 9),
        ("dead", "2026-01-02T03:04:05Z", 9),
        ("removing", "2026-01-02T03:04:05Z", 9),
        ("exited", "0001-01-01T00:00:00Z", None),
    ],
)
def test_an_exit_code_only_of_what_has_ended(status: str, started: str, code: int | None) -> None:
    assert told(State={"Status": status, "StartedAt": started, "ExitCode": 9}).exit_code == code


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (None, None),
        ({"Test": None}, None),
        ({"Test": []}, None),
        ({"Test": ["NONE"]}, None),
        ({"Test": ["CMD", "true"]}, HealthCheck(30.0, 30.0, 0.0, 3)),
        (
            {
                "Test": ["CMD-SHELL", "x"],
                "Interval": 500_000_000,
                "Timeout": 10**9,
                "StartPeriod": 2 * 10**9,
                "Retries": 5,
            },
            HealthCheck(0.5, 1.0, 2.0, 5),
        ),
    ],
)
def test_health_checks(check: dict[str, Any] | None, expected: HealthCheck | None) -> None:
    assert told(Config={"Healthcheck": check}).check == expected


def test_defaults_of_the_engine_are_filled_in() -> None:
    seen = told(
        Config={"StopTimeout": None, "StopSignal": ""}, HostConfig={"RestartPolicy": {"Name": ""}}
    )
    assert (seen.stop_timeout, seen.stop_signal, seen.restart_policy) == (10.0, "SIGTERM", "no")
    assert told(Config={"StopTimeout": 0}).stop_timeout == 0.0
    assert told(Config={"StopTimeout": -1}).stop_timeout == 3600.0, "for ever"
    assert told(State={"Status": "running", "Health": {"Status": "none"}}).health == ""


@pytest.mark.parametrize(
    ("state", "failed", "health"),
    [("running", 0, "starting"), ("running", 1, "starting"), ("running", 2, "unhealthy"),
        ("paused", 0, "starting"),
     ("paused", 2, "unhealthy"), ("running", None, "unhealthy")],
)  # fmt: skip
def test_unhealthy_is_a_verdict_only_of_a_check_that_failed_as_often_as_it_may(
    state: str, failed: int | None, health: str
) -> None:
    said = {"Status": "unhealthy"} | ({} if failed is None else {"FailingStreak": failed})
    config = {"Healthcheck": {"Test": ["CMD", "true"], "Retries": 2}}
    assert told(State={"Status": state, "Health": said}, Config=config).health == health


def test_an_endpoint_there_and_back() -> None:
    answer = {
        "NetworkID": "n1",
        "IPAMConfig": {
            "IPv4Address": "10.0.0.9",
            "IPv6Address": "fd00::9",
            "LinkLocalIPs": ["169.254.1.1"],
        },
        "Links": ["db:database"],
        "Aliases": ["www", "a" * 12],
        "MacAddress": "02:11:22:33:44:55",
        "IPAddress": "10.0.0.9",
        "GlobalIPv6Address": "fd00::9",
        "DriverOpts": {"k": "v"},
        "GwPriority": -7,
    }
    config, host = {"MacAddress": "02:11:22:33:44:55"}, {"NetworkMode": "shop"}
    seen = told(
        Config=config, HostConfig=host, NetworkSettings={"Networks": {"shop": answer}}
    ).networks["shop"]
    assert seen == Endpoint(
        network_id="n1", aliases=("www",), ipv4="10.0.0.9", ipv6="fd00::9",
        link_local=("169.254.1.1",), mac="02:11:22:33:44:55", links=("db:database",),
        driver_opts={"k": "v"}, address="10.0.0.9", address6="fd00::9", gw_priority=-7,
        mac_in_use="02:11:22:33:44:55",
    )  # fmt: skip
    assert wire_networks.endpoint_config(seen) == {
        "IPAMConfig": answer["IPAMConfig"], "Aliases": ["www"], "Links": ["db:database"],
        "MacAddress": "02:11:22:33:44:55", "DriverOpts": {"k": "v"}, "GwPriority": -7,
    }  # fmt: skip
    assert wire_networks.endpoint_config(Endpoint(network_id="n1", address="10.0.0.9")) == {}


def test_images_of_lists_and_of_inspect_are_the_same() -> None:
    summary = wire.WireImageSummary(
        Id="sha256:1", RepoTags=["a:1"], Labels={"k": "v"}, Created=1795475102
    )
    inspected = wire.WireImage(
        Id="sha256:1",
        RepoTags=["a:1"],
        Config=wire.WireImageConfig(Labels={"k": "v"}),
        Created="2026-11-23T23:05:02Z",
    )
    assert wire.to_image(summary) == wire.to_image(inspected)
    assert (
        wire.to_image(wire.WireImageSummary(Id="sha256:2", RepoTags=["<none>:<none>"])).tags == ()
    )


def test_names_that_are_too_long_are_cut_alike_wherever_they_are_told() -> None:
    long = "n" * 100_000
    place = {"Networks": {long: {"NetworkID": "n1"}}}
    config = {"MacAddress": "02:11:22:33:44:55"}
    seen = told(
        Name="/" + long, HostConfig={"NetworkMode": long}, NetworkSettings=place, Config=config
    )
    assert len(seen.name) < 255
    assert seen.too_much  # its name is not what the engine would have to be told
    (network,) = seen.networks
    assert network == seen.network_mode
    assert seen.networks[network].mac == "02:11:22:33:44:55"
    listed = wire_networks.network_decoder.decode(json.dumps({"Id": "n1", "Name": long}))
    assert wire_networks.to_network(listed).name == network
    assert not told(NetworkSettings=place).too_much


@pytest.mark.parametrize("said", ["", "9" * 5000])
def test_a_stop_signal_that_is_none_is_the_engines_own(said: str):
    assert told(Config={"StopSignal": said}).stop_signal == "SIGTERM"


def test_a_health_check_of_less_than_nothing_has_the_engines_defaults():
    """Its image's author wrote it, and nobody has looked at it."""
    check = {
        "Test": ["CMD", "true"],
        "Interval": -1,
        "Timeout": -1,
        "StartPeriod": -(10**18),
        "Retries": -1,
    }
    found = told(Config={"Healthcheck": check}).check
    assert found == HealthCheck(interval=30.0, timeout=30.0, start_period=0.0, retries=3)
