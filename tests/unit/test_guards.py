"""Guards: what is never touched, what the policy allows, and that only a restart widens it."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.decide import ACT, Suppress
from dockmend.guards import Guards, idle_protections, trusted
from dockmend.model import HELPER_LABEL, Change, Container, Volume
from dockmend.rules.action_parameters import RunParams as RunParameters
from dockmend.rules.rule import ConditionError, Rule, Selector, Step, TargetRef, Trigger
from dockmend.settings import Policy
from dockmend.settings.sections import ACTIONS

ID = "c" * 64


def policy(**given: Any) -> Policy:
    return Policy.model_validate(given)


def container(**more: Any) -> Container:
    return Container(**{"id": ID, "name": "web", "image": "shop/web:1", **more})


def rule(*steps: Step, **more: Any) -> Rule:
    selector = Selector("container", lambda subject: True, 0)
    return Rule("heal", (Trigger("transition", "container.unhealthy"),), selector, steps, **more)


def change(subject: Any) -> Change:
    return Change(("container.unhealthy",), "container", subject, "container:web", "t", 0.0)


@pytest.mark.parametrize(
    ("subject", "protect", "code"),
    [
        (container(), {}, None),
        (None, {}, None),
        (Volume("data"), {"name": ["*"]}, None),
        (container(labels={"dockmend.ignore": "true"}), {}, "ignored"),
        (container(labels={"dockmend.ignore": "Yes"}), {}, "ignored"),
        (container(labels={"dockmend.ignore": "false"}), {}, None),
        (container(image_labels={"dockmend.ignore": "true"}), {}, None),
        (container(image_labels={"dockmend.ignore": "true"}, image_unknown=True), {}, "ignored"),
        (container(image_labels={HELPER_LABEL: "i1"}), {}, None),
        (container(image_labels={HELPER_LABEL: "i1"}, image_unknown=True), {}, None),
        (container(image_labels={"tier": "db"}), {"labels": {"tier": "db"}}, None),
        (
            container(image_labels={"tier": "db"}, image_unknown=True),
            {"labels": {"tier": "db"}},
            "protected",
        ),
        (container(labels={HELPER_LABEL: "i1"}), {}, None),  # a label proves nothing
        (container(name="web.dockmend-old-i00000000000test"), {}, None),  # nor does a name
        # the journal was lost
        (container(name="db.dockmend-old-i00000000000test"), {"name": ["db"]}, "protected"),
        (
            container(name="db.dockmend-new-i00000000000test", name_is_own=True),
            {"name": ["db"]},
            "protected",
        ),
        (container(name="db.dockmend-old"), {"name": ["db"]}, None),
        (container(labels={"tier": "db-main"}), {"labels": {"tier": "db*"}}, "protected"),
        (container(labels={"tier": "web"}), {"labels": {"tier": "db*"}}, None),
        (container(labels={"tier": "web"}), {"labels": {"tier": ["db*", "w*"]}}, "protected"),
        (container(name="prod-db"), {"name": ["*-db"]}, "protected"),
        (container(image="postgres:16"), {"image": ["postgres:*"]}, "protected"),
        (container(name="shop-db"), {"name": "/^shop-db$/"}, "protected"),
        (container(name="shop-db2"), {"name": "/^shop-db$/"}, None),
        (container(image="nginx"), {"image": "nginx:latest"}, "protected"),
        (container(image="nginx:1.27"), {"image": "/^nginx:/"}, "protected"),
        (container(labels={"tier": "db-main"}), {"labels": {"tier": "/^db/"}}, "protected"),
    ],
)
def test_what_is_never_touched(subject: Any, protect: dict[str, Any], code: str | None):
    verdict = Guards(policy(protect=protect)).forbids(subject)
    assert (verdict.code if verdict else None) == code


@pytest.mark.parametrize("own", [ID, ID[:12]])
def test_the_container_dockmend_runs_in_is_never_touched(own: str):
    guards = Guards(own=frozenset({own}))
    assert guards.forbids(container()) == Suppress("itself", "this is dockmend itself")
    assert guards.forbids(container(labels={"dockmend.ignore": "true"})).code == "itself"  # type: ignore[union-attr]
    assert guards.forbids(container(id="d" * 64)) is None


def test_an_action_that_the_policy_does_not_allow_is_not_taken():
    guards = Guards(policy(allow=["start"]))
    assert guards.forbidden_step((Step("start", None),)) is None
    refused = guards.forbidden_step((Step("start", None), Step("restart", None)))
    assert refused is not None
    assert "restart" in refused.reason
    verdict = guards.may(rule(Step("restart", None)), change(container()), 0.0, "host")
    assert isinstance(verdict, Suppress)
    assert verdict.code == "policy"


def test_a_rule_that_only_tells_may_speak_of_what_is_protected():
    guards = Guards(policy(protect={"name": ["web"]}))
    assert (
        guards.may(rule(Step("publish", None, tells=True)), change(container()), 0.0, "host") is ACT
    )


def broken(values: Any) -> bool:
    raise ConditionError("container.exit_code is absent")


@pytest.mark.parametrize(
    ("condition", "code"), [(lambda values: False, "condition"), (broken, "condition_error")]
)
def test_a_condition_that_does_not_hold_or_cannot_be_answered_suppresses(condition: Any, code: str):
    told = rule(
        Step("restart", None), condition=condition, condition_text="container.exit_code > 0"
    )
    verdict = Guards().may(told, change(container()), 0.0, "host")
    assert isinstance(verdict, Suppress)
    assert verdict.code == code
    assert "exit_code" in verdict.reason


def test_patterns_that_protect_nothing_here_are_known():
    protect = policy(
        protect={
            "labels": {"tier": ["db*", "web"]},
            "name": ["shop-db", "shpo-*"],
            "image": "nginx",
        }
    ).protect
    there = [container(name="shop-db", image="nginx:1.27", labels={"tier": "web"})]
    assert idle_protections(protect, there) == ["label tier=db*", "name shpo-*", "image nginx"]


def test_an_images_own_labels_count_only_where_it_is_trusted():
    trusts = trusted(lambda: policy(trusted_images=["ours/*"]))
    assert trusts("ours/web:1")
    assert not trusts("theirs/web:1")
    trusts = trusted(lambda: policy(trusted_images=["/^ours[.]example/", "base:latest"]))
    assert trusts("ours.example/web:1")
    assert trusts("base")
    assert not trusts("theirs/ours.example:1")


def test_one_that_is_bound_to_a_container_may_do_nothing_to_another():
    guards = Guards(only="d" * 64)
    assert guards.forbids(container(id="d" * 64)) is None
    for other in (container(), Volume("data")):
        verdict = guards.forbids(other)
        assert verdict is not None
        assert verdict.reason == "this dockmend may act on dddddddddddd only"


TASK = {"com.docker.swarm.task.id": "t1", "com.docker.swarm.service.name": "web"}


@pytest.mark.parametrize("by", ["owner", "image", "nobody knows"])
@pytest.mark.parametrize(
    ("step", "state", "refused"),
    [
        (Step("start", None), "exited", True), (Step("restart", None), "running", True),
        (Step("recreate", None), "exited", True),
        (Step("run", params=RunParameters.model_construct(image=None)), "exited", True),
        (Step("run", params=RunParameters.model_construct(image="x")), "exited", False),
        (Step("reconnect_network", None), "exited", True),
        (Step("reconnect_network", None), "running", False), (Step("stop", None), "running", False),
        (Step("kill", None), "running", False), (Step("exec", None), "running", False),
        (Step("start", None, target=TargetRef(name="other")), "exited", False),
    ],
)  # fmt: skip
def test_a_task_of_a_swarm_service_is_never_begun_anew(
    step: Step, state: str, refused: bool, by: str
):
    """Swarm makes another one in its place, whoever ended it. An image that says so is no task."""
    whose: dict[str, dict[str, Any]] = {
        "owner": {"labels": TASK}, "image": {"image_labels": TASK},
        "nobody knows": {"image_labels": TASK, "image_unknown": True},
    }  # fmt: skip
    verdict = Guards(policy(allow=sorted(ACTIONS))).may(
        rule(step), change(container(state=state, **whose[by])), 0.0, "host"
    )
    if by == "image" or not refused:
        assert verdict is ACT
    else:
        assert isinstance(verdict, Suppress)
        assert verdict.code == "swarm"
        assert (
            "it is a task of the Swarm service web, and Swarm makes another one" in verdict.reason
        )
