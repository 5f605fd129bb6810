"""commit_image against a real engine: what it keeps, what it leaves alone, and what it puts right
after a death."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import suppress
from typing import Any, cast

import pytest

from dockmend.actions.action import ActionFailed
from dockmend.app.image_cleanup import ImageCleanup
from dockmend.engine.client import DockerEngine
from dockmend.journal.journal_api import Journal
from dockmend.journal.records import ActionRecord, Incident
from dockmend.observer import Observer
from dockmend.pipeline.incidents import Incidents
from dockmend.rules.action_parameters import CommitImage, Recreate
from tests.fakes.owning import owning
from tests.integration.acting import INCIDENT, Acting, Died
from tests.lab import PrivateEngine, eventually, eventually_async
from tests.unit.pipeline.clinic import Records

KEPT = CommitImage(repository="kept", tag="{container.name}")


def image(docker: PrivateEngine, reference: str) -> dict[str, Any]:
    return dict(json.loads(docker.docker("image", "inspect", reference))[0])


def tags(docker: PrivateEngine, repository: str = "kept") -> set[str]:
    return set(docker.docker("images", "--format", "{{.Tag}}", repository).splitlines())


def ids(docker: PrivateEngine, label: str) -> list[str]:
    return docker.docker(
        "images", "--quiet", "--no-trunc", "--filter", f"label={label}"
    ).splitlines()


def change(docker: PrivateEngine, name: str, text: str) -> None:
    """Something new, so that two commits are two images."""
    docker.docker("exec", name, "sh", "-c", f"echo {text} >/state")


async def test_commit_keeps_what_the_container_was_and_says_who_made_it(
    acting: Acting, docker: PrivateEngine
) -> None:
    docker.run("Web_1", "--label", "tier=front")
    change(docker, "Web_1", "first")
    params = CommitImage(
        repository="kept/{container.name}", message="of {container.name}",
        author="rule {rule.name}", changes=["ENV KEPT=yes", "LABEL of={container.name}"],
    )  # fmt: skip

    done = await acting.run("commit_image", params, "Web_1")

    reference = done.facts["reference"]
    assert reference.startswith("kept/web_1:Web_1-20")
    made = image(docker, reference)
    assert made["Id"] == done.facts["image"]
    assert made["Comment"] == "of Web_1"
    assert made["Author"] == "rule heal"
    assert "KEPT=yes" in made["Config"]["Env"]
    labels = made["Config"]["Labels"]
    assert labels["tier"] == "front"
    assert labels["of"] == "Web_1"
    assert labels["dockmend.rule"] == "heal"
    assert labels["dockmend.incident"] == INCIDENT
    assert labels["dockmend.source"] == "Web_1"
    assert labels["dockmend.reference"] == reference
    assert labels["dockmend.committed_at"].startswith("20")
    assert docker.docker("run", "--rm", reference, "cat", "/state") == "first"
    assert docker.state("Web_1") == "running"


async def test_commit_of_an_exited_and_of_a_paused_container(acting, docker):
    docker.run("web")
    docker.docker("pause", "web")
    await acting.run("commit_image", KEPT, "web")
    assert docker.state("web") == "paused"
    assert acting.undo["commit"]["paused_by_engine"] is False
    docker.docker("unpause", "web")
    docker.docker("kill", "web")
    docker.await_state("web", "exited")

    done = await acting.run("commit_image", KEPT, "web")

    assert done.facts["reference"] == "kept:web"
    assert docker.state("web") == "exited"


async def test_commit_without_pause_freezes_nothing_of_its_own(acting, docker):
    docker.run("web")
    since = docker.now()

    await acting.run("commit_image", CommitImage(repository="kept", tag="t", pause=False), "web")

    assert not docker.events(since=since, type="container", event="pause", container="web")
    assert acting.undo["commit"]["paused_by_engine"] is False
    await acting.run("commit_image", CommitImage(repository="kept", tag="t"), "web")
    assert docker.events(since=since, type="container", event="unpause", container="web")


async def test_tag_of_somebody_elses_image_is_never_moved(acting, docker):
    docker.run("web")
    docker.docker("tag", "toolbox:latest", "kept:web")

    with pytest.raises(
        ActionFailed, match="kept:web names an image that rule heal did not make"
    ) as failure:
        await acting.run("commit_image", KEPT, "web")

    assert not failure.value.again
    assert image(docker, "kept:web")["Id"] == image(docker, "toolbox:latest")["Id"]


async def test_tag_of_another_rules_image_gets_the_incident_added(acting, docker):
    docker.run("web")
    acting.rule = "other"
    first = await acting.run("commit_image", KEPT, "web")
    acting.rule = "heal"

    second = await acting.run("commit_image", KEPT, "web")

    assert second.facts["reference"] == f"kept:web-{INCIDENT}"
    change(docker, "web", "again")
    assert (await acting.run("commit_image", KEPT, "web")).facts[
        "reference"
    ] == f"kept:web-{INCIDENT}"
    assert image(docker, "kept:web")["Id"] == first.facts["image"]


async def test_name_that_leaves_no_reference_is_refused(acting, docker):
    docker.run("web", "--label", "where=///")

    with pytest.raises(ActionFailed, match="leaves nothing that could name an image") as failure:
        await acting.run("commit_image", CommitImage(repository="{container.labels[where]}"), "web")

    assert not failure.value.again


async def test_field_with_a_line_break_adds_no_instruction(acting, docker):
    docker.run("web", "--label", "note=x\nUSER root")

    with pytest.raises(ActionFailed, match="put a line break into `changes`"):
        await acting.run(
            "commit_image",
            CommitImage(repository="kept", changes=["LABEL n={container.labels[note]}"]),
            "web",
        )


# ------------------------------------------------------------------------------------------ keeping
async def test_keep_removes_the_oldest_of_this_rule_and_container_only(acting, docker):
    docker.run("web")
    docker.run("api")
    keep = CommitImage(repository="kept", tag="{container.name}-{container.labels[n]}", keep=2)
    docker.docker("tag", "toolbox:latest", "kept:mine")
    numbered = []
    for number in range(4):
        docker.docker("rm", "--force", "web")
        docker.run("web", "--label", f"n={number}")
        numbered.append(await acting.run("commit_image", keep, "web"))
        if number == 0:
            await acting.run("commit_image", keep.model_copy(update={"tag": "api"}), "api")
            await acting.run("commit_image", keep.model_copy(update={"repository": "apart"}), "web")
            acting.rule = "other"
            await acting.run("commit_image", keep.model_copy(update={"tag": "of-other"}), "web")
            acting.rule = "heal"

    assert tags(docker) == {"mine", "api", "of-other", "web-2", "web-3"}
    assert tags(docker, "apart") == {"web-0"}
    assert numbered[-1].detail == "committed as kept:web-3; removed 1 older image"


async def test_keep_with_one_tag_removes_what_lost_it(acting, docker):
    docker.run("web")
    keep = KEPT.model_copy(update={"keep": 2})
    for number in range(4):
        acting.incident = f"i{number:015}"
        change(docker, "web", str(number))
        last = await acting.run("commit_image", keep, "web")

    assert len(ids(docker, "dockmend.rule=heal")) == 2
    assert image(docker, "kept:web")["Id"] == last.facts["image"]
    # a second attempt of the same incident takes the first one's place
    change(docker, "web", "again")
    await acting.run("commit_image", keep, "web")
    assert last.facts["image"] not in ids(docker, "dockmend.rule=heal")
    assert len(ids(docker, "dockmend.rule=heal")) == 2
    assert docker.docker("run", "--rm", "kept:web", "cat", "/state") == "again"


async def test_keep_leaves_what_is_used_or_has_another_tag_and_says_so(acting, docker):
    keep = CommitImage(repository="kept", tag="{container.labels[n]}", keep=1)
    for number in ("used", "tagged", "plain", "last"):
        docker.docker("rm", "--force", "web", check=False)
        docker.run("web", "--label", f"n={number}")
        done = await acting.run(
            "commit_image", keep.model_copy(update={"keep": 1 if number == "last" else None}), "web"
        )
        if number == "used":
            docker.run("user", image="kept:used")
        if number == "tagged":
            docker.docker("tag", "kept:tagged", "mine:1")

    assert tags(docker) == {"used", "tagged", "last"}
    assert done.detail.startswith("committed as kept:last; removed 1 older image; ")
    assert "left kept:used: a container uses it" in done.detail
    assert "left kept:tagged: it is tagged mine:1 too" in done.detail


async def test_keep_leaves_what_a_person_made_from_an_image_of_dockmends(acting, docker):
    docker.run("web")
    await acting.run("commit_image", CommitImage(repository="kept", tag="first"), "web")
    docker.run("copy", image="kept:first")
    docker.docker("commit", "copy", "kept:persons")  # inherits every label, dockmend's too
    change(docker, "web", "more")

    done = await acting.run(
        "commit_image", CommitImage(repository="kept", tag="second", keep=1), "web"
    )

    assert "persons" in tags(docker)
    assert done.detail == "committed as kept:second; left kept:first: a container uses it"


# ----------------------------------------------------------------------------------------- settling
async def test_death_before_the_commit(acting, docker):
    docker.run("web")
    record = await acting.run_and_die("commit_image", KEPT, "web")
    acting.ahead = 60.0

    settled = await acting.settle(record)

    assert not settled.done
    assert settled.detail == "it had not been committed"
    assert tags(docker) == set()


async def test_death_while_the_engine_commits(acting, docker):
    docker.run("web")
    docker.docker("exec", "web", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=150")
    record = await acting.run_and_die("commit_image", KEPT, "web")
    labels = {
        "dockmend.incident": INCIDENT,
        "dockmend.committed_at": record.undo["commit"]["committed_at"],
    }
    async with asyncio.TaskGroup() as group:
        group.create_task(
            acting.client.commit(
                record.object_id, "kept", "web", labels=labels | {"dockmend.reference": "kept:web"}
            )
        )
        settled = await acting.settle(record)
        assert docker.state("web") == "running"

    assert settled.done
    assert settled.detail == "it had been committed as kept:web"
    assert len(ids(docker, f"dockmend.incident={INCIDENT}")) == 1


async def test_death_that_left_the_container_frozen(acting, docker):
    docker.run("web")
    record = await acting.run_and_die("commit_image", KEPT, "web")
    docker.docker("pause", "web")
    acting.ahead = 60.0

    settled = await acting.settle(record)

    assert not settled.done
    assert settled.detail == "it had not been committed; it had been left paused, and was unpaused"
    assert docker.state("web") == "running"


async def test_what_somebody_had_paused_stays_paused(acting, docker):
    docker.run("web")
    docker.docker("pause", "web")
    record = await acting.run_and_die("commit_image", KEPT, "web")
    acting.ahead = 60.0

    assert not (await acting.settle(record)).done

    assert docker.state("web") == "paused"


async def test_an_earlier_attempts_image_is_not_taken_for_this_ones(acting, docker):
    docker.run("web")
    await acting.run("commit_image", KEPT, "web")
    record = await acting.run_and_die("commit_image", KEPT, "web")
    acting.ahead = 60.0

    assert not (await acting.settle(record)).done


# ---------------------------------------------------------------------- one image, whenever it ends
async def test_death_between_a_second_commit_and_the_removal_of_the_first_ones_image(
    acting, docker, monkeypatch
):
    """How the campaign once came by an image without a name."""
    docker.run("web")
    await acting.run("commit_image", KEPT, "web")
    change(docker, "web", "again")
    with monkeypatch.context() as dying:
        dying.setattr(acting.client, "remove_image", _dies)
        with pytest.raises(Died):
            await acting.run("commit_image", KEPT, "web")
    assert len(ids(docker, f"dockmend.incident={INCIDENT}")) == 2
    record = acting.record("commit_image", await acting.client.inspect("web"))

    settled = await acting.settle(record)

    assert settled.done
    [left] = ids(docker, f"dockmend.incident={INCIDENT}")
    assert image(docker, "kept:web")["Id"] == left
    assert docker.docker("run", "--rm", "kept:web", "cat", "/state") == "again"


async def _dies(*_: object, **__: object) -> None:
    raise Died


async def test_commit_whose_client_is_gone_and_that_is_still_going_on_when_the_next_begins(
    acting, docker
):
    docker.run("web")
    docker.docker("exec", "web", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=200")
    docker.docker("kill", "web")
    docker.await_state("web", "exited")
    record = await acting.run_and_die("commit_image", KEPT, "web")
    since = docker.now()
    first = DockerEngine(docker.url)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.2):  # the engine has the request, and is not done with 200 MB
            await first.commit(record.object_id, "kept", "web", labels=_labels(record))
    await first.close()
    assert ids(docker, f"dockmend.incident={INCIDENT}") == []

    done = await acting.run("commit_image", KEPT, "web")

    async def one_is_left() -> bool:
        await _spare_images(acting).once()  # for a first one that takes longer than the second
        return await _one_is_left(acting, done.facts["image"])

    # containerd's store gives the first one up with its client: "failed to export layer:
    # CreateDiff: Canceled"
    commits = 1 if docker.containerd_store else 2

    def all_ended() -> bool:
        return (
            len(docker.events(since=since, type="container", event="commit", container="web"))
            == commits
        )

    eventually(all_ended, 60, what="the engine has ended its commits")
    await eventually_async(one_is_left, what="one image is left")


@pytest.mark.parametrize("closed", [True, False])
async def test_commit_that_ends_after_another_attempts_image_was_made(acting, docker, closed):
    """It takes the name from that: the later attempt's image gets it back as soon as the incident
    is over."""
    docker.run("web")
    record = await acting.run_and_die("commit_image", KEPT, "web")
    done = await acting.run("commit_image", KEPT, "web")
    await acting.client.commit(record.object_id, "kept", "web", labels=_labels(record))
    assert image(docker, "kept:web")["Id"] != done.facts["image"]
    incident = acting.context(await acting.client.inspect("web")).incident

    await _spare_images(acting, *(() if closed else (incident,))).once()

    assert len(ids(docker, f"dockmend.incident={INCIDENT}")) == (1 if closed else 2)
    if closed:
        assert await _one_is_left(acting, done.facts["image"])


def _labels(record: ActionRecord) -> dict[str, str]:
    begun = record.undo["commit"]
    return {
        "dockmend.incident": INCIDENT, "dockmend.rule": "heal", "dockmend.source": "web",
        "dockmend.reference": begun["reference"], "dockmend.committed_at": begun["committed_at"],
    }  # fmt: skip


def _spare_images(acting: Acting, *still_open: Incident) -> ImageCleanup:
    incidents = Incidents(cast("Journal", Records()), Observer(), time.time, random.Random(1))
    incidents.open.update({each.id: each for each in still_open})
    own = owning(acting.client, acting.rows)
    return ImageCleanup(own, incidents, shadow=False)


async def _one_is_left(acting: Acting, identity: str) -> bool:
    left = await acting.client.images({"dockmend.incident": INCIDENT})
    return [(each.id, each.tags) for each in left] == [(identity, ("kept:web",))]


async def test_image_that_the_engine_left_without_its_name_gets_it(acting, docker):
    docker.run("web")
    record = await acting.run_and_die("commit_image", KEPT, "web")
    identity = await acting.client.commit(record.object_id, "kept", "web", labels=_labels(record))
    docker.docker("tag", "toolbox:latest", "kept:web")
    docker.docker("rmi", "kept:web")
    acting.ahead = 60.0

    assert (await acting.settle(record)).done

    assert await _one_is_left(acting, identity)


async def test_engine_that_died_in_the_middle_of_the_commit(acting, own_engine):
    docker = own_engine(live_restore=True)
    docker.run("web")
    docker.docker("exec", "web", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=300")
    client = DockerEngine(docker.url)
    own = Acting(docker, client)
    record = await own.run_and_die("commit_image", KEPT, "web")
    docker.docker("pause", "web")  # as the engine does first
    docker.kill()
    docker.start()
    eventually(lambda: docker.state("web") == "paused")
    own.ahead = 60.0

    settled = await own.settle(record)
    await client.close()

    assert "it had been left paused, and was unpaused" in settled.detail
    assert docker.state("web") == "running"


async def test_recreate_from_the_same_image_that_is_gone_leaves_the_container_as_it_is(
    acting, docker
):
    """Which the classic store and containerd's let go of in ways of their own."""
    docker.run("maker")
    docker.docker("commit", "maker", "mine:1")
    old = docker.run("web", image="mine:1")
    docker.docker("stop", "--time", "0", "web")
    # by its name containerd's would keep it
    docker.docker("rmi", "--force", image(docker, "mine:1")["Id"])
    with pytest.raises(
        ActionFailed, match=r"its image [0-9a-f]{12} is gone; name another"
    ) as failure:
        await acting.run("recreate", Recreate(), "web")
    assert not failure.value.again
    assert docker.inspect("web")["Id"] == old
    await acting.run("recreate", Recreate(image="toolbox:latest"), "web")
    assert docker.inspect("web")["Id"] != old
