"""The client against the fake: what a real engine cannot be brought to do at will."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dockmend.engine import engine_queries, transport
from dockmend.engine.client import DockerEngine
from dockmend.errors import EngineAway, NotFound, Permanent, Temporary, Unreachable
from dockmend.model import Endpoint
from dockmend.owned import OwnedObject, OwnedObjects
from tests.fakes.engine import FakeEngine, Fault

from .raw import raw, served

# -------------------------------------------------------------------------------------- the version


@pytest.mark.parametrize(
    ("newest", "oldest", "used"),
    [
        ("1.45", "1.24", "1.45"),
        ("1.60", "1.44", "1.48"),
        ("1.40", "1.12", "1.40"),
        ("1.47", "1.47", "1.47"),
    ],
)
async def test_the_newest_version_both_know(
    fake: FakeEngine, client: DockerEngine, newest: str, oldest: str, used: str
) -> None:
    fake.versions = (newest, oldest)
    assert (await client.connect()).api_version == used
    await client.listing()
    assert client._transport.api_version == tuple(int(part) for part in used.split("."))


@pytest.mark.parametrize(
    ("newest", "oldest", "said"),
    [
        ("1.39", "1.12", "too old"),
        ("1.60", "1.50", "too new"),
        ("", "", "no Docker Engine"),
        ("x.y", "1", "no Docker"),
    ],
)
async def test_no_version_both_know(
    fake: FakeEngine, client: DockerEngine, newest: str, oldest: str, said: str
) -> None:
    fake.versions = (newest, oldest)
    with pytest.raises(Unreachable, match=said) as caught:
        await client.connect()
    assert caught.value.exit_code == 3


async def test_the_version_is_settled_by_the_first_call_too(
    fake: FakeEngine, client: DockerEngine
) -> None:
    await client.listing()
    await client.listing()
    assert fake.requests.count("GET /version") == 1


# -------------------------------------------------------------------------------------------- calls


async def test_an_inspect_is_one_call_once_the_image_is_known(
    fake: FakeEngine, client: DockerEngine
) -> None:
    fake.add_image("other", {"Labels": {"dockmend.heal": "true"}})
    fake.add_container("web", "other", labels={"dockmend.ignore": "true", "tier": "web"})
    await client.connect()
    fake.requests.clear()
    first = await client.inspect("web")
    assert len(fake.requests) == 2  # the image's labels, once for ever
    assert await client.inspect("web") == first
    assert len(fake.requests) == 3
    assert first.labels == {"dockmend.ignore": "true", "tier": "web"}
    assert first.image_labels == {"dockmend.heal": "true"}


async def test_a_container_without_labels_needs_no_look_at_its_image(
    fake: FakeEngine, client: DockerEngine
) -> None:
    fake.add_container("web")
    await client.connect()
    fake.requests.clear()
    await client.inspect("web")
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("of_owner", "of_image", "given"),
    [
        ([], [], False),
        (["DOCKER_HOST=tcp://proxy:2375"], [], True),
        (["DOCKER_HOST=unix:///engine.sock"], [], True),
        (["DOCKER_SOCK=tcp://proxy:2375"], [], True),
        (["DOCKER_SOCK=/var/run/docker.sock"], [], False),
        (["DOCKER_HOSTS=tcp://proxy:2375"], [], False),
        (["DOCKER_HOST=tcp://proxy:2375"], ["DOCKER_HOST=tcp://proxy:2375"], False),
        (["DOCKER_HOST=tcp://proxy:2375"], ["DOCKER_HOST=tcp://other:2375"], True),
    ],
)
async def test_an_engines_address_counts_if_its_image_did_not_bring_it(
    fake: FakeEngine, client: DockerEngine, of_owner: list[str], of_image: list[str], given: bool
) -> None:
    fake.add_image("other", {"Env": of_image})
    made = fake.add_container("web", "other")
    fake.containers[made]["Config"]["Env"] = of_owner
    for _ in range(2):
        assert (await client.inspect("web")).engine_address is given


@pytest.mark.parametrize("status", [404, 500])
async def test_an_image_that_cannot_be_inspected_leaves_nobodys_labels(
    fake: FakeEngine, client: DockerEngine, status: int
) -> None:
    image = fake.add_image("other", {"Labels": {"dockmend.heal": "true"}})
    fake.add_container("web", "other", labels={"tier": "web"})
    fake.faults.append(
        Fault(f"GET /images/{image}/json", status=status, message="No such image", times=2)
    )
    for _ in range(2):
        seen = await client.inspect("web")
        assert (seen.labels, seen.image_unknown) == ({}, True)
        assert seen.image_labels == {"dockmend.heal": "true", "tier": "web"}
    assert (await client.inspect("web")).labels == {"tier": "web"}


async def test_an_engine_that_says_nothing_of_the_image_is_asked_again(
    fake: FakeEngine, client: DockerEngine
) -> None:
    image = fake.add_image("other", {"Labels": {"dockmend.heal": "true"}})
    fake.add_container("web", "other", labels={"tier": "web"})
    fake.faults.append(Fault(f"GET /images/{image}/json", status=503, message="later"))
    with pytest.raises(Temporary):
        await client.inspect("web")


async def test_a_listing_asks_once_for_all_images(fake: FakeEngine, client: DockerEngine) -> None:
    for number in range(5):
        fake.add_image(f"image{number}", {"Labels": {"dockmend.heal": "true"}})
        fake.add_container(f"web{number}", f"image{number}", labels={"tier": "web"})
    await client.connect()
    fake.requests.clear()
    listing = await client.listing()
    assert [each.labels for each in listing.containers] == [{"tier": "web"}] * 5
    assert [each for each in fake.requests if "/images/" in each] == ["GET /images/json"]


async def test_what_vanishes_during_a_listing_is_left_out(
    fake: FakeEngine, client: DockerEngine
) -> None:
    fake.add_container("here")
    gone = fake.add_container("gone")
    fake.faults.append(
        Fault(f"GET /containers/{gone}/json", status=404, message="No such container")
    )
    assert [container.name for container in (await client.listing()).containers] == ["here"]


async def test_a_volume_plugin_that_is_down_does_not_blind_us_to_containers(
    fake: FakeEngine, client: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_queries, "VOLUMES_TIMEOUT", 0.1)
    fake.add_container("web")
    fake.add_volume("data")
    first = await client.listing()
    assert first.stale == ()
    fake.faults.append(Fault("GET /volumes", "hang"))
    second = await client.listing()
    assert second.stale == ("volumes",)
    assert [volume.name for volume in second.volumes] == ["data"]
    assert [container.name for container in second.containers] == ["web"]
    assert (await client.listing()).stale == ()


INSPECTS = "GET /containers/[0-9a-f]+/json"


async def test_a_listing_whose_every_inspect_fails_fails_as_itself(
    fake: FakeEngine, client: DockerEngine
) -> None:
    for number in range(40):
        fake.add_container(f"c{number}")
    fake.faults.append(
        Fault(INSPECTS, status=500, message="disk\non\x1b[31m fire " + "x" * 999, times=40)
    )
    with pytest.raises(Temporary) as caught:
        await client.listing()
    assert "disk on [31m fire" in str(caught.value)
    assert len(str(caught.value)) < 400
    fake.faults.clear()
    assert (await client.listing()).containers[0].name == "c39"


@pytest.mark.parametrize("kind", ["status", "cut", "hang"])
async def test_one_container_that_cannot_be_inspected_hides_no_other(
    fake: FakeEngine, client: DockerEngine, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_queries, "INSPECT_TIMEOUT", 1.0)
    ids = [fake.add_container(f"c{number}") for number in range(40)]
    fake.faults.append(Fault(f"GET /containers/{ids[7]}/json", kind, times=-1))
    listing = await client.listing()
    assert listing.unread == (ids[7],)
    assert {each.id for each in listing.containers} == set(ids) - {ids[7]}


async def test_an_answer_without_an_end_is_given_up(
    fake: FakeEngine, client: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 10_000)
    fake.add_container("small")
    await client.inspect("small")
    fake.add_container("large", labels={f"label{number}": "x" * 100 for number in range(100)})
    with pytest.raises(Temporary, match="longer than"):
        await client.inspect("large")


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (500, "something", Temporary),
        (503, "busy", Temporary),
        (429, "is not running", Temporary),
        (409, "removal of container x is already in progress", Temporary),
        (409, "Container x is restarting, wait until the container is running", Temporary),
        (409, "cannot join network of a non running container: x", Temporary),
        (500, "container is marked for removal and cannot be started", Permanent),
        (409, "container is marked for removal and cannot be started", Permanent),
        (400, "bad parameter", Permanent),
        (403, "forbidden", Permanent),
        (501, "not implemented", Permanent),
        (404, "No such container: web", NotFound),
    ],
)
async def test_what_another_try_can_help(
    fake: FakeEngine, client: DockerEngine, status: int, message: str, error: type[Exception]
) -> None:
    fake.faults.append(Fault("POST /containers/web/restart", status=status, message=message))
    with pytest.raises(error) as caught:
        await client.restart("web")
    assert type(caught.value) is error
    assert str(caught.value) == f"restart web: {message}"


async def test_a_refusal_through_a_proxy_that_names_a_charset(tmp_path: Path) -> None:
    body = b'{"message":"no such thing"}'
    head = (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json; "
        b"charset=utf-8\r\nContent-Length: %d\r\n\r\n"
    )
    async with raw(tmp_path / "s", head % len(body) + body) as url:
        client = DockerEngine(url)
        try:
            with pytest.raises(NotFound, match=r"^inspect web: no such thing$"):
                await client.inspect("web")
        finally:
            await client.close()


async def test_an_engine_that_does_not_answer_is_a_temporary_error(fake: FakeEngine) -> None:
    fake.add_container("web")
    client = DockerEngine(fake.url, timeout=0.2)
    try:
        await client.connect()
        fake.hang()
        for call in (
            client.ping(timeout=0.1),
            client.inspect("web"),
            client.inspect("web", timeout=0.1),
            client.listing(),
        ):
            with pytest.raises(Temporary, match="did not answer in time") as caught:
                await call
            assert not isinstance(caught.value, EngineAway)
        fake.resume()
        await client.ping()
        assert (await client.inspect("web")).name == "web"
    finally:
        await client.close()


@pytest.mark.parametrize("name", ["", ".", "..", "../networks", "web/../../info", "a\x00b"])
async def test_a_name_that_would_lead_elsewhere_is_never_asked_for(
    fake: FakeEngine, client: DockerEngine, name: str
) -> None:
    await client.connect()
    fake.requests.clear()
    for call in (
        client.inspect(name),
        client.inspect_image(name),
        client.inspect_volume(name),
        client.remove(name),
    ):
        with pytest.raises(NotFound):
            await call
    assert fake.requests == []


@pytest.mark.parametrize("name", ["a?force=1", "a#b", "a%2e%2e", "ä b", "a&b=c"])
async def test_a_name_with_odd_characters_stays_one_name(
    fake: FakeEngine, client: DockerEngine, name: str
) -> None:
    await client.connect()
    fake.volumes[name] = {"Name": name}
    fake.requests.clear()
    assert (await client.inspect_volume(name)).name == name
    assert fake.requests == [f"GET /volumes/{name}"]


async def test_a_cut_line_is_an_absence(fake: FakeEngine, client: DockerEngine) -> None:
    await client.connect()
    fake.faults.append(Fault("POST /containers/web/restart", "cut"))
    with pytest.raises(EngineAway, match="connection lost"):
        await client.restart("web")


async def test_the_stop_timeout_gives_the_call_its_time(
    fake: FakeEngine, client: DockerEngine
) -> None:
    identity = fake.add_container("web", StopTimeout=120)
    await client.inspect("web")
    assert client._stopping(identity, None, None) == ({}, 180.0)
    assert client._stopping("unknown", None, None) == ({}, 70.0)
    assert client._stopping("unknown", 2.0, "SIGINT") == ({"t": "2", "signal": "SIGINT"}, 62.0)
    assert client._stopping("unknown", 2.1, None)[0] == {"t": "3"}


async def test_a_mac_address_is_put_back_where_the_engine_can(
    fake: FakeEngine, client: DockerEngine
) -> None:
    fake.connect_keeps_mac = True
    fake.add_network("shop")
    fake.add_container("web")
    await client.connect_network("shop", "web", Endpoint(network_id="", mac="02:11:22:33:44:55"))
    assert (await client.inspect("web")).networks["shop"].mac == "02:11:22:33:44:55"


async def test_which_network_the_default_route_goes_through_is_put_back(
    fake: FakeEngine, client: DockerEngine
) -> None:
    """Engine 28 has it, API 1.48; before that nobody can have asked for it."""
    fake.add_network("shop")
    fake.add_container("web")
    await client.connect_network("shop", "web", Endpoint(network_id="", gw_priority=100))
    assert (await client.inspect("web")).networks["shop"].gw_priority == 100


@pytest.mark.parametrize("answer", [b"", b"null", b"[]", b"{", b'{"Id": 7}', b"\xff"])
async def test_an_answer_that_is_none_is_a_temporary_error(answer: bytes, tmp_path: Path) -> None:
    async with served(tmp_path / "s", answer) as url:
        client = DockerEngine(url)
        try:
            with pytest.raises(Temporary, match="not understood"):
                await client.inspect("web")
        finally:
            await client.close()


async def test_an_image_that_the_engine_could_not_load_is_an_error(tmp_path: Path) -> None:
    said = (
        b'{"status":"Loading layer"}\r\n{"errorDetail":{"message":"no space '
        b'left"},"error":"no space left"}\r\n'
    )
    async with served(tmp_path / "s", said) as url:
        client = DockerEngine(url)
        try:
            with pytest.raises(Permanent, match=r"^load dockmend-empty:latest: no space left$"):
                await client.load_empty_image("dockmend-empty:latest")
        finally:
            await client.close()


@pytest.mark.parametrize("there", [True, False])
async def test_an_image_that_another_load_has_just_named_is_loaded(
    fake: FakeEngine, client: DockerEngine, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The containerd image store refuses the later of two loads of one image; it is the same image,
    byte by byte."""
    said = b'{"error":"AlreadyExists: image \\"docker.io/library/empty:1\\": already exists"}\r\n'
    call = client._transport.call

    async def refused(what: str, path: str, *args: Any, **options: Any) -> bytes:
        return said if path.startswith("images/load") else await call(what, path, *args, **options)

    monkeypatch.setattr(client._transport, "call", refused)
    if there:
        fake.add_image("empty:1", {})
        await client.load_empty_image("empty:1")
    else:
        with pytest.raises(Permanent, match="already exists"):
            await client.load_empty_image("empty:1")


async def test_a_name_like_a_set_aside_one_is_judged_in_every_look(
    fake: FakeEngine, client: DockerEngine
) -> None:
    name = "db.dockmend-old-i0abc0abc0abc0ab"
    fake.add_container(name, "toolbox")
    await client.connect()
    assert (await client.inspect(name)).plain_name == name
    assert (await client.listing()).containers[0].plain_name == name
    known = (await client.inspect(name)).id
    client.names = OwnedObjects(
        "", [OwnedObject("o1", "container", name, "", "i0abc0abc0abc0ab", "aside", 0.0, known)]
    )
    assert (await client.inspect(name)).plain_name == "db"


@pytest.mark.parametrize("call", ["stop", "restart"])
@pytest.mark.parametrize(("version", "taken"), [("1.41", False), ("1.42", True)])
async def test_a_signal_that_the_engine_would_ignore_is_refused(
    fake: FakeEngine, client: DockerEngine, call: str, version: str, taken: bool
) -> None:
    """It would send the container's own stop signal, and say nothing of it."""
    fake.versions = (version, "1.12")
    fake.add_container("web")
    await client.connect()
    fake.requests.clear()
    await getattr(client, call)("web", 1.0)
    assert len(fake.requests) == 1
    if taken:
        await getattr(client, call)("web", 1.0, "SIGQUIT")
        return
    with pytest.raises(Permanent, match="sends no other signal than"):
        await getattr(client, call)("web", 1.0, "SIGQUIT")
    assert len(fake.requests) == 1
