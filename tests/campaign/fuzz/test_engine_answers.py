"""What an engine may send: any bytes on the stream, any inspect answer, any order of events, looks
and lists."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from dockmend.engine import wire
from dockmend.engine.stream import Drain, decode_lines
from dockmend.mirror import Mirror
from dockmend.model import Actor, Change, Container, Endpoint, Event, HealthCheck, Network

pytestmark = pytest.mark.campaign
IDS = [letter * 64 for letter in "abc"]
NETS = [
    Network(id="n" * 64, name="net"),
    Network(id="m" * 64, name="net"),
    Network(id="b" * 64, name="bridge"),
]
TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "0", "9", "15", "KILL", "137", "-1", "²", "1" * 5000]),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
ACTIONS = [
    "create",
    "start",
    "die",
    "kill",
    "stop",
    "restart",
    "oom",
    "pause",
    "unpause",
    "rename",
    "destroy",
    "update",
    "health_status: healthy",
    "health_status: unhealthy",
    "health_status: starting",
    "exec_die",
    "connect",
    "disconnect",
    "remove",
    "prune",
    "mount",
]
TIMES = st.integers(900, 1100).map(float)

lines = st.one_of(
    st.binary(max_size=80),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {},
        optional={
            "Type": JSON | st.sampled_from(["container", "network"]),
            "Action": JSON | st.sampled_from(ACTIONS),
            "Actor": JSON | st.fixed_dictionaries({}, optional={"ID": JSON, "Attributes": JSON}),
            "time": JSON,
            "timeNano": JSON,
            "scope": JSON,
        },
    ).map(lambda value: json.dumps(value).encode()),
)


def test_any_lines_in_any_pieces(fuzz) -> None:
    def feed(drawn: list[bytes], cuts: list[int]) -> None:
        whole = b"\n".join(drawn) + b"\n"
        drain = Drain(limit=1 << 20)
        places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
        for start, end in pairwise(places):
            drain.feed(whole[start:end])
        events, _ = decode_lines(b"".join(drain._chunks))
        mirror = Mirror()
        for event in events:
            list(mirror.apply(event, 1000.0))

    fuzz(
        feed, st.lists(lines, min_size=1, max_size=8), st.lists(st.integers(0, 10_000), max_size=4)
    )


KEYS = [
    "Id",
    "Name",
    "Config",
    "State",
    "HostConfig",
    "NetworkSettings",
    "Mounts",
    "Image",
    "Created",
    "RestartCount",
]
INSPECTS = st.fixed_dictionaries(
    {},
    optional={
        "Id": st.sampled_from(IDS) | JSON,
        "Name": TEXT,
        "Image": TEXT | JSON,
        "Created": TEXT | JSON,
        "RestartCount": JSON,
        "State": st.fixed_dictionaries(
            {},
            optional={
                "Status": TEXT | JSON,
                "ExitCode": JSON,
                "StartedAt": TEXT | st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
                "FinishedAt": TEXT | JSON,
                "Health": JSON | st.fixed_dictionaries({"Status": TEXT}),
                "Error": JSON,
            },
        )
        | JSON,
        "Config": st.fixed_dictionaries(
            {},
            optional={
                "Labels": JSON | st.dictionaries(TEXT, TEXT, max_size=3),
                "StopSignal": JSON,
                "StopTimeout": JSON,
                "Healthcheck": JSON
                | st.fixed_dictionaries(
                    {}, optional={"Test": JSON, "Interval": JSON, "Retries": JSON}
                ),
            },
        )
        | JSON,
        "HostConfig": st.fixed_dictionaries(
            {}, optional={"NetworkMode": JSON, "RestartPolicy": JSON}
        )
        | JSON,
        "NetworkSettings": st.fixed_dictionaries(
            {},
            optional={
                "Networks": JSON
                | st.dictionaries(
                    TEXT,
                    JSON
                    | st.fixed_dictionaries(
                        {},
                        optional={
                            "NetworkID": JSON,
                            "Aliases": JSON,
                            "IPAMConfig": JSON,
                            "IPAddress": TEXT,
                            "MacAddress": TEXT,
                        },
                    ),
                    max_size=2,
                ),
            },
        )
        | JSON,
        "Mounts": JSON,
    },
)


def test_any_inspect_answer(fuzz) -> None:
    """Either it is refused as not understood, or it becomes a container that the mirror takes and
    can journal."""

    def decode(answer: Any) -> None:
        try:
            container = wire.to_container(
                msgspec.json.decode(json.dumps(answer), type=wire.WireContainer), {}
            )
        except msgspec.MsgspecError:
            return
        mirror = Mirror()
        mirror.relist([container], NETS, [], 1000.0, "started")
        mirror.observe(container, 1001.0)
        list(mirror.tick(2000.0))
        known = mirror.known(container.id)
        assert known is not None
        Mirror().restore(known)

    fuzz(decode, INSPECTS)


containers = st.builds(
    Container,
    id=st.sampled_from(IDS),
    name=st.sampled_from(["web", "db"]),
    state=st.sampled_from(
        ["created", "running", "paused", "restarting", "removing", "exited", "dead"]
    ),
    health=st.sampled_from(["", "starting", "healthy", "unhealthy"]),
    exit_code=st.sampled_from([None, 0, 1, 137, 143, 255]),
    started_at=st.one_of(st.just(0.0), TIMES),
    finished_at=st.one_of(st.just(0.0), TIMES),
    restart_policy=st.sampled_from(["no", "always", "unless-stopped", "on-failure"]),
    auto_remove=st.booleans(),
    check=st.sampled_from([None, HealthCheck()]),
    network_mode=st.sampled_from(
        ["bridge", "net", "host", "none", f"container:{IDS[0]}", f"container:{IDS[1]}"]
    ),
    networks=st.dictionaries(
        st.sampled_from(["net", "bridge"]),
        st.builds(
            Endpoint,
            network_id=st.sampled_from(["", *(each.id for each in NETS)]),
            address=st.sampled_from(["", "1.2.3.4", "1.2.3.5"]),
        ),
        max_size=2,
    ),
    labels=st.sampled_from([{}, {"exitCode": "0"}, {"signal": "9"}]),
)
events = st.builds(
    lambda kind, action, of, at, code: Event(
        kind,
        action,
        Actor(
            of if kind == "container" else NETS[0].id,
            {"exitCode": code, "signal": code, "name": "web", "container": of},
        ),
        int(at * 1e9),
    ),
    st.sampled_from(["container", "container", "container", "network", "volume", "image"]),
    st.sampled_from(ACTIONS),
    st.sampled_from(IDS),
    TIMES,
    TEXT,
)
STEPS = st.one_of(
    events.map(lambda event: ("event", event)),
    containers.map(lambda seen: ("look", seen)),
    st.sampled_from(IDS).map(lambda of: ("gone", of)),
    st.lists(containers, max_size=3, unique_by=lambda each: each.id).map(
        lambda seen: ("list", seen)
    ),
    st.tuples(
        st.just("expect"),
        st.tuples(st.sampled_from(IDS), st.sampled_from(["restart", "start", "stop", "pause"])),
    ),
    st.tuples(st.sampled_from(["expected", "look_again"]), st.sampled_from(IDS)),
    st.tuples(st.just("wait"), st.integers(0, 100)),
    st.just(("engine_lost", None)),
    st.just(("engine_back", None)),
    st.just(("reborn", None)),
)


def step(mirror: Mirror, what: str, value: Any, now: float) -> tuple[Mirror, list[Change]]:
    """One thing that happens to a mirror; the mirror after it (a restart of dockmend makes
    another)."""
    if what == "event":
        return mirror, list(mirror.apply(value, now))
    if what == "look":
        return mirror, mirror.observe(value, now)
    if what == "gone":
        return mirror, mirror.gone(value, now)
    if what == "list":
        return mirror, mirror.relist(value, NETS, [], now)
    if what == "expect":
        mirror.expect(*value)
    elif what in {"expected", "look_again"}:
        getattr(mirror, what)(value, now)
    elif what in {"engine_lost", "engine_back"}:
        return mirror, getattr(mirror, what)(now)
    elif what == "reborn":
        again = Mirror()
        for container_id in list(mirror.entries):
            known = mirror.known(container_id)
            assert known is not None
            again.restore(known)
        return again, []
    return mirror, mirror.tick(now)


def test_after_any_interleaving_a_list_makes_the_mirror_equal_to_it(fuzz) -> None:
    def live(steps: list[tuple[str, Any]], last: list[Container]) -> None:
        mirror, now = Mirror(), 1000.0
        for what, value in steps:
            now += float(value) if what == "wait" else 0.25
            mirror, changes = step(mirror, what, value, now)
            for change in changes:
                assert change.triggers
                assert change.trouble
        mirror.relist(last, NETS, [], now)
        listed = {each.id: each for each in last}
        while mirror.wanted:
            wanted = mirror.wanted.pop()
            if wanted in listed:
                mirror.observe(listed[wanted], now)
            else:
                mirror.gone(wanted, now)
        assert sorted(mirror.containers(), key=lambda each: each.id) == sorted(
            last, key=lambda each: each.id
        )
        assert {each.id for each in mirror.networks.values()} == {each.id for each in NETS}
        mirror.tick(now + 10_000.0)
        due = mirror.next_due()
        assert due is None or due > now, "a timer that is never over"

    fuzz(
        live,
        st.lists(STEPS, max_size=25),
        st.lists(containers, max_size=3, unique_by=lambda each: each.id),
    )
