"""A container made anew, on the real engine: what it keeps, what a new image changes, and what is
put back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dockmend.actions.action import ActionFailed
from dockmend.engine.api_versions import RANDOM_MACS
from dockmend.engine.client import DockerEngine
from dockmend.model import Endpoint
from dockmend.rules.action_parameters import Recreate
from tests.integration.acting import Acting
from tests.integration.healing import actions_seen, closed, daemon
from tests.lab import TOOLBOX, PrivateEngine, eventually

ANEW = """
version: 1
rules:
  - name: anew
    when: container.unhealthy
    match: all
    then: {{recreate: {{image: {image}}}}}
    limits: {{attempts: {attempts}, backoff: 100ms to 200ms}}
"""
EVERYTHING = """
  - name: seen
    when:
      [container.started, container.exited, container.missing, container.crashed, container.stopped]
    match: all
    then: {publish: {topic: seen}}
"""


def names(docker: PrivateEngine) -> dict[str, str]:
    rows = docker.api("GET", "/containers/json?all=1")[1]
    return {row["Names"][0].removeprefix("/"): row["State"] for row in rows}


def slow(docker: PrivateEngine, *options: str) -> str:
    """Healthy; once /cue/well is gone unhealthy, and a new one then takes minutes to say
    anything."""
    full = docker.run(
        "web", "--health-cmd", "test -e /cue/well", "--health-interval=300ms", "--health-retries=1",
        "--volume", "cue:/cue", "--health-start-period=300s", "--stop-timeout=1", *options,
    )  # fmt: skip
    docker.docker("exec", "web", "touch", "/cue/well")
    docker.await_health("web", "healthy", 30)
    return full


def test_an_unhealthy_container_is_recreated_and_its_incident_follows_the_new_one(
    docker: PrivateEngine,
):
    old = docker.patient("web", "--volume", "/data")
    docker.docker("exec", "web", "sh", "-c", "echo kept > /data/file")
    with daemon(docker, ANEW.format(image="same", attempts="2 per 15m") + EVERYTHING) as one:
        began = docker.now()
        docker.sicken("web", wait=False)
        (incident,) = closed(one, "healed", name="web")
        new = docker.inspect("web")["Id"]
        assert new != old
        assert (incident["object_id"], incident["target"], incident["attempts"]) == (
            new,
            "container:web",
            1,
        )
        assert docker.health("web") == "healthy"
        assert docker.docker("exec", "web", "cat", "/data/file") == "kept"
        assert names(docker) == {"web": "running"}
        assert actions_seen(docker, old, began, "stop", "rename", "destroy") == [
            "stop",
            "rename",
            "destroy",
        ]
        story = json.loads(one.cli("incidents", incident["id"], "--json"))
        assert [(step["action"], step["outcome"]) for step in story["actions"]] == [
            ("recreate", "done")
        ]
        docker.run("witness")
        closed(one, name="witness")  # what came before it has been told
        assert {row["object_name"] for row in one.incidents() if row["rule"] == "seen"} == {
            "witness"
        }


def test_a_new_one_that_does_not_start_is_put_away_and_the_old_one_runs_again(
    docker: PrivateEngine,
):
    docker.toolbox_image("shop:1")
    old = docker.patient("web", image="shop:1", cured_by_restart=False)
    docker.toolbox_image("shop:2", changes=['ENTRYPOINT ["/no/such/program"]'])
    docker.docker("tag", "shop:2", "shop:1")
    with daemon(docker, ANEW.format(image="newest", attempts="1 per 15m")) as one:
        docker.sicken("web")
        (incident,) = closed(one, "failed", name="web", timeout=60)
        assert docker.inspect("web")["Id"] == old
        assert names(docker) == {"web": "running"}
        assert "the new one was not well: it ended with exit code 127" in incident["reason"]
        assert "the old one was put back and started" in incident["reason"]


def test_escalation_recreates_what_restarts_did_not_heal(docker: PrivateEngine):
    docker.run(
        "web", "--health-cmd", "test ! -e /broken", "--health-interval=200ms", "--health-retries=1",
        "--health-start-period=1s",
    )  # fmt: skip
    docker.await_health("web", "healthy")
    rules = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: all
    then: restart
    verify: {within: 60s}
    limits: {attempts: 1 per 15m}
    escalate: [{recreate: {image: same}}]
"""
    with daemon(docker, rules) as one:
        # in the container's own layer: it outlives restarts
        docker.docker("exec", "web", "touch", "/broken")
        (incident,) = closed(one, "healed", name="web", timeout=150)
        assert "by recreate of its escalation" in incident["reason"]
        assert docker.health("web") == "healthy"
        assert names(docker) == {"web": "running"}


async def test_what_did_not_run_is_not_started(acting: Acting, docker: PrivateEngine):
    docker.docker("create", "--name", "made", TOOLBOX, "sleep", "86400")
    done = await acting.run("recreate", Recreate(), "made")
    assert names(docker) == {"made": "created"}
    assert "not started" in done.detail


async def test_one_that_was_started_with_rm_is_refused(acting: Acting, docker: PrivateEngine):
    old = docker.run("web", "--rm")
    with pytest.raises(ActionFailed, match="started with --rm") as failure:
        await acting.run("recreate", Recreate(), "web")
    assert not failure.value.again
    assert docker.inspect("web")["Id"] == old


async def test_a_task_of_a_swarm_service_is_refused(
    acting: Acting, own_engine: Callable[..., PrivateEngine]
):
    docker = own_engine()
    docker.docker(
        "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"
    )
    docker.docker(
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--name",
        "web",
        TOOLBOX,
        "sleep",
        "86400",
    )
    (task,) = eventually(lambda: docker.docker("ps", "--format", "{{.Names}}").split(), 60)
    old = docker.inspect(task)["Id"]
    async with acting.on(docker) as there:
        with pytest.raises(ActionFailed, match="a task of the Swarm service web") as failure:
            await there.run("recreate", Recreate(), task)
    assert not failure.value.again
    assert docker.inspect(task)["Id"] == old
    docker.docker("service", "rm", "web")


async def test_a_new_images_defaults_hold_where_the_user_set_none(
    acting: Acting, docker: PrivateEngine
):
    old = ("ENV A=old", "ENV B=old", "LABEL a=old", "LABEL b=old", "EXPOSE 80", "EXPOSE 81",
        "VOLUME /data",
           "WORKDIR /var", "USER nobody", "STOPSIGNAL SIGUSR1", 'CMD ["sleep", "1000"]',
           "HEALTHCHECK --interval=300ms --timeout=9s --retries=4 CMD true")  # fmt: skip
    new = ("ENV A=new", "ENV B=new", "ENV C=new", "LABEL a=new", "LABEL b=new", "EXPOSE 90",
        "VOLUME /more",
           "WORKDIR /tmp", "USER root", "STOPSIGNAL SIGINT", 'CMD ["sleep", "2000"]',
           "HEALTHCHECK --interval=400ms --timeout=8s --retries=5 CMD true")  # fmt: skip
    docker.toolbox_image("shop:1", changes=old)
    docker.toolbox_image("shop:2", changes=new)
    docker.run("plain", image="shop:1", command=())
    docker.run(
        "own", "--env", "B=mine", "--label", "b=mine", "--publish", "81", "--user", "1000",
        "--workdir", "/", "--stop-signal", "TERM", "--health-retries", "7", image="shop:1",
        command=("sleep", "3000"),
    )  # fmt: skip
    data = {name: mounts(docker, name)["/data"] for name in ("plain", "own")}

    for name in ("plain", "own"):
        await acting.run("recreate", Recreate(image="shop:2"), name)

    plain, own = docker.inspect("plain")["Config"], docker.inspect("own")["Config"]
    image = docker.api("GET", "/images/shop:2/json")[1]["Config"]
    for key in (
        "Env",
        "Labels",
        "Cmd",
        "WorkingDir",
        "User",
        "StopSignal",
        "Healthcheck",
        "ExposedPorts",
    ):
        assert sorted(plain[key]) == sorted(image[key]), key
    assert (plain["Image"], own["Image"]) == ("shop:2", "shop:2")
    assert set(own["Env"]) == {
        "A=new",
        "B=mine",
        "C=new",
        *(each for each in image["Env"] if each.startswith("PATH")),
    }
    assert own["Labels"] == {"a": "new", "b": "mine"}
    assert set(own["ExposedPorts"]) == {"81/tcp", "90/tcp"}
    assert (own["User"], own["WorkingDir"], own["StopSignal"]) == ("1000", "/", "TERM")
    assert own["Cmd"] == ["sleep", "3000"]
    assert (own["Healthcheck"]["Retries"], own["Healthcheck"]["Timeout"]) == (7, 8_000_000_000)
    for name in ("plain", "own"):
        assert mounts(docker, name)["/data"] == data[name]
        assert set(mounts(docker, name)) == {"/data", "/more"}


def mounts(docker: PrivateEngine, name: str) -> dict[str, str]:
    return {each["Destination"]: each["Name"] for each in docker.inspect(name)["Mounts"]}


async def test_what_came_from_a_container_that_is_gone_stays(
    acting: Acting, docker: PrivateEngine, tmp_path: Path
):
    """Its volumes, anonymous ones too, and its folders; of one that is there, they come that way
    again."""
    folder = tmp_path / "folder"
    folder.mkdir()
    docker.run(
        "gone",
        "--volume",
        "/anonymous",
        "--volume",
        "named:/named",
        "--volume",
        f"{folder}:/folder",
    )
    docker.run("there", "--volume", "/there")
    docker.run("web", "--volumes-from", "gone:ro", "--volumes-from", "there", "--volume", "/own")
    docker.docker("exec", "gone", "sh", "-c", "echo kept > /anonymous/file")
    before = {each["Destination"]: each for each in docker.inspect("web")["Mounts"]}
    docker.docker("rm", "--force", "gone")

    await acting.run("recreate", Recreate(), "web")

    after = {each["Destination"]: each for each in docker.inspect("web")["Mounts"]}
    for where in ("/anonymous", "/named", "/folder", "/there", "/own"):
        for key in ("Type", "Source", "RW", "Propagation"):
            assert after[where].get(key) == before[where].get(key), (where, key)
    assert docker.docker("exec", "web", "cat", "/anonymous/file") == "kept"
    assert docker.inspect("web")["HostConfig"]["VolumesFrom"] == ["there"]
    await acting.run("recreate", Recreate(), "web")  # and once more, from what was written out
    assert {each["Destination"] for each in docker.inspect("web")["Mounts"]} >= {
        "/anonymous",
        "/folder",
        "/there",
    }


async def test_what_the_new_one_brought_with_it_goes_with_it(acting: Acting, docker: PrivateEngine):
    """Put back: the volumes of the old one are there with what they held, those made for the new
    one are not."""
    docker.toolbox_image("shop:1", changes=["VOLUME /data"])
    docker.toolbox_image("shop:2", changes=["VOLUME /more", 'ENTRYPOINT ["false"]'])
    old = docker.run("web", "--restart", "on-failure:7", image="shop:1")
    docker.docker("exec", "web", "touch", "/data/file")
    before = mounts(docker, "web")

    with pytest.raises(
        ActionFailed, match=r"was not well: it ended.*; the old one was put back and started"
    ):
        await acting.run("recreate", Recreate(image="shop:2"), "web")

    assert docker.inspect("web")["Id"] == old
    assert docker.inspect("web")["HostConfig"]["RestartPolicy"] == {
        "Name": "on-failure",
        "MaximumRetryCount": 7,
    }
    assert docker.docker("exec", "web", "ls", "/data") == "file"
    volumes = docker.api("GET", "/volumes")[1]["Volumes"]
    assert [each["Name"] for each in volumes] == list(before.values())


async def test_a_container_that_cannot_be_made_touches_nothing(
    acting: Acting, docker: PrivateEngine
):
    docker.docker("create", "--name", "web", TOOLBOX, "sleep", "86400")
    with pytest.raises(ActionFailed, match=r"there is no image nope:1 on this host; pull it first"):
        await acting.run("recreate", Recreate(image="nope:1"), "web")
    assert names(docker) == {"web": "created"}


def test_who_stops_the_new_one_while_it_is_verified_is_obeyed(docker: PrivateEngine):
    old = slow(docker)
    with daemon(docker, ANEW.format(image="same", attempts="2 per 15m")) as one:
        docker.docker("exec", "web", "rm", "/cue/well")
        eventually(
            lambda: docker.inspect("web")["Id"] != old and docker.state("web") == "running", 60
        )
        docker.docker("stop", "web")  # while the new one's check has not said anything yet
        (incident,) = closed(one, "on_purpose", name="web", timeout=60)
        assert incident["reason"] == "stopped by a person"
        assert names(docker) == {"web": "exited"}


def test_a_network_that_was_lost_is_the_new_ones(docker: PrivateEngine):
    docker.docker("network", "create", "--subnet", "10.96.0.0/24", "lane")
    docker.run("web", "--network", "lane", "--ip", "10.96.0.7", "--network-alias", "shop")
    docker.docker("network", "connect", "bridge", "web")
    rules = ANEW.format(image="same", attempts="2 per 15m").replace(
        "container.unhealthy", "container.network_lost"
    )
    with daemon(docker, rules) as one:
        docker.docker("network", "disconnect", "lane", "web")
        closed(one, "healed", name="web", timeout=60)
        places = docker.inspect("web")["NetworkSettings"]["Networks"]
        assert set(places) == {"lane", "bridge"}
        assert (places["lane"]["IPAddress"], places["lane"]["Aliases"]) == ("10.96.0.7", ["shop"])


def test_an_engine_killed_while_the_new_one_is_verified_leaves_one_of_them(
    own_engine: Callable[..., PrivateEngine],
):
    """Both restart always: the engine that comes back starts what is set aside as well."""
    docker = own_engine()
    old = slow(docker, "--restart", "always", "--publish", "18300:80")
    with daemon(docker, ANEW.format(image="same", attempts="2 per 15m")) as one:
        docker.docker("exec", "web", "rm", "/cue/well")
        eventually(
            lambda: docker.inspect("web")["Id"] != old and docker.state("web") == "running", 60
        )
        new = docker.inspect("web")["Id"]
        docker.kill()
        docker.start()
        eventually(lambda: docker.docker("exec", "web", "touch", "/cue/well") == "", 60)
        (incident,) = closed(one, "healed", name="web", timeout=90)
        assert names(docker) == {"web": "running"}
        assert docker.inspect("web")["Id"] == incident["object_id"] == new
        assert docker.inspect("web")["HostConfig"]["RestartPolicy"]["Name"] == "always"


async def test_a_tag_that_moved_is_the_newest_and_not_the_same(
    acting: Acting, docker: PrivateEngine
):
    docker.toolbox_image("shop:1")
    docker.run("web", image="shop:1")
    before = docker.inspect("web")["Image"]
    docker.toolbox_image("shop:2", labels={"new": "yes"})
    docker.docker("tag", "shop:2", "shop:1")

    await acting.run("recreate", Recreate(image="newest"), "web")

    assert docker.inspect("web")["Config"]["Image"] == "shop:1"
    assert docker.inspect("web")["Config"]["Labels"] == {"new": "yes"}
    assert docker.inspect("web")["Image"] != before
    eventually(lambda: names(docker) == {"web": "running"})


MAIN, OTHER = "92:d0:c6:0a:29:41", "92:d0:c6:0a:29:42"


def in_three_networks(docker: PrivateEngine) -> None:
    """A MAC address is configured in the main network and in `beta`, not in `gamma`."""
    for network in ("alpha", "beta", "gamma"):
        docker.docker("network", "create", network)
    docker.run("web", "--network", f"name=alpha,mac-address={MAIN}", "--network",
        f"name=beta,mac-address={OTHER}",
               "--network", "gamma")  # fmt: skip


def macs(docker: PrivateEngine) -> dict[str, str]:
    """Those in use, by network; the container is started first."""
    docker.docker("start", "web")
    return {
        name: each["MacAddress"]
        for name, each in docker.inspect("web")["NetworkSettings"]["Networks"].items()
    }


@pytest.mark.parametrize("running", [True, False])
async def test_configured_mac_addresses_are_kept_and_made_up_ones_are_not(acting, docker, running):
    in_three_networks(docker)
    if not running:
        docker.docker("stop", "--time", "1", "web")

    done = await acting.run("recreate", Recreate(), "web")

    assert "MAC" not in done.detail
    first = macs(docker)
    docker.docker("network", "disconnect", "gamma", "web")
    # what was made up goes by the address, or is another each time
    docker.run("taker", "--network", "gamma")
    docker.docker("network", "connect", "gamma", "web")
    docker.docker("restart", "--time", "1", "web")
    second = macs(docker)
    assert [(each["alpha"], each["beta"]) for each in (first, second)] == [(MAIN, OTHER)] * 2
    assert first["gamma"] != second["gamma"]


async def test_what_is_not_known_of_a_mac_address_is_not_written_down_and_said(
    acting, docker, tmp_path
):
    in_three_networks(docker)
    # the engine's own files are out of reach
    acting.client = blind = DockerEngine(docker.url, root=tmp_path)
    try:
        await blind.connect()
        known = docker.api_version < RANDOM_MACS
        done = await acting.run("recreate", Recreate(), "web")
        assert ("whether its MAC address in beta, gamma was configured" in done.detail) is not known
        after = macs(docker)
        assert (after["alpha"], after["beta"] == OTHER) == (MAIN, known)

        acting.view.networks[(await blind.inspect("web")).id] = {
            "beta": Endpoint(network_id="", mac=OTHER), "gamma": Endpoint(network_id="", mac=""),
        }  # fmt: skip
        docker.docker("stop", "--time", "1", "web")
        done = await acting.run("recreate", Recreate(), "web")
        assert "MAC" not in done.detail
        after = macs(docker)
        assert (after["alpha"], after["beta"]) == (MAIN, OTHER)
    finally:
        await blind.close()


async def test_a_network_that_was_named_by_its_id_is_kept(acting, docker):
    docker.docker("network", "create", "alpha")
    identity = docker.docker("network", "inspect", "--format", "{{.Id}}", "alpha")
    docker.run("web", "--network", identity, "--mac-address", MAIN)

    await acting.run("recreate", Recreate(), "web")

    assert macs(docker) == {"alpha": MAIN}
