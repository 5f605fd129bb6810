"""What a container's definition holds and what it leaves to the image: moby's merge, undone."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.actions.definition import References, define, image_reference
from dockmend.engine.wire_networks import endpoint_config, one_network
from dockmend.model import Endpoint

ID = "0123456789ab" + "c" * 52
VOLUME = "d" * 64
MAC = "92:d0:c6:0a:29:33"


def container(**config: Any) -> dict[str, Any]:
    return {
        "Id": ID, "Name": "/web", "Image": "sha256:1",
        "Config": {"Image": "shop:1", "Hostname": ID[:12], **config},
        "HostConfig": {"NetworkMode": "default"}, "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [],
    }  # fmt: skip


def config_of(mine: dict[str, Any], **image: Any) -> dict[str, Any]:
    body = define(container(**mine), {"Config": image}).body
    return {key: body.get(key) for key in mine}


def test_what_compose_set_stays_although_its_build_wrote_the_same_into_the_image() -> None:
    built = {f"com.docker.compose.{key}": "web" for key in ("project", "service", "version")}
    up = built | {
        "com.docker.compose.config-hash": "a1",
        "com.docker.compose.container-number": "1",
    }
    inherited = {"maintainer": "x"}
    assert config_of({"Labels": up | inherited}, Labels=built | inherited) == {"Labels": up}
    assert config_of({"Labels": built | inherited}, Labels=built | inherited) == {"Labels": {}}


@pytest.mark.parametrize(
    ("mine", "image", "kept"),
    [
        ({"Env": ["A=1", "B=2"]}, {"Env": ["A=1", "B=1"]}, {"Env": ["B=2"]}),
        (
            {"Labels": {"a": "1", "b": "2"}},
            {"Labels": {"a": "1", "b": "1"}},
            {"Labels": {"b": "2"}},
        ),
        ({"User": "web"}, {"User": "web"}, {"User": None}),
        ({"User": "root"}, {"User": "web"}, {"User": "root"}),
        ({"StopSignal": "SIGINT"}, {}, {"StopSignal": "SIGINT"}),
        ({"Shell": ["/bin/sh"]}, {"Shell": ["/bin/sh"]}, {"Shell": None}),
        ({"OnBuild": ["RUN x"]}, {"OnBuild": ["RUN x"]}, {"OnBuild": None}),
        ({"Volumes": {"/a": {}, "/b": {}}}, {"Volumes": {"/a": {}}}, {"Volumes": {"/b": {}}}),
        (
            {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Retries": 3}},
            {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 7}},
            {"Healthcheck": {"Interval": 5, "Retries": 3}},
        ),
        (
            {"Healthcheck": {"Test": ["NONE"], "Interval": 7}},
            {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 7}},
            {"Healthcheck": {"Test": ["NONE"]}},
        ),
        (
            {"Healthcheck": {"Test": ["CMD", "x"]}},
            {"Healthcheck": {"Test": ["CMD", "x"]}},
            {"Healthcheck": None},
        ),
    ],
)
def test_the_images_defaults_are_left_to_the_image(
    mine: dict[str, Any], image: dict[str, Any], kept: dict[str, Any]
) -> None:
    assert config_of(mine, **image) == kept


@pytest.mark.parametrize(
    ("mine", "image", "kept"),
    [
        ((["run"], ["web"]), (["run"], ["web"]), (None, None)),
        ((["run"], ["other"]), (["run"], ["web"]), (None, ["other"])),
        ((["own"], None), (["run"], ["web"]), (["own"], None)),
        ((["own"], ["web"]), (["run"], ["web"]), (["own"], ["web"])),
        # set by the user: the image's command is switched off
        ((["run"], None), (["run"], ["web"]), (["run"], None)),
        ((None, ["sh"]), (["run"], ["web"]), ([""], ["sh"])),  # its entry point switched off
        ((None, ["web"]), (None, ["web"]), (None, None)),
        ((None, ["sh"]), (None, ["web"]), (None, ["sh"])),
    ],
)
def test_the_command_and_the_entry_point_belong_together(mine: Any, image: Any, kept: Any) -> None:
    config = {"Entrypoint": mine[0], "Cmd": mine[1]}
    found = config_of(config, Entrypoint=image[0], Cmd=image[1])
    assert (found["Entrypoint"], found["Cmd"]) == kept


def test_a_published_port_stays_exposed_whatever_the_next_image_exposes() -> None:
    raw = container(ExposedPorts={"80/tcp": {}, "81/tcp": {}, "82/tcp": {}})
    raw["HostConfig"]["PortBindings"] = {"80/tcp": [{"HostPort": "8080"}]}
    ports = define(raw, {"Config": {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}}}}).body[
        "ExposedPorts"
    ]
    assert ports == {"80/tcp": {}, "82/tcp": {}}


def test_names_made_from_the_id_are_not_carried_over() -> None:
    raw = container()
    raw["NetworkSettings"]["Networks"] = {
        "shop": {"Aliases": ["web", ID[:12]], "DNSNames": ["web", ID[:12]]}
    }
    body = define(raw, None).body
    assert "Hostname" not in body
    assert body["NetworkingConfig"]["EndpointsConfig"] == {"shop": {"Aliases": ["web"]}}
    assert define(container(Hostname="mine"), None).body["Hostname"] == "mine"


def test_an_endpoint_keeps_what_was_asked_for_and_what_nobody_has_heard_of() -> None:
    raw = container()
    raw["HostConfig"]["NetworkMode"] = "shop"
    raw["NetworkSettings"]["Networks"] = {
        "shop": {
            "IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": ""}, "Links": ["db:db"],
            "DriverOpts": {"a": "b"}, "GwPriority": 7, "Wonder": {"x": 1},
            "MacAddress": "02:42:0a:00:00:05", "IPAddress": "10.0.0.5", "NetworkID": "n",
            "EndpointID": "e", "Gateway": "10.0.0.1", "IPPrefixLen": 24,
        },
        "other": {"IPAMConfig": {}, "MacAddress": MAC, "DesiredMacAddress": MAC},
    }  # fmt: skip
    assert define(raw, None).body["NetworkingConfig"]["EndpointsConfig"] == {
        "shop": {
            "IPAMConfig": {"IPv4Address": "10.0.0.5"}, "Links": ["db:db"], "DriverOpts": {"a": "b"},
            "GwPriority": 7, "Wonder": {"x": 1},
        },
        "other": {"MacAddress": MAC},
    }  # fmt: skip


def test_a_network_that_was_lost_is_joined_as_it_was() -> None:
    known = Endpoint(network_id="n", aliases=("www",), gw_priority=7)
    body = define(container(), None, networks={"lost": endpoint_config(known)}).body
    assert body["NetworkingConfig"]["EndpointsConfig"]["lost"] == {
        "Aliases": ["www"],
        "GwPriority": 7,
    }


@pytest.mark.parametrize("in_use", ["7a:11:22:33:44:55", ""])
@pytest.mark.parametrize("configured", [MAC, None])
def test_the_main_networks_mac_address_is_the_containers_own(
    configured: str | None, in_use: str
) -> None:
    raw = container(**({"MacAddress": configured} if configured else {}))
    raw["NetworkSettings"]["Networks"] = {"bridge": {"MacAddress": in_use}}
    made = define(raw, None)
    wanted = {"MacAddress": configured} if configured else {}
    assert made.body["NetworkingConfig"]["EndpointsConfig"] == {"bridge": wanted}
    assert (made.unknown_macs, made.losses) == ((), "")


@pytest.mark.parametrize(
    ("told", "known", "written", "unknown"),
    [
        ({"DesiredMacAddress": MAC}, {}, MAC, False),
        ({"DesiredMacAddress": ""}, {}, None, False),
        # forgotten: it was put back into the network
        ({"DesiredMacAddress": ""}, {"other": MAC}, MAC, False),
        ({}, {"other": MAC}, MAC, False),
        ({}, {"other": ""}, None, False),
        ({}, {}, None, True),
    ],
)
@pytest.mark.parametrize("in_use", ["7a:11:22:33:44:55", ""])
def test_a_mac_address_in_use_is_no_configured_one(
    told: dict[str, str], known: dict[str, str], written: str | None, unknown: bool, in_use: str
) -> None:
    raw = container()
    raw["NetworkSettings"]["Networks"] = {"bridge": {}, "other": {"MacAddress": in_use, **told}}
    made = define(raw, None, macs=known)
    assert made.body["NetworkingConfig"]["EndpointsConfig"]["other"] == (
        {"MacAddress": written} if written else {}
    )
    assert made.unknown_macs == (("other",) if unknown else ())
    assert ("MAC address in other" in made.losses) is unknown


def test_a_network_it_was_taken_out_of_is_left_again() -> None:
    raw = container()
    raw["NetworkSettings"]["Networks"] = {"other": {}}
    assert define(raw, None).leave == ("bridge",)
    assert define(raw, None, networks={"bridge": {}}).leave == ()
    assert define(raw, None,
        networks={"shop": {"Aliases": ["a"]}}).body["NetworkingConfig"]["EndpointsConfig"] == {
        "other": {}, "shop": {"Aliases": ["a"]},
    }  # fmt: skip


def test_successors_take_the_place_of_owners_that_are_gone() -> None:
    raw = container(Hostname="owner", Domainname="example.org")
    raw["HostConfig"] = {
        "NetworkMode": "container:old",
        "PidMode": "container:old",
        "IpcMode": "container:else",
    }
    raw["NetworkSettings"]["Networks"] = {}
    body = define(raw, None, references=References({"old": "new"})).body
    assert body["HostConfig"] == {
        "NetworkMode": "container:new", "PidMode": "container:new", "IpcMode": "container:else",
    }  # fmt: skip
    assert "NetworkingConfig" not in body
    assert not {"Hostname", "Domainname"} & body.keys()


def test_anonymous_volumes_go_on_by_name() -> None:
    raw = container(Volumes={"/a": {}})
    raw["HostConfig"] |= {
        "Binds": ["named:/n:ro"],
        "Mounts": [{"Type": "volume", "Target": "/m"}, {"Type": "tmpfs", "Target": "/t"}],
    }  # fmt: skip
    raw["Mounts"] = [
        {"Type": "volume", "Name": "named", "Destination": "/n", "RW": False},
        {"Type": "volume", "Name": VOLUME, "Destination": "/a", "RW": True},
        {"Type": "volume", "Name": "e" * 64, "Destination": "/m", "RW": True},
    ]
    host = define(raw, None).body["HostConfig"]
    assert host["Binds"] == ["named:/n:ro", f"{VOLUME}:/a"]
    assert host["Mounts"] == [
        {"Type": "volume", "Target": "/m", "Source": "e" * 64}, {"Type": "tmpfs", "Target": "/t"},
    ]  # fmt: skip


def test_what_came_by_volumes_from_comes_that_way_again() -> None:
    raw = container(Volumes={"/own": {}})
    raw["HostConfig"]["VolumesFrom"] = ["owner"]
    raw["Mounts"] = [
        {"Type": "volume", "Name": VOLUME, "Destination": "/own", "RW": True},
        {"Type": "volume", "Name": "e" * 64, "Destination": "/theirs", "RW": True},
    ]
    host = define(raw, None).body["HostConfig"]
    assert (host["VolumesFrom"], host["Binds"]) == (["owner"], [f"{VOLUME}:/own"])


def test_what_came_from_a_container_that_is_gone_is_written_out() -> None:
    raw = container(Volumes={"/own": {}})
    raw["HostConfig"] |= {"VolumesFrom": ["gone:ro", "there"], "Binds": ["named:/n"]}
    raw["Mounts"] = [
        {"Type": "volume", "Name": "named", "Destination": "/n", "RW": True},
        {"Type": "volume", "Name": VOLUME, "Destination": "/own", "RW": True},
        {"Type": "volume", "Name": "e" * 64, "Destination": "/theirs", "RW": False, "Mode": "ro"},
        {
            "Type": "bind",
            "Source": "/srv",
            "Destination": "/srv",
            "RW": False,
            "Propagation": "rslave",
        },
        {
            "Type": "bind",
            "Source": "/opt",
            "Destination": "/opt",
            "RW": True,
            "Propagation": "rprivate",
        },
    ]
    host = define(raw, None, references=References(gone=["gone"])).body["HostConfig"]
    assert host["VolumesFrom"] == ["there"]
    assert host["Binds"] == [
        "named:/n", f"{VOLUME}:/own", f"{'e' * 64}:/theirs:ro", "/srv:/srv:ro,rslave", "/opt:/opt"
    ]  # fmt: skip


def test_links_are_written_as_they_are_asked_for() -> None:
    raw = container()
    raw["HostConfig"]["Links"] = ["/db:/web/boss"]
    assert define(raw, None).body["HostConfig"]["Links"] == ["db:boss"]


def test_composes_note_of_the_image_follows_another_image_only() -> None:
    raw = container(Labels={"com.docker.compose.image": "sha256:1", "a": "b"})
    image: dict[str, Any] = {"Config": {}}
    assert define(raw, image).body["Labels"]["com.docker.compose.image"] == "sha256:1"
    told = define(raw, image, reference="shop:2", new_image_id="sha256:2").body
    assert (told["Image"], told["Labels"]) == (
        "shop:2",
        {"com.docker.compose.image": "sha256:2", "a": "b"},
    )


def test_of_an_image_that_is_gone_only_labels_that_are_known_to_be_the_owners_are_written() -> None:
    """The image's would count as the owner's on the new container."""
    raw = container(
        Labels={"dockmend.heal": "true", "com.docker.compose.project": "shop", "mine": "yes"}
    )
    assert define(raw, None).body["Labels"] == {}
    assert define(raw, None, owner_labels={"mine": "yes", "gone": ""}).body["Labels"] == {
        "mine": "yes"
    }


def test_it_changes_nothing_it_was_given() -> None:
    raw = container(Labels={"com.docker.compose.image": "sha256:1"})
    raw["HostConfig"]["Mounts"] = [{"Type": "volume", "Target": "/m"}]
    raw["Mounts"] = [{"Type": "volume", "Name": VOLUME, "Destination": "/m", "RW": True}]
    before = repr(raw)
    define(raw, {"Config": {}}, reference="x", new_image_id="y")
    assert repr(raw) == before


def test_an_old_api_is_given_one_network_and_the_others_afterwards() -> None:
    endpoints = {"alpha": {"Aliases": ["a"]}, "beta": {"Aliases": ["b"]}}
    body = {
        "HostConfig": {"NetworkMode": "alpha"},
        "NetworkingConfig": {"EndpointsConfig": endpoints},
    }
    first, others = one_network(body)
    assert first["NetworkingConfig"] == {"EndpointsConfig": {"alpha": {"Aliases": ["a"]}}}
    assert others == {"beta": {"Aliases": ["b"]}}
    assert set(endpoints) == {"alpha", "beta"}


def test_a_reference_that_names_another_image_by_now_is_kept_as_it_was_written() -> None:
    moved = define(container(Labels={"a": "b"}), {"Config": {}}, reference="sha256:1").body
    assert (moved["Image"], moved["Labels"]) == ("sha256:1", {"a": "b", "dockmend.image": "shop:1"})
    again = container(Labels=moved["Labels"], Image="sha256:1")
    image: dict[str, Any] = {"Config": {}}
    assert image_reference(again, image) == "shop:1"
    assert define(again, image, reference="sha256:1").body["Labels"] == moved["Labels"]
    assert define(again, image, reference="shop:1").body["Labels"] == {"a": "b"}
    # What the image itself bears, or may bear, is nobody's word about it.
    assert (
        image_reference(again, {"Config": {"Labels": {"dockmend.image": "shop:1"}}}) == "sha256:1"
    )
    assert image_reference(again, None) == "sha256:1"


def test_what_another_took_the_place_of_is_named_by_it() -> None:
    raw = container()
    raw["HostConfig"] |= {"Links": ["/db:/web/data"], "VolumesFrom": ["files:ro", "kept"]}
    host = define(raw, None, references=References({"db": "base", "files": "files-2"})).body[
        "HostConfig"
    ]
    assert host["Links"] == ["base:data"]
    assert host["VolumesFrom"] == ["files-2:ro", "kept"]
