"""Identities: what every container that was heard of was called, and who took its place.

A definition names another container by its id, and goes on doing so when that one is gone. This
memory tells which container such an id meant. It is bounded, outlives dockmend, and never drops an
id that a definition still names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dockmend.model import Container, as_written, target_of

GONE_KEPT = 2048
"""Identities kept of containers that are gone and that no definition names; the oldest are
forgotten first."""
SWEPT_AT = GONE_KEPT // 4
"""Identities beyond that number after which the next look for what can be forgotten is due."""
NAMES_KEPT = 8
"""Names and targets kept of one container: the newest, and the first."""
ID_DIGITS = 12
"""The fewest digits of an id that stand for a container."""
_ID_LENGTH = 64


class Identity(Struct, frozen=True, omit_defaults=True):
    """`names` and `targets`: all that it was known by, the newest first; `heir`: the id of what
    dockmend put in its place; `stand_in`: the id of the one that a definition which names it was
    last made onto, whoever made that one; `aside`: the name that a recreation of dockmend's gave
    it, by which the engine tells links to it ever since; `made_as`: how it was made
    (Container.made_as); `taken`: somebody removed it who was not dockmend, though it ran, or was
    to; `image`, `image_id`, `created_at`: of what it was made, and when (wall seconds)."""

    id: str
    names: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    heir: str = ""
    stand_in: str = ""
    aside: str = ""
    made_as: str = ""
    taken: bool = False
    image: str = ""
    image_id: str = ""
    created_at: float = 0.0

    def called(self) -> tuple[str, ...]:
        """Targets by which it may be found again, the best first: its own, then those that its
        names alone make."""
        return tuple(dict.fromkeys((*self.targets, *(f"container:{name}" for name in self.names))))


class Identities:
    """By id. `changed`: ids whose identity is to be journalled."""

    def __init__(self) -> None:
        self.known: dict[str, Identity] = {}
        self.changed: set[str] = set()
        self.on_change: Callable[[str], None] = lambda container_id: None
        self._asides: dict[str, str] = {}  # ids by the name that a recreation gave
        self._sweep_at = GONE_KEPT + SWEPT_AT

    # --- what is persisted ------------------------------------------------------------------------

    def restore(self, container_id: str, data: bytes) -> None:
        """Takes up one from the journal. Raises msgspec.MsgspecError where the bytes are of no
        use."""
        self._know(msgspec.msgpack.decode(data, type=Identity))
        self.on_change(container_id)

    def encoded(self, container_id: str) -> bytes | None:
        found = self.known.get(container_id)
        return msgspec.msgpack.encode(found) if found else None

    # --- what is heard ----------------------------------------------------------------------------

    def seen(self, container: Container) -> None:
        """A container as a look told of it: its labels say what its target is."""
        self._heard(container.id, container.plain_name, target_of(container))
        known = self.known[container.id]
        if container.made_as and not known.made_as:
            known = replace(known, made_as=container.made_as)
        if container.image_id and not known.image_id:
            image = as_written(container.image, container.labels)
            known = replace(
                known, image=image, image_id=container.image_id, created_at=container.created_at
            )
        if known is not self.known[container.id]:
            self._put(known)

    def named(self, container_id: str, name: str) -> None:
        """Only an event told of it: whose its labels are is not known, so that its name is all
        there is."""
        self._heard(container_id, name, "")

    def told(self, container_id: str, target: str) -> None:
        """It was never seen; something else tells what its target was."""
        self._heard(container_id, "", target)

    def set_aside(self, container_id: str, name: str) -> None:
        """dockmend itself gave it this name, as the journal proves."""
        known = self.known.get(container_id) or Identity(container_id)
        if known.aside != name:
            self._put(replace(known, aside=name))

    def succeeded(self, old: str, new: str) -> None:
        """`new` took the place of `old`, by dockmend's own doing."""
        if self._leads_on(old, new):
            self._put(replace(self.known.get(old) or Identity(old), heir=new))

    def stands_in(self, old: str, new: str) -> None:
        """A definition that names `old` is made onto `new`: what `old` meant need not be guessed by
        a name again."""
        if self._leads_on(old, new):
            self._put(replace(self.known.get(old) or Identity(old), stand_in=new))

    def removed_by_somebody(self, container_id: str) -> None:
        if (known := self.known.get(container_id)) is not None and not known.taken:
            self._put(replace(known, taken=True))

    def _leads_on(self, old: str, new: str) -> bool:
        """False for one that would take its own place in the end."""
        return old != new and old not in self.in_its_place(new)

    def _heard(self, container_id: str, name: str, target: str) -> None:
        known = self.known.get(container_id) or Identity(container_id)
        names, targets = _newest(known.names, name), _newest(known.targets, target)
        if names != known.names or targets != known.targets or container_id not in self.known:
            self._put(replace(known, names=names, targets=targets))

    def _put(self, identity: Identity) -> None:
        self._know(identity)
        self.changed.add(identity.id)
        self.on_change(identity.id)

    def _know(self, identity: Identity) -> None:
        self.known[identity.id] = identity
        if identity.aside:
            self._asides[identity.aside] = identity.id

    # --- what is asked ----------------------------------------------------------------------------

    def line(self, container_id: str) -> Iterator[Identity]:
        """Its identity, that of what took its place, and so on, as far as they are known."""
        seen = set[str]()
        while container_id and container_id not in seen:
            seen.add(container_id)
            found = self.known.get(container_id)
            if found is None:
                return
            yield found
            container_id = found.heir or found.stand_in

    def in_its_place(self, container_id: str) -> list[str]:
        """The ids of those that took its place one after another, heirs or not."""
        return [
            each.heir or each.stand_in
            for each in self.line(container_id)
            if each.heir or each.stand_in
        ]

    def heir_of(self, container_id: str) -> str:
        """The id of the last that dockmend put in its place; its own where there is none. Another
        that a person made is not what was treated, whatever it is called."""
        for each in self.line(container_id):
            if not each.heir:
                return each.id
            container_id = each.heir
        return container_id

    def predecessors(self, container_id: str) -> list[str]:
        """The ids of those whose place it took."""
        return [each.id for each in self.known.values() if each.heir == container_id]

    def keys(self, container_id: str) -> tuple[str, ...]:
        """All that it or its heirs may be found by, the newest heir's first."""
        return tuple(
            dict.fromkeys(
                key for each in reversed(list(self.line(container_id))) for key in each.called()
            )
        )

    def name_of(self, container_id: str) -> str:
        """What it was last called; its id where that is not known."""
        found = self.known.get(container_id)
        return found.names[0] if found is not None and found.names else short(container_id)

    def name_for(self, target: str) -> str:
        """What a container with this target was last called, though it is gone: people know names,
        not targets.

        The text of the target itself (`shop/vpn/1` of `compose:shop/vpn/1`) if none was ever heard
        of.
        """
        names = [
            each.names[0] for each in self.known.values() if each.names and target in each.called()
        ]
        return names[-1] if names else target.partition(":")[2]

    def before(self, container: Container) -> Identity | None:
        """What had its target before it, if it is known of what image that was made: the last
        one."""
        target = target_of(container)
        earlier = [
            each for each in self.known.values()
            if each.id != container.id and each.image_id and target in each.targets
            if each.created_at < container.created_at
        ]  # fmt: skip
        return max(earlier, key=lambda each: each.created_at, default=None)

    def made_another_way(self, old: str, new: str) -> bool:
        """Whether `new` was made another way than `old` and all its heirs. False for one of these,
        and where that is not known."""
        ids, last = [old], old
        while (known := self.known.get(last)) is not None and known.heir and known.heir not in ids:
            ids.append(last := known.heir)
        made = [
            found.made_as if (found := self.known.get(each)) is not None else ""
            for each in (new, *ids)
        ]
        return all(made) and made[0] not in made[1:]

    def was_set_aside(self, name: str) -> bool:
        """Whether dockmend gave a container this name. Who is asked about is in use, and so not
        among the oldest."""
        container_id = self._asides.get(name, "")
        if (found := self.known.pop(container_id, None)) is None:
            return False
        self.known[container_id] = found
        return True

    def called(self, key: str) -> list[str]:
        """The ids of all that were ever called so."""
        return [each.id for each in self.known.values() if key in each.called()]

    def was_taken(self, by: str) -> bool:
        """Whether somebody removed what was known `by` an id, a target, or the beginning of a
        Compose service's targets (`compose:PROJECT/SERVICE/`). Only meant for a container that does
        not exist now."""
        if by.startswith("compose:"):
            return any(
                each.taken and any(key.startswith(by) for key in each.targets)
                for each in self.known.values()
            )
        return any(
            each.taken for each in self.known.values() if by == each.id or by in each.called()
        )

    # --- what is forgotten ------------------------------------------------------------------------

    def full(self) -> bool:
        """Whether it is time to `forget`."""
        return len(self.known) >= self._sweep_at

    def forget(self, present: Collection[str], named: Collection[str]) -> None:
        """Drops the oldest beyond the bound. `present`: ids that are there; `named`: those that
        definitions name."""
        needed = {each.id for name in named for each in self.line(name)}
        gone = [each for each in self.known if each not in present and each not in needed]
        for container_id in gone[: max(0, len(gone) - GONE_KEPT)]:
            self._asides.pop(self.known.pop(container_id).aside, None)
            self.changed.add(container_id)
            self.on_change(container_id)
        self._sweep_at = len(self.known) + SWEPT_AT


def is_id(text: str) -> bool:
    """Whether a reference is a whole id: only a name can stand for another container tomorrow."""
    return len(text) == _ID_LENGTH and is_digits(text)


def is_digits(text: str) -> bool:
    """Whether a reference may be the beginning of an id."""
    return len(text) >= ID_DIGITS and set(text) <= set("0123456789abcdef")


def short(reference: str) -> str:
    """For a person: an id as the docker command shows it; a name as it is."""
    return reference[:ID_DIGITS] if is_id(reference) else reference


def _newest(known: tuple[str, ...], new: str) -> tuple[str, ...]:
    if not new or known[:1] == (new,):
        return known
    found = (new, *(each for each in known if each != new))
    return found if len(found) <= NAMES_KEPT else (*found[: NAMES_KEPT - 1], found[-1])
