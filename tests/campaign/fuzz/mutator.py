"""A seeded mutator that knows what it changes: bytes are cut, doubled and flipped, JSON keeps its
shape.

Far faster than drawing values with hypothesis: a million inputs take minutes. What it starts from
is real.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**40, 0.0, -0.5, 1e308,
    1e-320, float("inf"), float("nan"), "", " ", "0", "-1", "null", "9" * 400, "\x00", "\ud800",
    "é\u202e", "a" * 5000, "../../etc/passwd", "'; --", "{container.name}", "2026-13-45T99:99:99Z",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", [], {}, [[]], [None], {"": None},
    {"a": {"b": {"c": []}}},
)  # fmt: skip
BYTES = (
    b"\x00", b"\xff", b"\xff\xfe", b"\xed\xa0\x80", b"\n", b"\r\n", b'"', b"{", b"}", b"[" * 2000,
    b"\\u0000", b"\\",
    b":", b",", b"*", b"&a ", b"!!python/object:os.system ", b"\t", b"- ", b"|", b"%", b"${x}",
    b"e9999",
)  # fmt: skip


class Mutator:
    """`next()` gives another input; the same seed, the same inputs in the same order."""

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self._dice = random.Random(seed)
        self._corpus = list(corpus)
        self._trees = [_tree(sample) for sample in self._corpus]

    def next(self) -> bytes:
        """One input: a sample whose bytes or, where it is JSON, whose values were changed in one to
        four places."""
        number = self._dice.randrange(len(self._corpus))
        tree = self._trees[number]
        if tree is not None and self._dice.random() < 0.6:
            changed = json.loads(json.dumps(tree))
            for _ in range(self._dice.randint(1, 4)):
                changed = self._change(changed)
            data = json.dumps(changed, ensure_ascii=self._dice.random() < 0.9).encode(
                "utf-8", "surrogatepass"
            )
            if self._dice.random() < 0.8:
                return data
        else:
            data = self._corpus[number]
        for _ in range(self._dice.randint(1, 4)):
            data = self._bend(data)
        return data

    def _change(self, tree: Any) -> Any:
        """A value somewhere within becomes another, moves, doubles or goes."""
        dice = self._dice
        if not isinstance(tree, dict | list) or not tree or dice.random() < 0.02:
            return deepcopy(dice.choice(VALUES))
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = dice.choice(keys)
        inner = tree[key]
        if isinstance(inner, dict | list) and inner and dice.random() < 0.75:
            tree[key] = self._change(inner)
            return tree
        kind = dice.randrange(5)
        if kind == 0:
            del tree[key]
        elif kind == 1 and isinstance(tree, dict):
            tree[str(dice.choice(VALUES))[:100] if dice.random() < 0.5 else str(key).upper()] = (
                inner
            )
        elif kind == 2:
            tree[key] = tree[dice.choice(keys)]  # another's value
        elif kind == 3 and isinstance(inner, str) and inner:
            tree[key] = self._bend(inner.encode("utf-8", "replace")).decode("utf-8", "replace")
        else:
            tree[key] = deepcopy(dice.choice(VALUES))
        return tree

    def _bend(self, data: bytes) -> bytes:
        dice = self._dice
        at = dice.randrange(len(data) + 1)
        length = min(len(data) - at, 1 << dice.randrange(8))
        kind = dice.randrange(6)
        if kind == 0:
            return data[:at] + data[at + length :]
        if kind == 1:
            return (
                data[:at] + data[at : at + length] * dice.choice((2, 3, 50)) + data[at + length :]
            )
        if kind == 2:
            return data[:at] + dice.choice(BYTES) + data[at:]
        if kind == 3:
            other = dice.choice(self._corpus)
            start = dice.randrange(len(other) + 1)
            return data[:at] + other[start : start + length] + data[at:]
        if kind == 4 and data:
            at = min(at, len(data) - 1)
            return data[:at] + bytes((data[at] ^ (1 << dice.randrange(8)),)) + data[at + 1 :]
        return data[:at]


def _tree(sample: bytes) -> Any:
    try:
        return json.loads(sample)
    except ValueError:
        return None
