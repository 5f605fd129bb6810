"""Who lives in whose namespaces: dependents by what their definitions name, and by who is meant by
that at present.

What a reference means is worked out once, and again only if a container or an identity that it
hangs on is another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dockmend.mirror.identities import Identities, is_digits, is_id
from dockmend.mirror.resolver import Resolver
from dockmend.model import Container, target_of, unknown_owner


class OwnerIndex:
    """Ids of dependents by reference, and references by who is meant.

    A name is a key as targets are: `container:NAME`.
    """

    def __init__(self, resolver: Resolver, identities: Identities) -> None:
        self._resolver = resolver
        self._identities = identities
        self._named: dict[str, set[str]] = {}  # ids of dependents, by reference
        self._keys: dict[str, frozenset[str]] = {}  # what the meaning of a reference hangs on
        self._by_key: dict[str, set[str]] = {}  # references, by that
        # the id of who is meant, by reference; "" for nobody that is there
        self._meant: dict[str, str] = {}
        self._under: dict[str, set[str]] = {}  # references, by who is meant
        self._stale: set[str] = set()
        identities.on_change = self.touched

    # --- what changes it --------------------------------------------------------------------------

    def add(self, dependent: Container) -> None:
        for reference in dependent.owners:
            if reference not in self._named:
                self._stale.add(reference)
            self._named.setdefault(reference, set()).add(dependent.id)

    def drop(self, dependent: Container) -> None:
        for reference in dependent.owners:
            mine = self._named.get(reference, set())
            mine.discard(dependent.id)
            if not mine and self._named.pop(reference, None) is not None:
                self._forget(reference)
                self._stale.discard(reference)

    def changed(self, container: Container) -> list[str]:
        """A container came, went, is called otherwise, or runs or not where others share its
        target. To be told of it as it was and as it is. Returns the ids of those for whom another
        may be the owner now."""
        keys = (container.id, f"container:{container.name}", target_of(container))
        self.touched(*keys)
        hang_on_it = {each for key in keys for each in self._by_key.get(key, ())}
        return [each for reference in hang_on_it for each in self._named.get(reference, ())]

    def touched(self, *keys: str) -> None:
        for key in keys:
            self._stale.update(self._by_key.get(key, ()))

    def _forget(self, reference: str) -> None:
        for key in self._keys.pop(reference, ()):
            others = self._by_key[key]
            others.discard(reference)
            if not others:
                del self._by_key[key]
        others = self._under.get(before := self._meant.pop(reference, ""), set())
        others.discard(reference)
        if not others:
            self._under.pop(before, None)

    def _refresh(self) -> None:
        stale, self._stale = self._stale, set()
        for reference in stale:
            if reference not in self._named:
                continue
            self._forget(reference)
            known = self._identities
            keys = frozenset({
                reference, f"container:{reference}", unknown_owner(reference),
                known.heir_of(reference), *known.in_its_place(reference), *known.keys(reference),
            })  # fmt: skip
            self._keys[reference] = keys
            for key in keys:
                self._by_key.setdefault(key, set()).add(reference)
            found = self._resolver.container(reference)
            meant = self._meant[reference] = found.id if found is not None else ""
            self._under.setdefault(meant, set()).add(reference)
            if is_digits(reference) and not is_id(reference):
                # the beginning of an id may be that of another at any time
                self._stale.add(reference)

    # --- what is asked ----------------------------------------------------------------------------

    def naming(self, reference: str) -> Collection[str]:
        """The ids of those whose definitions name exactly this."""
        return self._named.get(reference, ())

    def meaning(self, container_id: str) -> list[str]:
        """The references that mean a container that is there."""
        self._refresh()
        return sorted(self._under.get(container_id, ())) if container_id else []

    def called(self, key: str) -> Iterator[tuple[str, str]]:
        """References that may be found by a key (an id, a target, `container:NAME`), and the id of
        who is meant: "" for nobody."""
        self._refresh()
        return ((each, self._meant[each]) for each in sorted(self._by_key.get(key, ())))

    def all_meant(self) -> dict[str, str]:
        self._refresh()
        return dict(self._meant)
