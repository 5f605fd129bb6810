"""What a person asks a rule for is looked at once more when it comes to it: another may have
stopped it meanwhile."""

from __future__ import annotations

import pytest

from dockmend.journal.records import Incident
from dockmend.model import ASKED, Change
from dockmend.pipeline.guests import Guests
from tests.unit.pipeline.clinic import HEAL, ID, TARGET, Clinic, clinic


def ask(one: Clinic, *, even_if_stopped: bool = False) -> Incident:
    change = Change((ASKED,), "container", one.mirror.container(ID), TARGET, "asked/1", one.now)
    asked = one.dispatcher.asked(
        one.rules.rules[0], change, "uid 0", even_if_stopped=even_if_stopped
    )
    assert isinstance(asked, Incident)
    return asked


async def held_back(one: Clinic, *, even_if_stopped: bool = False) -> None:
    """A person asked, and it waits as another paused the rule."""
    one.paused = True
    ask(one, even_if_stopped=even_if_stopped)
    await one.quiet()
    assert one.only().waiting_for == "paused"


async def let_go_on(one: Clinic) -> None:
    one.look()
    one.paused = False
    one.reconciler.look_again("paused")
    await one.quiet()


@pytest.mark.parametrize("then", ["restart", "start"])
async def test_what_is_stopped_meanwhile_stays_down(then: str):
    async with clinic(HEAL.replace("restart", then)) as one:
        await held_back(one)
        one._stopped()
        await let_go_on(one)
        assert (one.only().outcome, one.only().reason_code) == ("suppressed", "stopped")
        assert not one.engine.containers[ID].running


@pytest.mark.parametrize("then", ["restart", "start"])
async def test_unless_whoever_asked_wants_it_to_run_all_the_same(then: str):
    async with clinic(HEAL.replace("restart", then)) as one:
        await held_back(one, even_if_stopped=True)
        one._stopped()
        await let_go_on(one)
        assert one.only().outcome == "healed"
        assert one.engine.containers[ID].running


async def test_what_is_paused_meanwhile_is_waited_for():
    async with clinic() as one:
        await held_back(one)
        one.engine.set(state="paused")
        one.emit("pause")
        await let_go_on(one)
        assert ("somebody paused" in one.only().reason, one.restarts) == (True, 0)
        one.engine.set(state="running")
        one.emit("unpause")
        one.look()
        await one.quiet()
        assert (one.only().outcome, one.restarts) == ("healed", 1)


async def test_what_is_removed_meanwhile_did_not_recover():
    async with clinic() as one:
        await held_back(one)
        one.emit("destroy")
        del one.engine.containers[ID]
        one.paused = False
        one.reconciler.look_again("paused")
        await one.quiet()
        assert (one.only().outcome, one.only().reason) == ("interrupted", "it is gone")


async def test_it_waits_while_the_owner_it_lives_with_is_treated(monkeypatch: pytest.MonkeyPatch):
    async with clinic() as one:
        monkeypatch.setattr(Guests, "treated_with", lambda self, subject: "another")
        ask(one)
        await one.quiet()
        assert (one.only().waiting_for, one.restarts) == ("owner", 0)
