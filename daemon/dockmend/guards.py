"""Guards: what is never touched, whatever the rules say (rules.md, "What is never done"; settings,
`policy`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dockmend.action_traits import ENDS_RUN
from dockmend.bounds import NAME, OWNERS
from dockmend.decide import Suppress, Verdict, begins_a_task, standing
from dockmend.model import Change, Container, Object, without_aside
from dockmend.owned import OwnedObjects
from dockmend.rules.fields import field_values
from dockmend.rules.owner_labels import ignores
from dockmend.rules.patterns import Test, compile_pattern
from dockmend.rules.rule import ConditionError, Rule, Step
from dockmend.rules.selectors import image_test
from dockmend.settings import Policy
from dockmend.settings.sections import ACTIONS, Protect

TOO_MUCH = (
    f"it has a longer name, or more labels, mounts or networks, than dockmend keeps ({NAME} "
    f"characters, {OWNERS >> 10} KiB of each), and what was left out could say that it is to be "
    "left alone"
)


ITSELF = "this is dockmend itself"


@dataclass(slots=True)
class Guards:
    """`policy`: the one in force, which a reload may narrow. `own`: ids (full or at least 12
    digits) of the container dockmend itself runs in, if any; `owned`: what it made and has not
    handed over; `only`: the id of the one container that anything may be done to, "" for all."""

    policy: Policy = field(default_factory=Policy)
    own: frozenset[str] = frozenset()
    owned: OwnedObjects = field(default_factory=OwnedObjects)
    only: str = ""
    _allowed: frozenset[str] = field(init=False, repr=False, compare=False)
    _protected_by: tuple[Protection, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.hold(self.policy)

    def hold(self, policy: Policy) -> None:
        """From now on this policy holds. What is asked for every change is derived from it once."""
        self.policy = policy
        self._allowed = frozenset(filter(policy.allows, ACTIONS))
        self._protected_by = tuple(protections(policy.protect))

    def forbids(self, subject: Object | None) -> Suppress | None:
        """Why nothing at all may be done to an object, or None."""
        if self.only and getattr(subject, "id", "") != self.only:
            return Suppress("itself", f"this dockmend may act on {self.only[:12]} only")
        if not isinstance(subject, Container):
            return None
        if self.owned.hides(subject):
            return Suppress("itself", "a helper of dockmend's own")
        if self.owned.of(subject) is not None:
            return Suppress("itself", "aside while it is recreated")
        return self.protects(subject)

    def is_own(self, subject: Container) -> bool:
        """Whether dockmend itself runs in it."""
        return any(subject.id.startswith(own) for own in self.own)

    def protects(self, subject: Container) -> Suppress | None:
        """The same of a container that dockmend may have in hand already."""
        if self.is_own(subject):
            return Suppress("itself", ITSELF)
        if ignores(subject.holding_labels):
            return Suppress("ignored", "labelled dockmend.ignore=true")
        if subject.too_much:
            return Suppress("protected", TOO_MUCH)
        for each in self._protected_by:
            if each.holds(subject):
                return Suppress("protected", f"the settings' policy protects {each.text}")
        return None

    def may(self, rule: Rule, change: Change, now: float, host: str) -> Verdict:
        """Whether a rule may answer a change at all, before any limit is asked; `explain` asks the
        same."""
        verdict = standing(rule, change, now)
        if isinstance(verdict, Suppress):
            return verdict
        if rule.remedies and (forbidden := self.forbids(change.subject)):
            return forbidden
        if rule.remedies and (forbidden := begins_a_task(rule.then, change.subject)):
            return forbidden
        if not rule.actions <= self._allowed and (forbidden := self.forbidden_step(rule.then)):
            return forbidden
        if rule.condition is not None:
            try:
                if not rule.condition(field_values(change, rule, "", now, host)):
                    return Suppress(
                        "condition", f"its condition does not hold: {rule.condition_text}"
                    )
            except ConditionError as error:
                return Suppress("condition_error", f"its condition could not be answered: {error}")
        return verdict

    def cuts_off(
        self, rule: Rule, steps: Iterable[Step], owner: Container, guests: Iterable[Container]
    ) -> str | None:
        """Whom these steps would cut off from the namespaces of `owner` for good, as nothing may be
        done to them, and what to do about it; None where there is nobody. `guests`: those that live
        there now."""
        ending = next(
            (step.action for step in steps if step.action in ENDS_RUN and step.target is None), None
        )
        if ending is None or rule.cut_off or not owner.running:
            return None
        lost = [
            (each.name, why.reason)
            for each in guests
            if each.running and (why := self.forbids(each)) is not None
        ]
        if not lost:
            return None
        who = ", ".join(f"{name} ({reason})" for name, reason in sorted(lost))
        links = ", or links to it," if ending == "recreate" else ""
        return (
            f"{ending} would cut off what lives in the namespaces of {owner.name}{links} and must "
            f"be left alone: {who}; allow dockmend to bring it back, or say `cut_off: true` in "
            f"rule {rule.name}"
        )

    def forbidden_step(self, steps: Iterable[Step]) -> Suppress | None:
        """The first step that the settings' policy does not allow."""
        for step in steps:
            if not self.policy.allows(step.action):
                return Suppress("policy", f"the settings' policy does not allow {step.action}")
        return None


@dataclass(frozen=True, slots=True)
class Protection:
    """One pattern of `policy.protect`: `text` as a person wrote it."""

    text: str
    holds: Callable[[Container], bool]


def protections(protect: Protect) -> Iterator[Protection]:
    """Every pattern of a policy, in the language of the rules."""
    for key, patterns in protect.labels.items():
        for pattern in patterns:
            yield Protection(f"label {key}={pattern}", _by_label(key, compile_pattern(pattern)))
    for pattern in protect.name:
        yield Protection(f"name {pattern}", _by_name(compile_pattern(pattern)))
    for pattern in protect.image:
        yield Protection(f"image {pattern}", _by_image(image_test(compile_pattern(pattern))))


def _by_label(key: str, test: Test) -> Callable[[Container], bool]:
    return lambda container: (
        (value := container.holding_labels.get(key)) is not None and test(value)
    )


def _by_name(test: Test) -> Callable[[Container], bool]:
    # A name like those that a recreation gives proves nothing, but it may be all that is left of
    # one whose journal was lost, or that is another dockmend's: what holds for the name in it holds
    # back from it too.
    return lambda container: test(container.name) or test(without_aside(container.name))


def _by_image(test: Test) -> Callable[[Container], bool]:
    return lambda container: test(container.image)


def idle_protections(protect: Protect, containers: Iterable[Container]) -> list[str]:
    """The patterns of a policy that protect none of these containers."""
    known = list(containers)
    return [each.text for each in protections(protect) if not any(map(each.holds, known))]


def trusted(policy: Callable[[], Policy]) -> Callable[[str], bool]:
    """Whether an image's own labels count: its reference is in `trusted_images` of the policy in
    force."""
    return lambda image: any(
        image_test(compile_pattern(each))(image) for each in policy().trusted_images
    )
