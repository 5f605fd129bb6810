"""Deciding as tables, and what must hold of every decision whatever the history."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.decide import (
    ACT,
    ATTEMPTS_KEPT,
    CODES,
    HALF_OPEN_AFTER,
    TARGETS_KEPT,
    Act,
    History,
    Host,
    Suppress,
    TargetHistory,
    Verdict,
    WaitUntil,
    backoff,
    budget,
    exhausted,
    limits,
    span_text,
    standing,
)
from dockmend.guards import Guards
from dockmend.model import Change, Container
from dockmend.owned import OwnedObject, OwnedObjects
from dockmend.rules.rule import Rule, RuleLimits, Selector, Step, TargetRef, Trigger
from dockmend.settings import Policy
from dockmend.tell.metrics import Metrics

NOW, WEB = 10_000.0, "container:web"
SELECTOR = Selector("container", lambda subject: True, 0)
RESTART, START, PUBLISH = (
    Step("restart", None),
    Step("start", None),
    Step("publish", None, tells=True),
)
FREE = RuleLimits(attempts=None, backoff=None)


def rule(*steps: Step, **more: Any) -> Rule:
    trigger = Trigger("transition", "container.unhealthy")
    return Rule("heal", (trigger,), SELECTOR, steps or (RESTART,), **{"limits": FREE, **more})


SHUT = rule(during=lambda at: False, opens=lambda at: at + 60)


def change(**more: Any) -> Change:
    web = Container(id="c" * 64, name="web", state="running")
    given: dict[str, Any] = {
        "triggers": ("container.unhealthy",), "kind": "container", "subject": web, "target": WEB,
        "trouble": "t", "at": NOW,
    }  # fmt: skip
    return Change(**{**given, **more})


def history(*attempts: float, **more: Any) -> History:
    """Attempts that many seconds ago."""
    told = History()
    for ago in sorted(attempts, reverse=True):
        told.attempted("heal", WEB, NOW - ago)
    for key, value in more.items():
        setattr(told.of("heal", WEB), key, value)
    return told


def code(verdict: Verdict) -> str:
    return "" if isinstance(verdict, Act) else verdict.code


@pytest.mark.parametrize(
    ("of", "seen", "expected"),
    [
        (rule(), change(), ""),
        (rule(), change(on_purpose=True), "on_purpose"),
        (rule(during=lambda at: False), change(), "window"),
        (rule(during=lambda at: at == NOW), change(), ""),
        (SHUT, change(), "window"),
        (SHUT, change(triggers=("container.started",)), "window"),
        (rule(START), change(cause="stopped"), "stopped"),
        (rule(START), change(cause="crashed"), ""),
        (rule(PUBLISH), change(cause="stopped"), ""),
        (rule(Step("stop", None)), change(cause="stopped"), ""),
        (rule(replace(RESTART, target=TargetRef(name="db"))), change(cause="stopped"), ""),
        (rule(PUBLISH, RESTART), change(cause="stopped"), "stopped"),
    ],
)
def test_what_rule_and_change_say_alone(of: Rule, seen: Change, expected: str):
    assert code(standing(of, seen, NOW)) == expected


def test_what_stands_waits_for_the_hours_and_a_moment_does_not():
    assert isinstance(standing(SHUT, change(), NOW), WaitUntil)
    assert isinstance(standing(SHUT, change(triggers=("container.started",)), NOW), Suppress)
    # they never come
    assert isinstance(standing(rule(during=lambda at: False), change(), NOW), Suppress)


@pytest.mark.parametrize(
    ("limited", "past", "expected"),
    [
        (FREE, history(), ""),
        (FREE, history(0, 0, 0), ""),
        (RuleLimits(attempts=(2, 60.0)), history(1, 70), ""),
        (RuleLimits(attempts=(2, 60.0)), history(1, 59), "attempts"),
        # the window is half-open: 60 s ago is outside
        (RuleLimits(attempts=(2, 60.0)), history(1, 60), ""),
        (RuleLimits(cooldown=30.0), history(100, ended_at=NOW - 29), "cooldown"),
        (RuleLimits(cooldown=30.0), history(100, ended_at=NOW - 30), ""),
        (RuleLimits(cooldown=30.0), history(), ""),
        (RuleLimits(rate=(1, 10.0)), history(9.9), "rate"),
        (RuleLimits(rate=(1, 10.0)), history(10), ""),
        (RuleLimits(attempts=(2, 60.0)), history(breaker_at=NOW - 59), "breaker"),
        # half-open: one try tells
        (RuleLimits(attempts=(2, 60.0)), history(1, 2, 3, breaker_at=NOW - 60), ""),
        (FREE, history(breaker_at=NOW - HALF_OPEN_AFTER + 1), "breaker"),
        (FREE, history(breaker_at=NOW - HALF_OPEN_AFTER), ""),
    ],
)
def test_the_limits_of_a_target(limited: RuleLimits, past: History, expected: str):
    assert code(limits(rule(limits=limited), WEB, past, Host(), NOW)) == expected


def test_a_cooldown_does_not_come_between_the_attempts_of_one_incident():
    past = history(5, ended_at=NOW - 5)
    slow = rule(limits=RuleLimits(cooldown=60.0))
    assert isinstance(limits(slow, WEB, past, Host(), NOW), WaitUntil)
    assert limits(slow, WEB, past, Host(), NOW, failures=1) is ACT


def test_a_half_open_breaker_lets_one_try_through_and_opens_again_when_it_fails():
    tried = RuleLimits(attempts=(2, 60.0))
    past = history(100, 101, breaker_at=NOW - 61)
    assert limits(rule(limits=tried), WEB, past, Host(), NOW) is ACT
    past.attempted("heal", WEB, NOW)
    assert exhausted(tried, past.of("heal", WEB), failures=1, now=NOW)
    past.of("heal", WEB).breaker_at = NOW
    assert code(limits(rule(limits=tried), WEB, past, Host(), NOW + 59)) == "breaker"
    assert limits(rule(limits=tried), WEB, past, Host(), NOW + 60) is ACT


def test_a_rate_counts_all_targets_of_the_rule_and_the_budget_all_rules():
    past = History()
    past.attempted("heal", "container:db", NOW - 1)
    assert code(limits(rule(limits=RuleLimits(rate=(1, 60.0))), WEB, past, Host(), NOW)) == "rate"
    past.attempted("other", "container:x", NOW - 1)
    assert limits(rule(limits=RuleLimits(rate=(2, 60.0))), WEB, past, Host(), NOW) is ACT
    assert code(limits(rule(), WEB, past, Host(budget=(2, 60.0)), NOW)) == "budget"
    assert limits(rule(), WEB, past, Host(budget=(2, 1.0)), NOW) is ACT
    assert limits(rule(), WEB, past, Host(budget=None), NOW) is ACT


def test_what_only_tells_spends_no_budget():
    assert limits(rule(PUBLISH), WEB, history(1, 1, 1), Host(budget=(1, 60.0)), NOW) is ACT


@pytest.mark.parametrize(
    ("paused", "until"),
    [(False, None), (None, NOW + 3600), (NOW + 5, NOW + 5)],
    ids=["not", "until resumed", "for 5 s"],
)
def test_a_pause_comes_before_everything(paused: float | bool | None, until: float | None):
    verdict = limits(
        rule(), WEB, history(breaker_at=NOW), Host(paused=lambda rule, target: paused), NOW
    )
    if until is None:
        assert code(verdict) == "breaker"
    else:
        assert isinstance(verdict, WaitUntil)
        assert (verdict.code, verdict.until) == ("paused", until)


@pytest.mark.parametrize(
    ("ago", "low", "high"),
    [
        ((), None, None),
        ((0,), 0.5, 1.0),
        ((0, 1), 1.0, 2.0),
        ((0, 1, 3), 2.0, 4.0),
        ((0, 1, 3, 7, 15), 4.0, 8.0),  # no longer than the longest
        ((0, 9), 0.5, 1.0),  # a stable while of 8 s between them: it begins anew
        ((8.1,), None, None),
    ],
)
def test_backoff_grows_has_jitter_and_is_reset_by_a_stable_while(
    ago: tuple[float, ...], low: float | None, high: float
):
    wait = backoff(
        RuleLimits(backoff=(1.0, 8.0)),
        history(*ago).targets.get(("heal", WEB)),
        NOW,
        random.Random(7),
    )
    if low is None:
        assert wait is None
    else:
        assert wait is not None
        assert low <= wait.until - NOW + min(ago) <= high


def test_targets_that_broke_together_do_not_come_back_together():
    past = history(0).of("heal", WEB)
    dice = random.Random(1)
    assert len({backoff(RuleLimits(), past, NOW, dice) for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("attempts", "failures", "past", "expected"),
    [
        (None, 100, history(1, 2, 3), False),
        ((3, 60.0), 2, history(1, 2), False),
        # as many failures in a row, however long they took
        ((3, 60.0), 3, history(100, 200, 300), True),
        ((3, 60.0), 1, history(1, 2, 3), True),
        ((3, 60.0), 1, history(1, breaker_at=NOW - 100), True),
    ],
)
def test_when_the_breaker_opens(attempts: Any, failures: int, past: History, expected: bool):
    assert exhausted(RuleLimits(attempts=attempts), past.of("heal", WEB), failures, NOW) is expected


def test_an_attempt_in_which_nothing_was_done_is_taken_back_everywhere():
    past = history(5, 1)
    past.take_back("heal", WEB, NOW - 1)
    assert (
        list(past.of("heal", WEB).attempts)
        == list(past.by_rule["heal"])
        == list(past.host)
        == [NOW - 5]
    )
    past.attempted("heal", WEB, NOW, actions=3)
    past.take_back("heal", WEB, NOW, actions=3)
    assert list(past.host) == [NOW - 5]


def test_the_budget_counts_actions_and_has_room_for_all_of_an_attempt_or_none():
    two = Host(budget=(3, 60.0))
    assert code(limits(rule(RESTART, START), WEB, history(1, 2), two, NOW)) == "budget"
    assert limits(rule(RESTART, PUBLISH, START), WEB, history(1), two, NOW) is ACT
    # when nothing is taken any more
    assert budget(history(1, 2), two, NOW, 9) == budget(history(1), two, NOW, 9)
    assert budget(History(), two, NOW, 9) is None


def test_memory_keeps_only_targets_that_a_limit_can_ask_about():
    past = history(10)
    past.attempted("heal", "container:old", NOW - 90_000)
    past.of("heal", "container:broken").breaker_at = NOW - 90_000
    past.trim(NOW)
    assert set(past.targets) == {("heal", WEB), ("heal", "container:broken")}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (45, "45 s"), (300, "5 min"), (7200, "2 h")]
)
def test_spans_are_said_as_a_person_says_them(seconds: float, text: str):
    assert span_text(seconds) == text


# --- whatever the history -------------------------------------------------------------------------

AGO = st.floats(0, 2000).map(lambda ago: round(ago, 3))
PER = st.one_of(st.none(), st.tuples(st.integers(1, 6), st.floats(1, 1000)))
LIMITS = st.builds(
    RuleLimits, cooldown=st.one_of(st.none(), st.floats(0.1, 1000)), attempts=PER, rate=PER,
    backoff=st.one_of(st.none(), st.just((1.0, 300.0))),
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> History:
    told = history(*draw(st.lists(AGO, max_size=12)))
    mine = told.of("heal", WEB)
    if draw(st.booleans()):
        mine.ended_at = NOW - draw(AGO)
    if draw(st.booleans()):
        mine.breaker_at = NOW - draw(AGO)
    return told


def stricter(limited: RuleLimits, kind: str, by: float) -> RuleLimits:
    """The same with one limit tightened: fewer, or for longer."""
    if kind == "cooldown":
        return replace(limited, cooldown=(limited.cooldown or 0.0) + by)
    count, within = getattr(limited, kind) or (1000, 1.0)
    tight: dict[str, Any] = {kind: (max(1, count - int(by) % 4), within + by)}
    return replace(limited, **tight)


@given(histories(), LIMITS, st.integers(0, 3), PER)
def test_deciding_is_deterministic_and_says_why(
    past: History, limited: RuleLimits, failures: int, spend: Any
):
    host = Host(budget=spend)
    first = limits(rule(limits=limited), WEB, past, host, NOW, failures)
    assert first == limits(rule(limits=limited), WEB, past, host, NOW, failures)
    if not isinstance(first, Act):
        assert first.code in CODES
        assert first.reason.strip()
    mine = past.of("heal", WEB)
    assert backoff(limited, mine, NOW, random.Random(3)) == backoff(
        limited, mine, NOW, random.Random(3)
    )


@given(
    histories(), LIMITS, st.sampled_from(["cooldown", "attempts", "rate"]), st.floats(0, 500), PER
)
def test_a_stricter_limit_never_acts_where_a_looser_one_holds_back(
    past: History, limited: RuleLimits, kind: str, by: float, spend: Any
):
    if (
        kind == "attempts"
        and limited.attempts is None
        and past.of("heal", WEB).breaker_at is not None
    ):
        # `none` has no window: its breaker's rest is a constant, neither looser nor stricter
        return
    host = Host(budget=spend)
    if limits(rule(limits=limited), WEB, past, host, NOW) is not ACT:
        assert limits(rule(limits=stricter(limited, kind, by)), WEB, past, host, NOW) is not ACT


@given(histories(), LIMITS, PER)
def test_what_waits_may_act_or_waits_for_something_else_once_its_time_has_come(
    past: History, limited: RuleLimits, spend: Any
):
    """No limit holds back at the very moment it named: a timer that is exact is enough."""
    verdict = limits(rule(limits=limited), WEB, past, Host(budget=spend), NOW)
    if isinstance(verdict, WaitUntil):
        assert verdict.until > NOW
        after = limits(rule(limits=limited), WEB, past, Host(budget=spend), verdict.until)
        assert code(after) != verdict.code or getattr(after, "until", 0.0) > verdict.until
    if spent := budget(past, Host(budget=spend), NOW):
        assert budget(past, Host(budget=spend), spent.until) is None


@given(
    st.dictionaries(
        st.sampled_from(["dockmend.ignore", "tier", "dockmend.helper"]),
        st.sampled_from(["true", "db", "false"]),
    ),
    st.sampled_from(["web", "db-1"]),
    st.booleans(),
    st.booleans(),
)
def test_nothing_is_done_to_what_is_ignored_protected_or_dockmends_own(
    labels: dict[str, str], name: str, own: bool, owned: bool
):
    policy = Policy.model_validate({"protect": {"labels": {"tier": "d*"}, "name": ["db-*"]}})
    web = Container(id="c" * 64, name=name, labels=labels)
    made = [OwnedObject("o1", "container", "other", "", "i1", "job", 0.0, web.id)] if owned else []
    guards = Guards(policy, frozenset({"c" * 12} if own else ()), OwnedObjects("0test00000", made))
    ignored = labels.get("dockmend.ignore", "false") != "false"
    untouchable = ignored or owned or labels.get("tier") == "db" or name == "db-1" or own
    verdict = guards.may(rule(), change(subject=web), NOW, "host")
    assert (verdict is not ACT) is untouchable
    if not isinstance(verdict, Act):
        assert verdict.code in CODES
        assert verdict.reason


def test_metrics_show_no_other_code():
    metrics = Metrics("1")
    metrics.decision("heal", "suppress", "cooldown")
    metrics.decision("heal", "suppress", "a stranger's text")
    page = metrics.render().decode()
    assert 'reason="cooldown"' in page
    assert "stranger" not in page


def test_a_target_nobody_treated_has_no_wait():
    assert backoff(RuleLimits(), TargetHistory(), NOW, random.Random(1)) is None
    assert not isinstance(limits(rule(), WEB, History(), Host(), NOW), Suppress)


def test_names_that_never_repeat_are_remembered_for_as_long_as_the_rules_in_force_ask():
    history = History()
    for number in range(TARGETS_KEPT + 1):
        history.attempted("heal", f"container:job-{number}", NOW - 3600 + number / 10)
    history.of("heal", "container:broken").breaker_at = NOW - 7200
    history.trim(NOW, 86400.0, 900.0)
    assert all(NOW - each.attempts[-1] <= 900 for each in history.targets.values() if each.attempts)
    assert ("heal", "container:broken") in history.targets
    few = History()
    few.attempted("heal", "container:web", NOW - 3600)
    few.trim(NOW, 86400.0, 900.0)
    assert few.targets


def test_of_one_target_so_many_attempts_are_remembered():
    history = History()
    for number in range(ATTEMPTS_KEPT + 5):
        history.attempted("heal", "container:web", NOW + number)
    attempts = history.of("heal", "container:web").attempts
    assert (len(attempts), attempts[0]) == (ATTEMPTS_KEPT, NOW + 5)
