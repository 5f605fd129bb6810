"""A policy read again: it may narrow what is in force, and never widens it."""

from __future__ import annotations

from typing import Any

import pytest

from dockmend.settings import Policy
from dockmend.settings.policy_narrowing import narrowed
from dockmend.settings.sections import ACTIONS, IN_PLACE

CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    ({}, {}, {}, ()),
    ({}, {"allow": ["restart", "start"]}, {"allow": ["restart", "start"]}, ()),
    ({}, {"allow": ["restart", "exec"]}, {"allow": ["restart"]}, ("policy.allow: exec",)),
    ({"allow": ["stop"]}, {"allow": ["stop", "exec", "run"]}, {"allow": ["stop"]},
        ("policy.allow: exec, run",)),
    ({"allow": ["restart"]}, {"allow": []}, {"allow": []}, ()),
    ({}, {"protect": {"name": "db"}}, {"protect": {"name": ["db"]}}, ()),
    (
        {"protect": {"name": "db", "labels": {"tier": "pci"}}},
        {"protect": {"image": "vault:*", "labels": {"tier": ["bank", "pci"], "own": "*"}}},
        {"protect": {"name": "db", "image": "vault:*",
                "labels": {"tier": ["pci", "bank"], "own": "*"}}},
        ("policy.protect: without name db",),
    ),
    ({"rules_owner": "ada"}, {"rules_owner": "root"}, {"rules_owner": "root"}, ()),
    ({"rules_owner": "ada"}, {"rules_owner": "bob"}, {"rules_owner": "root"},
        ("policy.rules_owner: bob",)),
    ({}, {"rules_owner": "bob"}, {}, ("policy.rules_owner: bob",)),
    (
        {"trusted_images": ["a/*", "b/*"]}, {"trusted_images": ["b/*", "c/*"]},
        {"trusted_images": ["b/*"]}, ("policy.trusted_images: c/*",),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("held", "read", "then", "waits"), CASES)
def test_a_policy_read_again_narrows_and_never_widens(held, read, then, waits):
    policy, told = narrowed(Policy(**held), Policy(**read))
    assert policy == Policy(**then)
    assert told == tuple(f"{each} holds from a restart on" for each in waits)


@pytest.mark.parametrize(("held", "read"), [(held, read) for held, read, _, _ in CASES])
def test_read_a_second_time_it_is_the_same(held, read):
    once, _ = narrowed(Policy(**held), Policy(**read))
    assert narrowed(once, Policy(**read))[0] == once
    back, _ = narrowed(once, Policy(**held))
    assert all(once.allows(each) for each in (*ACTIONS, IN_PLACE) if back.allows(each)), (
        "the way back is a restart"
    )
