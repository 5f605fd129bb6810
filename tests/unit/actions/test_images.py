from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from dockmend.actions import image_retention, images
from dockmend.actions.action import ActionContext, ActionFailed
from dockmend.errors import EngineAway, Permanent, Temporary
from dockmend.model import Image
from dockmend.owned import COMMITTED_AT, INCIDENT, REFERENCE, OwnedObject
from tests.fakes.owning import Rows, owning
from tests.unit.actions.stage import ID, WEB, Script, Stage


def params(**changes: object) -> SimpleNamespace:
    given = {
        "repository": "kept",
        "tag": "{container.name}",
        "message": "",
        "author": "",
        "changes": (),
        "pause": True,
    }
    return SimpleNamespace(**{**given, "keep": None, **changes})


def made(
    number: int,
    *tags: str,
    reference: str = "",
    rule: str = "heal",
    source: str = "web",
    lag: float = 0,
) -> Image:
    labels = {
        "dockmend.rule": rule, "dockmend.source": source, "dockmend.incident": f"i{number}",
        "dockmend.committed_at": images._stamp(number),
        "dockmend.reference": reference or f"kept:{number}",
    }  # fmt: skip
    return Image(id=f"sha256:{number}", tags=tags, labels=labels, created_at=number + lag)


def rows_of(*pictures: Image, identified: bool = True) -> Rows:
    """What the journal holds of images that dockmend committed."""
    rows = Rows()
    for number, image in enumerate(pictures):
        labels = image.labels
        rows.put_owned(
            OwnedObject(
                f"o{number}", "image", labels[REFERENCE], "", labels[INCIDENT], "image",
                image.created_at, image.id if identified else "", labels[COMMITTED_AT],
            )
        )  # fmt: skip
    return rows


def known(*pictures: Image, unknown: Sequence[Image] = (), now: float = 1000.0) -> Stage:
    """A stage with images that dockmend made, and with some of which the journal does not tell."""
    return Stage(engine=Script(pictures=[*pictures, *unknown]), rows=rows_of(*pictures), now=now)


def of_incident(number: int, *tags: str) -> Image:
    """One that the stage's incident made under kept:web."""
    image = made(number, *tags, reference="kept:web")
    return replace(image, labels=image.labels | {"dockmend.incident": "i0"})


async def test_intent_names_everything_that_settling_needs():
    stage = Stage()

    await images.commit(stage.context, params(), WEB)

    assert stage.engine.did() == ["remember", "commit"]
    assert stage.undo == {
        "commit": {
            "container": ID,
            "reference": "kept:web",
            "committed_at": "1970-01-01T00:16:40.000000+00:00",
            "paused_by_engine": True,
        }
    }


@pytest.mark.parametrize(
    ("state", "pause", "froze"),
    [("running", False, False), ("paused", True, False), ("exited", True, False)],
)
async def test_only_what_runs_is_frozen_by_the_engine(state, pause, froze):
    stage = Stage()

    stage.engine.set(state=state)

    await images.commit(stage.context, params(pause=pause), WEB)

    assert stage.undo["commit"]["paused_by_engine"] is froze


async def test_message_is_one_line_of_bounded_length():
    stage = Stage(fields={"container.name": "web", "note": "a\r\nb" + "x" * 5000})

    await images.commit(stage.context, params(message="{note}"), WEB)

    [message] = [call[3]["message"] for call in stage.engine.calls if call[0] == "commit"]
    assert message.startswith("a bxxx")
    assert len(message) == images.LONGEST_TEXT


async def test_keep_counts_by_time_and_leaves_others():
    older = [made(n, f"kept:{n}") for n in (3, 1, 2)]
    others = [
        made(4, "apart:1", reference="apart:1"),  # another repository
        made(5, "mine:1", reference="kept:1"),  # its name is a person's
        made(6, reference="kept:web", lag=7200.0),  # untagged, but made at another time
        made(7, "kept:x", reference="kept:x", rule="other"),
        made(8, "kept:y", reference="kept:y", source="api"),
    ]
    # they only say that dockmend made them
    strangers = [made(9, "kept:9"), made(10, reference="kept:web")]
    stage = known(*older, *others, unknown=strangers, now=2000.0)

    done = await images.commit(stage.context, params(tag="new", keep=2), WEB)

    assert [call[1] for call in stage.engine.calls if call[0] == "remove_image"] == [
        "kept:2",
        "kept:1",
    ]
    assert done.detail == "committed as kept:new; removed 2 older images"


async def test_untagged_images_of_ours_go_by_id():
    stage = known(made(1, reference="kept:web"), now=2000.0)

    await images.commit(stage.context, params(keep=1), WEB)

    assert stage.engine.calls[-1] == ("remove_image", "sha256:1")


async def test_an_incident_leaves_one_image_however_often_it_tries():
    mine = replace(made(1, "kept:web", reference="kept:web"), id="sha256:first")
    mine.labels["dockmend.incident"] = "i0"
    stage = known(mine)

    await images.commit(stage.context, params(), WEB)

    assert stage.engine.calls[-1] == ("remove_image", "sha256:first")


async def test_an_earlier_incidents_image_and_one_with_a_second_name_are_left():
    for names, incident in ((("kept:web",), "another"), (("kept:web", "mine:1"), "")):
        image = replace(made(1, *names, reference="kept:web"), id="sha256:first")
        image.labels["dockmend.incident"] = incident or "i0"
        stage = known(image)

        await images.commit(stage.context, params(), WEB)

        assert "remove_image" not in stage.engine.did()


async def test_the_new_image_is_never_removed_whatever_the_clock_said_before():
    stage = known(made(9000, "kept:9000"))

    await images.commit(stage.context, params(keep=1), WEB)

    assert stage.engine.calls[-1] == ("remove_image", "kept:9000")


async def test_keeping_never_fails_the_commit():
    stage = known(made(1, "kept:1"), now=2000.0)
    stage.engine.trouble["remove_image"] = Permanent("image has dependent child images", 409)

    done = await images.commit(stage.context, params(keep=1), WEB)

    assert done.detail == "committed as kept:web; left kept:1: image has dependent child images"


async def test_listing_that_fails_never_fails_the_commit():
    stage = Stage()
    stage.engine.trouble["images"] = Permanent("no", 400)

    done = await images.commit(stage.context, params(keep=1), WEB)

    assert done.detail == (
        "committed as kept:web; earlier images of this incident were not looked for: no;"
        " older images were not looked for: no"
    )


async def test_own_tag_is_moved_and_a_persons_is_not():
    own = known(made(1, "kept:web", reference="kept:web"))
    assert (await images.commit(own.context, params(), WEB)).facts["reference"] == "kept:web"

    # it only says that it is dockmend's
    strangers = known(unknown=[made(1, "kept:web", reference="kept:web")])
    assert (await images.commit(strangers.context, params(), WEB)).facts[
        "reference"
    ] == "kept:web-i0"
    assert "kept:web" in strangers.engine.pictures[0].tags

    persons = Stage(engine=Script(pictures=[Image(id="sha256:p", tags=("kept:web",))]))
    with pytest.raises(ActionFailed, match="kept:web names an image that rule heal did not make"):
        await images.commit(persons.context, params(), WEB)
    assert persons.engine.did() == []


@pytest.mark.parametrize("state", ["removing", "dead"])
async def test_what_is_being_removed_is_not_committed(state):
    stage = Stage()
    stage.engine.set(state=state)

    with pytest.raises(ActionFailed, match="it is being removed"):
        await images.commit(stage.context, params(), WEB)


async def test_an_engine_that_is_away_is_the_runners_affair():
    stage = Stage()
    stage.engine.trouble["commit"] = EngineAway("nobody answers")

    with pytest.raises(EngineAway):
        await images.commit(stage.context, params(), WEB)


async def test_settling_waits_for_a_frozen_container_and_then_for_its_image(monkeypatch):
    monkeypatch.setattr(images, "POLL", 0.0)
    stage = Stage()
    undo = {
        "commit": {
            "reference": "kept:web",
            "committed_at": images._stamp(1000),
            "paused_by_engine": True,
        }
    }
    stage.engine.set(state="paused")
    looks = iter(range(100))

    def look() -> None:
        count = next(looks)
        if count == 3:
            stage.engine.set(state="running")
        if count == 5:
            stage.engine.pictures.append(of_incident(1000, "kept:web"))

    stage.engine.on["inspect"] = look
    stage.rows = rows_of(of_incident(1000), identified=False)

    settled = await images.settle(stage.context, stage.record("commit_image", undo))

    assert settled.done
    assert stage.engine.did() == []


async def test_settling_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(images, "POLL", 0.0)
    stage = Stage()
    undo = {
        "commit": {
            "reference": "kept:web",
            "committed_at": images._stamp(1000),
            "paused_by_engine": True,
        }
    }
    stage.engine.set(state="paused")

    def later() -> None:
        stage.now += 5.0

    stage.engine.on["inspect"] = later

    settled = await images.settle(stage.context, stage.record("commit_image", undo))

    assert not settled.done
    assert stage.engine.did() == ["unpause"]


async def test_settling_names_an_image_that_the_engine_left_without_its_name(monkeypatch):
    """An engine that died between making it and naming it; one of an earlier incident has the name
    still."""
    monkeypatch.setattr(images, "POLL", 0.0)
    undo = {
        "commit": {
            "reference": "kept:web",
            "committed_at": images._stamp(1000),
            "paused_by_engine": False,
        }
    }
    earlier = made(5, "kept:web", reference="kept:web")
    persons = Image(id="sha256:p", tags=("kept:web",))
    later = made(2000, "kept:web", reference="kept:web")
    for present, named in ((None, True), (earlier, True), (persons, False), (later, False)):
        stage = known(of_incident(1000), *([present] if present and present is not persons else []))
        stage.engine.pictures += [present] if present is persons else []

        def time_passes(stage: Stage = stage) -> None:
            stage.now += 1.0

        stage.engine.on["inspect"] = time_passes

        settled = await images.settle(stage.context, stage.record("commit_image", undo))

        assert settled.done
        assert ("tag_image" in stage.engine.did()) is named
        assert ("it has no name" in settled.detail) is (present is persons)


async def test_settling_removes_what_an_earlier_attempt_made_and_what_is_more_than_keep_says():
    undo = {
        "commit": {
            "reference": "kept:web",
            "committed_at": images._stamp(1000),
            "paused_by_engine": False,
        }
    }
    stage = known(of_incident(1000, "kept:web"), of_incident(5), made(1, "kept:1"))
    record = replace(
        stage.record("commit_image", undo), params={"repository": "kept", "tag": "web", "keep": 1}
    )

    settled = await images.settle(stage.context, record)

    assert [each.id for each in stage.engine.pictures] == ["sha256:1000"]
    assert settled.detail == "it had been committed as kept:web; removed 1 older image"


async def test_settling_looks_for_a_while_though_the_commit_is_long_ago(monkeypatch):
    """The engine stood still: what it was at ends soon after it goes on."""
    monkeypatch.setattr(images, "POLL", 0.0)
    undo = {
        "commit": {
            "reference": "kept:web",
            "committed_at": images._stamp(1000),
            "paused_by_engine": False,
        }
    }
    stage = Stage(now=5000.0, rows=rows_of(of_incident(1000), identified=False))

    def time_passes() -> None:
        stage.now += 1.0
        if stage.now == 5002.0:
            stage.engine.pictures.append(of_incident(1000, "kept:web"))

    stage.engine.on["inspect"] = time_passes

    assert (
        await images.settle(stage.context, stage.record("commit_image", undo, began_at=1000.0))
    ).done


async def test_a_reference_under_which_an_image_is_being_made_is_not_taken():
    """Two rules about one container at one moment: neither takes the name from the other's
    image."""
    stage = Stage()
    others: list[str] = []

    async def commit(container: str, repository: str, tag: str, **rest: object) -> str:
        stage.engine.commit = type(stage.engine).commit.__get__(stage.engine)  # type: ignore[method-assign]
        done = await images.commit(_also(stage, claims), params(), WEB)
        others.append(done.facts["reference"])
        return await stage.engine.commit(container, repository, tag, **rest)

    claims: set[str] = set()
    stage.engine.commit = commit  # type: ignore[method-assign]
    done = await images.commit(_also(stage, claims), params(), WEB)

    assert (done.facts["reference"], others) == ("kept:web", ["kept:web-i0"])
    assert claims == set()


def _also(stage: Stage, claims: set[str]) -> ActionContext:
    return dataclasses.replace(stage.context, claims=claims)


async def test_another_rules_reference_gets_the_incident_at_every_attempt():
    stage = known(made(1, "kept:web", reference="kept:web", rule="other"))

    for _ in range(2):
        done = await images.commit(stage.context, params(), WEB)
        assert done.facts["reference"] == "kept:web-i0"


async def test_what_a_person_made_from_one_of_dockmends_is_no_image_of_the_incident():
    original, child = of_incident(5, "kept:web"), of_incident(5)
    own = owning(None, rows_of(original, identified=False))
    found = image_retention.by_incident(
        own, [replace(child, id="sha256:child", created_at=60.0), original]
    )
    assert found == {("i0", "kept:web"): [original]}


async def test_what_stays_paused_for_now_keeps_the_record_open(monkeypatch):
    monkeypatch.setattr(images, "POLL", 0.0)
    undo = {
        "commit": {
            "reference": "kept:web",
            "committed_at": images._stamp(1000),
            "paused_by_engine": True,
        }
    }
    stage = Stage(now=5000.0)
    stage.engine.set(state="paused")
    stage.engine.trouble["unpause"] = Temporary("busy", 500)

    def time_passes() -> None:
        stage.now += 1.0

    stage.engine.on["inspect"] = time_passes

    with pytest.raises(Temporary, match="busy"):
        await images.settle(stage.context, stage.record("commit_image", undo, began_at=1000.0))
