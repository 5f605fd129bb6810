"""What of a policy that was read again holds at once: a reload may narrow it, only a restart widens
it."""

from __future__ import annotations

from collections.abc import Iterable

from dockmend.settings.sections import ACTIONS, IN_PLACE, Patterns, Policy, Protect


def narrowed(held: Policy, read: Policy) -> tuple[Policy, tuple[str, ...]]:
    """The policy from now on, no wider than the one `held`, and what of the one `read` waits for a
    restart."""
    may, asked = _allowed(held), _allowed(read)
    owner = read.rules_owner if read.rules_owner == held.rules_owner else "root"
    policy = Policy.model_construct(
        allow=held.allow if may <= asked else tuple(sorted(may & asked)),
        protect=_both(held.protect, read.protect),
        rules_owner=owner,
        trusted_images=tuple(each for each in held.trusted_images if each in read.trusted_images),
    )
    waits = {
        "allow": asked - may,
        "protect": _protected(held.protect) - _protected(read.protect),
        "rules_owner": {read.rules_owner} - {owner},
        "trusted_images": set(read.trusted_images) - set(held.trusted_images),
    }
    return policy, tuple(
        f"policy.{key}: {'without ' if key == 'protect' else ''}{', '.join(sorted(names))} holds "
        "from a restart on"
        for key, names in waits.items()
        if names
    )


def _allowed(policy: Policy) -> set[str]:
    return {each for each in (*ACTIONS, IN_PLACE) if policy.allows(each)}


def _both(one: Protect, other: Protect) -> Protect:
    labels = {
        key: _union(one.labels.get(key, ()), other.labels.get(key, ()))
        for key in {**one.labels, **other.labels}
    }
    return Protect.model_construct(
        labels=labels, name=_union(one.name, other.name), image=_union(one.image, other.image)
    )


def _union(one: Iterable[str], other: Iterable[str]) -> Patterns:
    return tuple(dict.fromkeys((*one, *other)))


def _protected(protect: Protect) -> set[str]:
    labels = {
        f"label {key}={pattern}" for key, patterns in protect.labels.items() for pattern in patterns
    }
    return (
        labels
        | {f"name {each}" for each in protect.name}
        | {f"image {each}" for each in protect.image}
    )
