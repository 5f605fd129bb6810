"""Which regular expressions can run away: Python's engine backtracks, and a stranger's name must
not stop dockmend.

The pattern's parse tree (the standard library's) is turned into its position automaton (Glushkov).
Under a repetition every step has to be decided by the next character alone: then there is one way
to read a text and no explosion (one-unambiguous expressions, Brüggemann-Klein 1993). Outside of
repetitions choices only multiply: they are counted as the degree of the polynomial, which is
bounded, as is the text that such a pattern is tried on (patterns.py).
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from re import _constants as op  # type: ignore[attr-defined] # the parser's own names: there is no public way to them
from re import _parser  # type: ignore[attr-defined] # the same
from typing import Any, Final

from dockmend.rules.language_error import LanguageError

DEEPEST: Final = 40
"""Parentheses in a pattern, at most: the parser recurses."""

MOST_POSITIONS: Final = 400
MOST_CHOICES: Final = 64
"""Ways to read a text outside of repetitions."""

HIGHEST_DEGREE: Final = 3
"""Of the polynomial that bounds the steps: n*n*n for a text of n characters."""

MOST_STEPS: Final = 8_000_000
"""For one text: 0.06 s of a CPU of 2023 at the worst of 3,508 random patterns."""

SHORTEST_SEARCHED: Final = 64
"""Characters: a pattern that may not be tried on a name of this length is refused, and not silently
never true."""

_BEGINNINGS: Final = ((op.AT, op.AT_BEGINNING), (op.AT, op.AT_BEGINNING_STRING))
# one bit stands for all characters beyond ASCII: overlaps are only ever overestimated
_OTHER: Final = 128
_ALL: Final = (1 << 129) - 1
_ASCII: Final = {
    "digit": sum(1 << ord(char) for char in "0123456789"),
    "word": sum(1 << code for code in range(128) if chr(code).isalnum() or code == ord("_")),
    "space": sum(1 << code for code in range(128) if chr(code).isspace()),
}
_FLAGS: Final = "inline flags other than a leading (?i) are not supported in a regular expression"


def _runaway(why: str) -> LanguageError:
    advice = "use a glob, or begin it with ^ and repeat less"
    return LanguageError(f"this regular expression can run away: {why}; {advice}", 1)


def parse(body: str) -> Any:
    """The standard library's tree of a regular expression (without the slashes). Raises
    LanguageError."""
    if body.count("(") > DEEPEST:
        raise LanguageError(f"a regular expression has at most {DEEPEST} parentheses", 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(body)
            return _parser.parse(body)
    except re.error as error:
        where = 1 + error.pos if error.pos is not None else 1
        raise LanguageError(f"not a regular expression: {error.msg}", where) from None
    except (RecursionError, OverflowError, ValueError, MemoryError):
        raise LanguageError(
            "not a regular expression that can be used: too large or nested too deeply", 1
        ) from None


def longest_searched(body: str) -> int:
    """The characters of the longest text in which `body` can be searched for in MOST_STEPS. Raises
    LanguageError."""
    highest, choices = cost(body)
    longest = int((MOST_STEPS / choices) ** (1 / highest)) if highest else MOST_STEPS
    if longest < SHORTEST_SEARCHED:
        raise _runaway("there are too many ways to read a text")
    return longest


def cost(body: str) -> tuple[int, int]:
    """The bound of the steps of searching for `body` in a text of n characters: choices times n to
    the degree.

    (degree, choices), the degree at most HIGHEST_DEGREE. Raises LanguageError if it does not parse,
    can run away, or uses what cannot be judged (back-references, inline flags but a leading (?i)).
    """
    tree = parse(body)
    if tree.state.flags & ~(re.UNICODE | re.IGNORECASE):
        raise LanguageError(_FLAGS, 1)
    found, choices = _cost(tree, folded=bool(tree.state.flags & re.IGNORECASE))
    found += 0 if _anchored(tree) else 1
    if found > HIGHEST_DEGREE:
        raise _runaway("it repeats too often in a row")
    return found, choices


@dataclass(slots=True)
class _Part:
    """A piece of the pattern: the positions it can begin and end with, and in how many ways it
    matches nothing."""

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    empties: int = 1


class _Automaton:
    """The positions of a pattern, what they match (bit masks), what can follow each, and the loop
    each lies in."""

    def __init__(self, *, folded: bool) -> None:
        self.folded = folded
        self.masks: list[int] = []
        self.follow: list[list[int]] = []
        self.loop_of: list[int | None] = []  # the outermost repetition around a position
        self.loops = 0
        self.current: int | None = None
        self.extra_degree = 0
        self.extra_choices = 1

    def sequence(self, nodes: Any) -> _Part:
        whole = _Part()
        for node in nodes:
            whole = self._join(whole, self._node(node))
        return whole

    def _node(self, node: Any) -> _Part:
        code, value = node
        if (mask := _mask(code, value)) is not None:
            return self._position(_fold(mask) if self.folded else mask)
        if code is op.SUBPATTERN:
            _, add, remove, inner = value
            if add or remove:
                raise LanguageError(_FLAGS, 1)
            return self.sequence(inner)
        if code is op.ATOMIC_GROUP:
            return self.sequence(value)
        if code is op.BRANCH:
            return self._branch(value[1])
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            return self._repeat(*value)
        if code is op.AT:
            return _Part()
        if code in (op.ASSERT, op.ASSERT_NOT):
            return self._look(value[1])
        raise LanguageError(
            "back-references are not supported in a regular expression: they can run away", 1
        )

    def _position(self, mask: int) -> _Part:
        if len(self.masks) >= MOST_POSITIONS:
            raise LanguageError(
                f"a regular expression of more than {MOST_POSITIONS} characters is too large", 1
            )
        self.masks.append(mask)
        self.follow.append([])
        self.loop_of.append(self.current)
        place = len(self.masks) - 1
        return _Part([place], [place], 0)

    def _link(self, sources: list[int], targets: list[int]) -> None:
        for source in sources:
            self.follow[source].extend(targets)

    def _join(self, left: _Part, right: _Part) -> _Part:
        self._link(left.last, right.first)
        first = left.first + right.first if left.empties else left.first
        last = right.last + left.last if right.empties else right.last
        return _Part(first, last, _one_way(left.empties * right.empties))

    def _branch(self, branches: Any) -> _Part:
        parts = [self.sequence(branch) for branch in branches]
        return _Part(
            [place for part in parts for place in part.first],
            [place for part in parts for place in part.last],
            _one_way(sum(part.empties for part in parts)),
        )

    def _repeat(self, low: int, high: Any, inner: Any) -> _Part:
        if high == 0:
            return _Part()
        if high == 1 or (low == high and _fixed(inner)):
            part = self.sequence(inner)
            return _Part(part.first, part.last, _one_way(part.empties + (1 if low == 0 else 0)))
        outermost = self.current is None
        if outermost:
            self.current, self.loops = self.loops, self.loops + 1
        part = self.sequence(inner)
        if outermost:
            self.current = None
        if part.empties:
            raise _runaway("it repeats what can be empty")
        self._link(part.last, part.first)
        return _Part(part.first, part.last, 1 if low == 0 else 0)

    def _look(self, inner: Any) -> _Part:
        if self.current is not None:
            raise _runaway("it looks ahead inside a repetition")
        added, choices = _cost(inner, folded=self.folded)
        self.extra_degree += added
        self.extra_choices *= choices
        return _Part()


def _cost(tree: Any, *, folded: bool) -> tuple[int, int]:
    """Degree and choices of one sequence, tried at one place."""
    automaton = _Automaton(folded=folded)
    whole = automaton.sequence(tree)
    ambiguous: set[int] = set()
    choices = _most_alike(automaton, whole.first)
    for place, targets in enumerate(automaton.follow):
        loop = automaton.loop_of[place]
        if loop is None:
            choices *= _most_alike(automaton, targets)
        else:
            inside = [target for target in targets if automaton.loop_of[target] == loop]
            outside = [target for target in targets if automaton.loop_of[target] != loop]
            if _most_alike(automaton, inside) > 1:
                raise _runaway(
                    "under a repetition, the next character does not decide how to go on"
                )
            choices *= _most_alike(automaton, outside)
            if outside and _most_alike(automaton, inside + outside) > 1:
                ambiguous.add(loop)
        if choices > MOST_CHOICES:
            raise _runaway("there are too many ways to read a text")
    plain = automaton.loops - len(ambiguous) - (1 if _ends_in_simple_loop(tree) else 0)
    degree = len(ambiguous) + (1 if plain > 0 else 0) + automaton.extra_degree
    return degree, choices * automaton.extra_choices


def _most_alike(automaton: _Automaton, places: list[int]) -> int:
    """The most positions among `places` that accept one and the same character; at least 1."""
    if len(places) < 2:
        return 1
    once = 0
    twice = 0
    for place in places:
        twice |= once & automaton.masks[place]
        once |= automaton.masks[place]
    if not twice:
        return 1
    masks = [automaton.masks[place] for place in places]
    return max(
        sum(mask >> bit & 1 for mask in masks) for bit in range(_OTHER + 1) if twice >> bit & 1
    )


def _one_way(empties: int) -> int:
    if empties > 1:
        raise _runaway("it can match nothing in several ways")
    return empties


def _fixed(nodes: Any) -> bool:
    """True for plain characters one after another: repeating them a fixed number of times leaves no
    choice."""
    return all(
        _mask(code, value) is not None
        or (code is op.SUBPATTERN and not value[1] and not value[2] and _fixed(value[3]))
        for code, value in nodes
    )


def literal_start(body: str) -> str:
    """What every match of an anchored expression begins with ("^web[0-9]" -> "web"); "" where
    nothing is known."""
    tree = parse(body)
    if tree.state.flags & re.IGNORECASE or not tree or tree[0] not in _BEGINNINGS:
        return ""
    chars = []
    for code, value in list(tree)[1:]:
        if code is not op.LITERAL:
            break
        chars.append(chr(value))
    return "".join(chars)


def _ends_in_simple_loop(tree: Any) -> bool:
    """`web.*`: nothing comes after the repetition, so it is never taken back."""
    if not tree:
        return False
    code, value = tree[len(tree) - 1]
    if code not in (op.MAX_REPEAT, op.MIN_REPEAT):
        return False
    low, high, inner = value
    return high > 1 and low != high and len(inner) == 1 and _fixed(inner)


def _anchored(tree: Any) -> bool:
    """True if it can match at the text's beginning only."""
    if not tree:
        return False
    code, value = tree[0]
    if code is op.AT:
        return value in (op.AT_BEGINNING, op.AT_BEGINNING_STRING)
    if code is op.SUBPATTERN:
        return _anchored(value[3])
    if code is op.BRANCH:
        return all(_anchored(branch) for branch in value[1])
    return False


def _mask(code: Any, value: Any) -> int | None:
    """The characters a node of one character matches, as bits; None for any other node."""
    if code is op.LITERAL:
        return 1 << min(int(value), _OTHER)
    if code is op.NOT_LITERAL:
        return _ALL & ~(1 << int(value)) if value < _OTHER else _ALL
    if code is op.ANY:
        return _ALL & ~(1 << 10)
    if code is op.IN:
        return _mask_of_set(value)
    return None


def _mask_of_set(items: Any) -> int:
    mask, negated = 0, False
    for code, value in items:
        if code is op.NEGATE:
            negated = True
        elif code is op.LITERAL:
            mask |= 1 << min(value, _OTHER)
        elif code is op.RANGE:
            for char in range(value[0], min(value[1], _OTHER) + 1):
                mask |= 1 << char
            if value[1] >= _OTHER:
                mask |= 1 << _OTHER
        elif code is op.CATEGORY:
            mask |= _mask_of_category(str(value))
    return (_ALL & ~mask) | 1 << _OTHER if negated else mask


def _mask_of_category(name: str) -> int:
    kind = name.rsplit("_", 1)[-1].lower()
    mask = _ASCII[kind]
    return (_ALL & ~mask if "NOT" in name else mask) | 1 << _OTHER


def _fold(mask: int) -> int:
    """Both cases of each ASCII letter; K, I and S also have relatives beyond ASCII."""
    for lower in range(ord("a"), ord("z") + 1):
        upper = lower - 32
        if mask >> lower & 1 or mask >> upper & 1:
            mask |= 1 << lower | 1 << upper | 1 << _OTHER
    return mask
