"""Comparing archives, against the standard library's reading of them, however they are ordered and
cut."""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import tarfile
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.cli.terminal_text import clean
from dockmend.snapshots import diff as diffing
from dockmend.snapshots.archive_entries import Detail, DetailScanner, Item
from dockmend.snapshots.diff import Difference, compare
from dockmend.snapshots.manifest import SnapshotError
from dockmend.snapshots.tar_headers import TarError


@dataclass(frozen=True)
class Node:
    """What a tree has at a path."""

    kind: bytes = tarfile.REGTYPE
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    link: str = ""
    device: tuple[int, int] = (0, 0)
    capability: str = ""

    def seen(self) -> tuple[object, ...]:
        """All that a comparison may look at, for this kind."""
        content = self.data if self.kind == tarfile.REGTYPE else None
        link = self.link if self.kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else None
        device = self.device if self.kind in (tarfile.CHRTYPE, tarfile.BLKTYPE) else None
        return self.kind, content, self.mode, self.uid, self.gid, link, device, self.capability


Tree = dict[bytes, Node]
part = st.sampled_from(
    [b"a", b"b", b"a.b", b"a-b", b"\xff\xfe", b"v", b"n" * 90, "ü".encode(), b"\x1b[2J\n"]
)
path = st.lists(part, min_size=1, max_size=4).map(b"/".join)
node = st.builds(
    Node,
    kind=st.sampled_from(
        [
            tarfile.REGTYPE,
            tarfile.REGTYPE,
            tarfile.DIRTYPE,
            tarfile.SYMTYPE,
            tarfile.FIFOTYPE,
            tarfile.CHRTYPE,
            tarfile.LNKTYPE,
        ]
    ),
    data=st.one_of(
        st.sampled_from([b"", b"x", b"y", b"x" * 512, b"x" * 513, b"\0" * 1024]),
        st.binary(max_size=1500),
    ),
    mode=st.sampled_from([0, 0o644, 0o4755, 0o1777]),
    uid=st.sampled_from([0, 1000, 2**21, 2**31]),
    gid=st.sampled_from([0, 33, 2**31 - 2]),
    link=st.sampled_from(["../x", "/etc/passwd", "v/a", "v/b"]),
    device=st.sampled_from([(1, 3), (7, 0)]),
    capability=st.sampled_from(["", "one", "two"]),
)
tree = st.dictionaries(path, node, max_size=12)
change = st.fixed_dictionaries(
    {},
    optional={"mode": st.just(0o600), "uid": st.just(7), "data": st.just(b"z"),
        "link": st.just("elsewhere"),
                  "device": st.just((9, 9)), "capability": st.just("three"),
                  "kind": st.just(tarfile.DIRTYPE)}
)  # fmt: skip


@st.composite
def pair(draw) -> tuple[Tree, Tree]:
    """A tree and what became of it: mostly the same, or another one."""
    before = draw(tree)
    if draw(st.booleans()):
        return before, draw(tree)
    after = {name: each for name, each in before.items() if draw(st.integers(0, 4))}
    after = {
        name: replace(each, **draw(change)) if not draw(st.integers(0, 2)) else each
        for name, each in after.items()
    }
    return before, after | draw(st.dictionaries(path, node, max_size=2))


def archive(nodes: Iterable[tuple[bytes, Node]], format: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format, errors="surrogateescape") as tar:
        for name, each in [(b"", Node(tarfile.DIRTYPE, mode=0o755)), *nodes]:
            info = tarfile.TarInfo((b"v/" + name).decode("utf-8", "surrogateescape"))
            info.type, info.mode, info.uid, info.gid = each.kind, each.mode, each.uid, each.gid
            info.linkname = each.link if each.kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.devmajor, info.devminor = each.device if each.kind == tarfile.CHRTYPE else (0, 0)
            data = each.data if each.kind == tarfile.REGTYPE else b""
            info.size = len(data)
            if each.capability:
                info.pax_headers = {"SCHILY.xattr.security.capability": each.capability}
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


async def side(data: bytes, cuts: Iterable[int]) -> AsyncGenerator[list[Item], None]:
    scanner = DetailScanner("v")
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        scanner.feed(data[start:end])
        yield scanner.taken()
    scanner.finish()
    yield scanner.taken()


def engines_order(nodes: Tree) -> list[tuple[bytes, Node]]:
    return sorted(nodes.items(), key=lambda each: each[0].split(b"/"))


def compared(before: bytes, after: bytes, cuts: Iterable[int] = ()) -> list[Difference]:
    return asyncio.run(compare(side(before, cuts), side(after, cuts)))


@given(
    pair(),
    st.randoms(use_true_random=False),
    st.booleans(),
    st.lists(st.integers(0, 10**6), max_size=8),
)
def test_finds_exactly_what_differs_in_whatever_order_and_pieces(trees, random, shuffled, cuts):
    before, after = trees
    order: Callable[[Tree], list[tuple[bytes, Node]]] = engines_order
    if shuffled:
        order = lambda nodes: random.sample(  # noqa: E731
            sorted(nodes.items(), key=lambda each: each[0]), len(nodes)
        )
    found = compared(archive(order(before)), archive(order(after)), cuts)
    told = {each.path: each.kind for each in found}
    assert len(told) == len(found)
    assert told == {
        **dict.fromkeys(before.keys() - after.keys(), "removed"),
        **dict.fromkeys(after.keys() - before.keys(), "added"),
        **{
            name: "changed"
            for name in before.keys() & after.keys()
            if before[name].seen() != after[name].seen()
        },
    }
    for each in found:
        assert clean(each.line()).isprintable()
        if each.kind == "changed":
            assert each.what


@given(
    tree,
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.lists(st.integers(0, 10**6), max_size=4),
)
def test_an_archive_does_not_differ_from_itself_in_another_format(nodes, format, cuts):
    plain = {name: replace(each, capability="") for name, each in nodes.items()}
    assert (
        compared(archive(engines_order(plain), format), archive(engines_order(plain)), cuts) == []
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"data": b"two"}, ("content",)),
        ({"data": b"three"}, ("size", "content")),
        ({"mode": 0o600}, ("mode",)),
        ({"uid": 5}, ("owner",)),
        ({"gid": 5}, ("owner",)),
        ({"capability": "x"}, ("capability",)),
        ({"kind": tarfile.DIRTYPE}, ("type", "size", "content")),
        ({"kind": tarfile.SYMTYPE, "link": "x"}, ("type", "size", "content", "link")),
        ({"kind": tarfile.CHRTYPE, "device": (1, 3)}, ("type", "size", "content", "device")),
    ],
)
def test_says_what_differs(changes, what):
    one = Node(data=b"one")
    (found,) = compared(archive([(b"f", one)]), archive([(b"f", replace(one, **changes))]))
    assert found.what == what


def test_the_rows_and_lines_of_each_kind():
    before = {b"a": Node(data=b"one"), b"b": Node(), b"l": Node(tarfile.SYMTYPE, link="x")}
    after = {
        b"a": Node(data=b"two", mode=0o600, uid=33),
        b"\xff\x1b": Node(data=b"1234"),
        b"l": before[b"l"],
    }
    found = compared(archive(engines_order(before)), archive(engines_order(after)))
    assert [each.line() for each in found] == [
        "~ a: content, mode 0644 → 0600, owner 0:0 → 33:0",
        "- b (0 bytes)",
        "+ \\xff\x1b (4 bytes)",
    ]
    assert found[0].row() == {
        "path": "a",
        "change": "changed",
        "what": ["content", "mode", "owner"],
        "before": {"type": "file", "mode": "0644", "owner": "0:0", "size": 3,
                   "content": hashlib.sha256(b"one").hexdigest()},
        "after": {"type": "file", "mode": "0600", "owner": "33:0", "size": 3,
                  "content": hashlib.sha256(b"two").hexdigest()},
    }  # fmt: skip
    assert found[2].row()["before"] is None


async def entries(
    names: Iterable[bytes], batch: int, size: int = 0
) -> AsyncGenerator[list[Item], None]:
    for group in _batched(names, batch):
        yield [(name, Detail("file", 0o644, 0, 0, size)) for name in group]


def _batched(names: Iterable[bytes], batch: int) -> Iterable[list[bytes]]:
    rest = iter(names)
    while group := list(itertools.islice(rest, batch)):
        yield group


def test_holds_no_more_than_what_differs(monkeypatch):
    """10,000 entries on either side in batches of other sizes, some of them on one side only: never
    80 at once."""
    monkeypatch.setattr(diffing, "LIMIT", 80)
    names = [b"%05d" % number for number in range(10_000)]
    fewer = [name for name in names if not 3000 <= int(name) < 3020]
    found = asyncio.run(compare(entries(names, 16), entries(fewer, 7)))
    assert [each.path for each in found] == names[3000:3020]
    assert {each.kind for each in found} == {"removed"}


@pytest.mark.parametrize("sizes", [(0, 1), (0, 0)])
def test_too_many_differences_are_given_up_in_a_sentence(sizes, monkeypatch):
    monkeypatch.setattr(diffing, "LIMIT", 80)
    names = [b"%05d" % number for number in range(100)]
    other = names if sizes[0] != sizes[1] else [b"x%05d" % number for number in range(100)]
    with pytest.raises(SnapshotError, match="more than 80 entries differ"):
        asyncio.run(compare(entries(names, 5, sizes[0]), entries(other, 5, sizes[1])))


def test_an_archive_that_was_cut_is_no_difference():
    whole = archive([(b"a", Node(data=b"x" * 5000))])
    with pytest.raises(TarError, match="cut short"):
        compared(whole, whole[:3000])
