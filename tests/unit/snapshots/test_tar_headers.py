"""The tar scanner against archives the standard library makes, in every format, cut into chunks
anywhere."""

from __future__ import annotations

import contextlib
import io
import itertools
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.snapshots.tar_headers import TarEntry, TarError, TarScanner, _pax

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
KINDS = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
)

byte = st.integers(1, 255).filter(lambda value: value != ord("/"))
part = (
    st.lists(byte, min_size=1, max_size=60).map(bytes).filter(lambda text: text.strip(b".") != b"")
)
name = st.lists(part, min_size=1, max_size=6).map(b"/".join)


@st.composite
def member(draw) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(name).decode("utf-8", "surrogateescape"))
    info.type = draw(st.sampled_from(KINDS))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid = draw(st.integers(0, 2**31))
    info.mtime = draw(st.sampled_from([0, 1, 2**33, 1.5]))
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(name).decode("utf-8", "surrogateescape")
    data = draw(st.binary(max_size=1500)) if info.type == tarfile.REGTYPE else b""
    info.size = len(data)
    return info, data


def archive(members: list[tuple[tarfile.TarInfo, bytes]], format: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format, errors="surrogateescape") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def scan(data: bytes, cuts: list[int] | None = None) -> list[TarEntry]:
    found: list[TarEntry] = []
    scanner = TarScanner(found.append)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or ())})
    for start, end in itertools.pairwise(places):
        scanner.feed(data[start:end])
    scanner.finish()
    return found


def read_back(data: bytes) -> list[tuple[bytes, bytes, int, bytes, int]]:
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        return [
            (
                info.name.encode("utf-8", "surrogateescape").rstrip(b"/"),
                info.type,
                info.size,
                info.linkname.encode("utf-8", "surrogateescape"),
                info.mode,
            )
            for info in tar
        ]


@given(
    st.lists(member(), max_size=6),
    st.sampled_from(FORMATS),
    st.lists(st.integers(0, 10**6), max_size=8),
)
def test_sees_what_tarfile_sees(members, format, cuts):
    try:
        data = archive(members, format)
    except ValueError:  # ustar has no room for such a name or number
        data = archive(members, tarfile.PAX_FORMAT)
    seen = [
        (each.name.rstrip(b"/"), each.kind, each.size, each.link, each.mode)
        for each in scan(data, cuts)
    ]
    assert seen == read_back(data)


@given(st.lists(member(), min_size=1, max_size=4), st.data())
def test_a_cut_archive_is_never_whole(members, data):
    whole = archive(members, tarfile.PAX_FORMAT)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        tar.getmembers()
        end = tar.offset  # of the end mark's second half; tarfile pads far beyond it
    cut = data.draw(st.integers(0, end - 1))
    with pytest.raises(TarError):
        scan(whole[:cut])


@given(st.binary(max_size=3000))
def test_garbage_is_refused_not_crashed_on(garbage):
    with pytest.raises(TarError):
        scan(garbage + b"x" * 512)


def test_a_pax_header_whose_second_record_has_no_length_is_refused_not_read_for_ever():
    with pytest.raises(TarError):
        _pax(b"12 path=abc\n" + b"x" * 40)


@given(st.lists(member(), min_size=1, max_size=3), st.sampled_from(FORMATS[1:]), st.data())
def test_a_damaged_archive_raises_nothing_but_tar_error(members, format, data):
    whole = bytearray(archive(members, format))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5)):
        whole[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(TarError):
        assert scan(bytes(whole)) is not None


def test_byte_by_byte():
    info = tarfile.TarInfo("a" * 300)
    info.size = 700
    data = archive([(info, b"x" * 700)], tarfile.GNU_FORMAT)
    assert scan(data, list(range(len(data)))) == [TarEntry(b"a" * 300, b"0", 700, b"", 0o644)]


def test_nine_gibibytes_by_base_256_and_by_pax():
    for each in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("large")
        info.size = 9 << 30
        header = info.tobuf(each)
        found: list[TarEntry] = []
        scanner = TarScanner(found.append)
        scanner.feed(header)
        assert found[-1].size == 9 << 30
        chunk = bytes(1 << 20)
        for _ in range(9 << 10):
            scanner.feed(chunk)
        assert not scanner.complete
        scanner.feed(bytes(1024))
        assert scanner.complete


def test_global_pax_header_holds_until_the_end():
    stream = io.BytesIO()
    with tarfile.open(
        fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "kept"}
    ) as tar:
        tar.addfile(tarfile.TarInfo("one"))
        tar.addfile(tarfile.TarInfo("two"))
    assert [each.name for each in scan(stream.getvalue())] == [b"one", b"two"]


def test_sparse_map_blocks_are_no_headers():
    """GNU's old sparse format continues its map in blocks after the header."""
    header = bytearray(tarfile.TarInfo("sparse").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[124:136] = b"00000001000\0"  # 512 bytes of data follow the map
    header[482] = 1
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    more = bytearray(b"7" * 512)
    more[504] = 0
    after = tarfile.TarInfo("after").tobuf(tarfile.GNU_FORMAT)
    assert [
        each.name for each in scan(bytes(header) + bytes(more) + b"d" * 512 + after + bytes(1024))
    ] == [
        b"sparse",
        b"after",
    ]


def test_a_header_too_large_to_hold_is_refused():
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"x"
    header[124:136] = b"77777777777\0"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    with pytest.raises(TarError, match="a header of 8589934591 bytes"):
        scan(bytes(header))


@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE]
)
def test_a_negative_size_is_refused_not_read_for_ever(kind: bytes):
    block = bytearray(tarfile.TarInfo("v/a").tobuf(tarfile.GNU_FORMAT)[:512])
    block[124:136], block[156:157], block[148:156] = b"\xff" * 10 + b"\xfe\x00", kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(TarError, match="size"):
        scan(bytes(block) + bytes(2048))


def test_the_cut_is_named():
    info = tarfile.TarInfo("v/data.db")
    info.size = 4096
    with pytest.raises(TarError, match=r"cut short after v/data.db"):
        scan(archive([(info, bytes(4096))], tarfile.PAX_FORMAT)[:2000])
