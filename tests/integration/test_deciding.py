"""Which rule acts, when, how often and whether at all: the whole daemon over a fake engine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dockmend.mirror.expectations import GRACE as ECHO
from tests.fakes.engine import Fault
from tests.integration.inside import Inside, Ward, inside
from tests.lab.daemon import SOURCE
from tests.lab.waiting import eventually_async
from tests.unit.machine import Machine

QUICK = "backoff: 50ms to 100ms"


def rule(
    name: str,
    *lines: str,
    when: str = "container.unhealthy",
    match: str = "all",
    then: str = "restart",
) -> str:
    more = "".join(f"    {line}\n" for line in lines)
    return f"  - name: {name}\n    when: {when}\n    match: {match}\n    then: {then}\n{more}"


def file(*rules: str) -> str:
    return "version: 1\nrules:\n" + "".join(rules)


@pytest.fixture
async def ward(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    one = Ward(tmp_path_factory.mktemp("w"))
    await one.start()
    yield one
    await one.stop()


async def explained(ward: Ward, folder: Path, name: str, trigger: str) -> list[dict[str, Any]]:
    """`dockmend explain` beside the running daemon."""
    command = [
        sys.executable,
        "-m",
        "dockmend",
        "explain",
        "--container",
        name,
        "--trigger",
        trigger,
        "--json",
    ]
    flags = [
        "--engine",
        ward.url,
        "--rules",
        str(folder / "rules.d"),
        "--state",
        str(folder / "state"),
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        *flags,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return list(json.loads(out))


# -------------------------------------------------------------------------- one trouble, one remedy
async def test_one_trouble_has_one_remedy_and_explain_names_the_loser(
    ward: Ward, tmp_path: Path
) -> None:
    rules = file(
        rule("broad", "priority: 1"),
        rule("urgent", "priority: 5"),
        rule("narrow", "priority: 1", match='{name: "web"}'),
        rule("tells", then='{publish: {topic: "seen/{container.name}"}}'),
    )
    ward.patient("web")
    async with inside(ward, tmp_path, rules) as one:
        told = json.dumps(await explained(ward, tmp_path, "web", "container.unhealthy"))
        ward.sicken("web")
        await one.closed(2)
        outcomes = {incident.rule: incident.outcome for incident in await one.incidents()}
        assert outcomes == {"urgent": "healed", "tells": "done"}
        assert ward.restarts == {"web": 1}
    rows = {row["rule"]: row for row in json.loads(told)[0]["answers"]}
    assert {name for name, row in rows.items() if row["answer"] != "no"} == {"urgent", "tells"}
    assert "urgent" in rows["broad"]["why"]
    assert "urgent" in rows["narrow"]["why"]


async def test_of_equal_priority_the_narrower_match_wins(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web")
    async with inside(
        ward, tmp_path, file(rule("broad"), rule("narrow", match="{name: web}"))
    ) as one:
        ward.sicken("web")
        (incident,) = await one.closed()
        assert incident.rule == "narrow"
        assert ward.restarts == {"web": 1}


# ---------------------------------------------------------------------------------------- how often
async def test_times_acts_on_the_third_and_begins_anew(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web")
    when = "{transition: container.unhealthy, times: 3 within 10m}"
    async with inside(ward, tmp_path, file(rule("heal", f"limits: {{{QUICK}}}", when=when))) as one:
        for _ in range(2):
            ward.sicken("web")
            ward.set_health("web", "healthy")
        ward.sicken("web")
        await one.closed(outcome="healed")
        assert ward.restarts == {"web": 1}
        ward.sicken("web")
        await eventually_async(lambda: health(one) == "unhealthy")
        assert len(await one.incidents()) == 1


async def taken(one: Inside, ward: Ward) -> None:
    """Waits until the daemon has read the latest event."""
    latest = ward.log.ring[-1]["timeNano"]
    await eventually_async(lambda: one.daemon.watch.cursor.time_ns >= latest)


def health(one: Inside) -> str:
    container = one.daemon.mirror.container_named("web")
    return container.health if container is not None else ""


async def test_cooldown_holds_the_next_incident_back(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web")
    async with inside(
        ward, tmp_path, file(rule("heal", "limits: {cooldown: 1m, backoff: none}"))
    ) as one:
        ward.sicken("web")
        (first,) = await one.closed()
        ward.sicken("web")
        (waiting,) = await one.having(state="waiting", waiting_for="cooldown")
        assert waiting.attempts == 0
        assert ward.restarts == {"web": 1}
        one.passes(61)
        second = (await one.closed(2))[1]
        assert second.outcome == "healed"
        assert first.closed_at is not None
        assert second.closed_at is not None
        assert second.closed_at - first.closed_at >= 60.0


async def test_a_trouble_that_goes_during_the_cooldown_is_not_treated(
    ward: Ward, tmp_path: Path
) -> None:
    ward.patient("web")
    async with inside(
        ward, tmp_path, file(rule("heal", "limits: {cooldown: 1m, backoff: none}"))
    ) as one:
        ward.sicken("web")
        await one.closed()
        ward.sicken("web")
        await one.having(state="waiting", waiting_for="cooldown")
        ward.set_health("web", "healthy")
        await taken(one, ward)
        one.passes(61)
        assert [each.outcome for each in await one.closed(2)] == ["healed", "recovered"]
        assert ward.restarts == {"web": 1}


async def test_rate_holds_over_all_targets_of_a_rule(ward: Ward, tmp_path: Path) -> None:
    names = [f"web{number}" for number in range(5)]
    ward.patient(*names)
    async with inside(ward, tmp_path, file(rule("heal", "limits: {rate: 2 per 1h}"))) as one:
        ward.sicken(*names)
        assert len(await one.closed(2)) == 2
        waiting = await one.having(3, state="waiting", waiting_for="rate")
        assert len(waiting) == 3
        assert sum(ward.restarts.values()) == 2


async def test_the_hosts_budget_holds_over_all_rules(ward: Ward, tmp_path: Path) -> None:
    names = [f"{kind}{number}" for kind in ("web", "api") for number in range(15)]
    ward.patient(*names)
    rules = file(rule("webs", match='{name: "web*"}'), rule("apis", match='{name: "api*"}'))
    async with inside(ward, tmp_path, rules, limits={"rate": "5 per 1h"}) as one:
        ward.sicken(*names)
        assert len(await one.closed(5, outcome="healed")) == 5
        await one.having(25, state="waiting", waiting_for="budget")
        assert sum(ward.restarts.values()) == 5
        assert "dockmend_budget_suppressed_total 25.0" in one.daemon.metrics.render().decode()


async def test_what_waits_for_the_budget_is_treated_once_there_is_room(
    ward: Ward, tmp_path: Path
) -> None:
    names = [f"web{number}" for number in range(4)]
    ward.patient(*names)
    async with inside(ward, tmp_path, file(rule("heal")), limits={"rate": "2 per 1m"}) as one:
        ward.sicken(*names)
        await one.closed(2)
        await one.having(2, state="waiting", waiting_for="budget")
        one.passes(61)
        assert {each.outcome for each in await one.closed(4)} == {"healed"}
        assert ward.restarts == dict.fromkeys(names, 1)
        begun = sorted(actions[0].began_at for _, actions in await one.stories())
        assert begun[2] - begun[0] >= 60.0


# ------------------------------------------------------------------- when it triggers while running
@pytest.mark.parametrize(
    ("mode", "outcomes"),
    [
        ("single", ["done"]),
        ("queued", ["done", "done", "done"]),
        ("restart", ["interrupted", "interrupted", "done"]),
    ],
)
async def test_modes(ward: Ward, tmp_path: Path, mode: str, outcomes: list[str]) -> None:
    """The first step of each attempt ends when the test says so: not before the next trigger has
    been read."""
    ward.patient("web")
    held = [Fault("POST .*/commit", kind="hold") for _ in range(3)]
    ward.faults += held
    then = "[{commit_image: {repository: kept, tag: x}}, {publish: {topic: seen}}]"
    rules = file(rule("tells", f"mode: {mode}", when="{event: container.attach}", then=then))
    async with inside(ward, tmp_path, rules) as one:
        for number in range(1, 4):
            ward.emit(ward.container("web"), "attach")
            await taken(one, ward)
            if mode == "restart":  # each is under way when the next comes
                if number > 1:
                    held[number - 2].released.set()
                await one.having(number, attempts=1)
        for each in held:
            each.released.set()
        told = await one.closed(len(outcomes))
        await eventually_async(lambda: not one.daemon.incidents.open)
        assert [each.outcome for each in await one.incidents()] == outcomes
        for earlier, later in pairwise(told):
            assert later.opened_at >= (earlier.closed_at or 0) or mode == "restart"
        published = [
            action
            for _, actions in await one.stories()
            for action in actions
            if action.action == "publish"
        ]
        assert len(published) == outcomes.count("done")


# --------------------------------------------------------------------------- escalation and finally
async def test_a_remedy_of_the_ladder_heals(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web")
    ward.incurable["web"] = 3  # the third restart makes it well
    rules = file(
        rule(
            "heal",
            f"limits: {{attempts: 2 per 1h, {QUICK}}}",
            "verify: {within: 5s}",
            "escalate: [{publish: {topic: lost}}, {restart: {signal: SIGKILL}}, {publish: {topic: "
            "never}}, stop]",
        )
    )
    async with inside(ward, tmp_path, rules) as one:
        ward.sicken("web")
        await one.closed()
        ((incident, actions),) = await one.stories()
        assert incident.outcome == "healed"
        assert incident.attempts == 2
        assert "escalation" in incident.reason
        assert [action.action for action in actions] == ["restart", "restart", "publish", "restart"]
        assert ward.restarts == {"web": 3}
        # it closes once that has lasted
        assert one.daemon.history.of("heal", "container:web").healed_at is not None


async def test_finally_always_runs(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web", "api")
    ward.faults.append(
        Fault(rf"/containers/{ward.container('web')['Id']}/restart", status=500, times=-1)
    )
    rules = file(
        rule(
            "heal",
            f"limits: {{attempts: 1 per 1h, {QUICK}}}",
            'finally: [{publish: {topic: "seen/x"}}]',
        )
    )
    async with inside(ward, tmp_path, rules) as one:
        ward.sicken("web", "api")
        await one.closed(2)
        told = {
            incident.object_name: (incident.outcome, actions)
            for incident, actions in await one.stories()
        }
        assert told["web"][0] == "failed"
        assert [(each.action, each.outcome) for each in told["web"][1]] == [
            ("restart", "failed"),
            ("publish", "done"),
        ]
        assert told["api"][0] == "healed"
        assert [(each.action, each.outcome) for each in told["api"][1]] == [
            ("restart", "done"),
            ("publish", "done"),
        ]


async def test_a_failed_step_ends_the_attempt_unless_it_may_fail(
    ward: Ward, tmp_path: Path
) -> None:
    ward.patient("web", "api")
    ward.faults.append(Fault("POST .*/commit", status=500, times=-1))
    keep = "{commit_image: {repository: kept, tag: x}%s}"
    rules = file(
        rule(
            "strict",
            "limits: {attempts: 1 per 1h}",
            match="{name: web}",
            then=f"[{keep % ''}, restart]",
        ),
        rule("lenient", match="{name: api}", then=f"[{keep % ', on_error: continue'}, restart]"),
    )
    async with inside(ward, tmp_path, rules) as one:
        ward.sicken("web", "api")
        await one.closed(2)
        assert {each.rule: each.outcome for each in await one.incidents()} == {
            "strict": "failed",
            "lenient": "healed",
        }
        assert ward.restarts == {"api": 1}


async def test_what_the_first_step_stopped_is_not_taken_for_well(
    ward: Ward, tmp_path: Path
) -> None:
    """Its second step fails once: nothing stands any more but that dockmend took it down."""
    ward.patient("web")
    ward.faults.append(Fault("POST .*/start", status=500, times=1))
    rules = file(
        rule(
            "cold",
            f"limits: {{{QUICK}}}",
            "verify: {state: running, within: 5s}",
            then="[stop, start]",
        )
    )
    async with inside(ward, tmp_path, rules) as one:
        ward.sicken("web")
        (incident,) = await one.closed()
        assert (incident.outcome, incident.attempts) == ("healed", 2)
        assert ward.container("web")["State"]["Running"]


# ----------------------------------------------------------------------------------- whether at all
async def test_policy_protects_and_allows(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web")
    ward.patient("vault", labels={"tier": "pci-1"})
    ward.patient("mine", labels={"dockmend.ignore": "true"})
    policy = {"protect": {"labels": {"tier": "pci*"}}}
    async with inside(ward, tmp_path, file(rule("heal")), policy=policy) as one:
        ward.sicken("web", "vault", "mine")
        told = {each.object_name: (each.outcome, each.reason_code) for each in await one.closed(3)}
        assert told == {
            "web": ("healed", ""),
            "vault": ("suppressed", "protected"),
            "mine": ("suppressed", "ignored"),
        }
        assert ward.restarts == {"web": 1}


async def test_an_action_that_the_policy_does_not_allow_is_not_done(
    ward: Ward, tmp_path: Path
) -> None:
    ward.patient("web")
    rules = file(rule("heal"), rule("thaw", then="unpause", match="{name: nobody}"))
    async with inside(ward, tmp_path, rules, policy={"allow": ["start", "unpause"]}) as one:
        ward.sicken("web")
        (incident,) = await one.closed()
        assert (incident.outcome, incident.reason_code) == ("suppressed", "policy")
        assert "restart" in incident.reason
        assert ward.restarts == {}


@pytest.mark.parametrize(
    ("condition", "outcome", "code"),
    [
        ("container.restart_count < 5 and container.labels['tier'] == 'web'", "healed", ""),
        ("container.labels['tier'] == 'db'", "suppressed", "condition"),
        ("container.exit_code > 3", "suppressed", "condition_error"),
    ],
)
async def test_if(ward: Ward, tmp_path: Path, condition: str, outcome: str, code: str) -> None:
    ward.patient("web", labels={"tier": "web"})
    async with inside(ward, tmp_path, file(rule("heal", f"if: {condition}"))) as one:
        ward.sicken("web")
        (incident,) = await one.closed()
        assert (incident.outcome, incident.reason_code) == (outcome, code)
        assert ward.restarts == ({"web": 1} if outcome == "healed" else {})


async def test_for_waits_and_looks_again(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web", "api")
    async with inside(ward, tmp_path, file(rule("heal", "for: 1m"))) as one:
        ward.sicken("web", "api")
        await one.having(2, state="waiting", waiting_for="for")
        ward.set_health("api", "healthy")
        await taken(one, ward)
        assert ward.restarts == {}
        one.passes(61)
        told = {each.object_name: each for each in await one.closed(2)}
        assert (told["web"].outcome, told["api"].outcome) == ("healed", "recovered")
        assert ward.restarts == {"web": 1}
        assert (told["web"].closed_at or 0) - told["web"].opened_at >= 60.0


# --------------------------------------------------------------------------------------- raw events
async def test_raw_events_set_off_the_rules_that_name_them(ward: Ward, tmp_path: Path) -> None:
    says = "{publish: {topic: seen}}"
    rules = file(
        rule("heal", f"limits: {{{QUICK}}}"),
        rule("attached", when='{event: container.attach, attributes: {image: "tool*"}}', then=says),
        rule("not-this", when="{event: container.attach, attributes: {image: other}}", then=says),
        rule("restarted", when="{event: container.restart}", then=says),
        rule(
            "created", when="{event: container.create}", match="{labels: {new: 'yes'}}", then=says
        ),
        rule("gone", when="{event: container.destroy}", then=says),
        rule(
            "network",
            when="{event: network.create}",
            match="{kind: network, name: lane}",
            then=says,
        ),
    )
    ward.patient("web")
    async with inside(ward, tmp_path, rules) as one:
        ward.emit(ward.container("web"), "attach")
        await one.closed(rule="attached")
        ward.sicken("web")
        await one.closed(rule="heal")
        assert await one.incidents(rule="restarted") == []  # the echo of dockmend's own doing
        await asyncio.sleep(ECHO)  # what is awaited is that time passes
        ward.restart_container("web")
        await one.closed(rule="restarted")
        ward.add_container("later", labels={"new": "yes"})
        ward.add_network("lane")
        await one.closed(rule="network")
        await one.closed(rule="created")
        ward.remove_container("later", force=True, volumes=False)
        await one.closed(rule="gone")
        told = sorted(incident.rule for incident in await one.incidents())
        assert told == ["attached", "created", "gone", "heal", "network", "restarted"]


# ------------------------------------------------------------------------ a restart forgets nothing
async def test_for_goes_on_over_a_restart(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web", "api")
    rules, machine = file(rule("heal", "for: 2m")), Machine()
    async with inside(ward, tmp_path, rules, machine) as one:
        ward.sicken("web", "api")
        began = min(
            each.opened_at for each in await one.having(2, state="waiting", waiting_for="for")
        )
    ward.set_health("api", "healthy")
    machine.passes(50)
    async with inside(ward, tmp_path, rules, machine) as one:
        await taken(one, ward)
        await one.having(state="waiting", waiting_for="for", object_name="web")
        assert ward.restarts == {}
        one.passes(71)
        told = {each.object_name: each for each in await one.closed(2)}
        assert {name: each.outcome for name, each in told.items()} == {
            "web": "healed",
            "api": "recovered",
        }
        assert (told["web"].closed_at or 0) - began >= 120.0
        assert ward.restarts == {"web": 1}


async def test_limits_are_not_forgotten_by_a_restart(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web", "api", "hopeless")
    ward.incurable["hopeless"] = 9
    rules = file(
        rule("heal", "limits: {rate: 1 per 1h}", match='{name: ["web", "api"]}'),
        rule(
            "tries",
            f"limits: {{attempts: 2 per 1h, {QUICK}}}",
            "verify: {within: 2s}",
            match="{name: hopeless}",
        ),
    )
    async with inside(ward, tmp_path, rules) as one:
        ward.sicken("web", "hopeless")
        await one.closed(2)
        assert {each.outcome for each in await one.incidents()} == {"healed", "failed"}
    async with inside(ward, tmp_path, rules) as one:
        ward.set_health("hopeless", "healthy")
        ward.sicken("api", "hopeless")
        (waiting,) = await one.having(waiting_for="rate")
        assert waiting.object_name == "api"
        refused = (await one.closed(outcome="suppressed"))[-1]
        assert (refused.object_name, refused.reason_code) == ("hopeless", "breaker")
        assert ward.restarts == {"web": 1, "hopeless": 2}


async def test_a_rule_taken_away_ends_what_waits_for_it(ward: Ward, tmp_path: Path) -> None:
    ward.patient("web")
    async with inside(ward, tmp_path, file(rule("heal", "for: 1h"))) as one:
        ward.sicken("web")
        await one.having(state="waiting", waiting_for="for")
    async with inside(ward, tmp_path, file(rule("other"))) as one:
        (healed,) = await one.closed(outcome="healed")
        assert healed.rule == "other"
        assert ward.restarts == {"web": 1}
