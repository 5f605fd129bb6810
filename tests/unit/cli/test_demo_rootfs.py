"""The demo's root file system: what it is made of, and programs that are not what they seem."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockmend.cli import demo_rootfs
from dockmend.errors import DockmendError

LOADER = b"/lib/ld.so\0"


def elf(wide: bool, order: str) -> bytes:
    """A program with one header, which names a loader."""
    size = 56 if wide else 32
    table, text = 64, 64 + size
    head = bytearray(b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2]) + bytes(58))
    struct.pack_into(order + ("Q" if wide else "I"), head, 32 if wide else 28, table)
    struct.pack_into(order + "HH", head, 54 if wide else 42, size, 1)
    entry = bytearray(size)
    struct.pack_into(order + "I", entry, 0, 3)
    struct.pack_into(order + ("Q" if wide else "I"), entry, 8 if wide else 4, text)
    struct.pack_into(order + ("Q" if wide else "I"), entry, 32 if wide else 16, len(LOADER))
    return bytes(head + entry + LOADER)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_loader_of_a_program_is_read(wide, order):
    assert demo_rootfs.interpreter(elf(wide, order)) == "/lib/ld.so"


def test_a_static_program_has_none():
    program = bytearray(elf(True, "<"))
    program[64] = 1  # PT_LOAD
    assert demo_rootfs.interpreter(bytes(program)) is None


@pytest.mark.parametrize("program", [b"", b"#!/bin/sh\n" + b"x" * 100, elf(True, "<")[:70]])
def test_what_is_no_program_is_a_sentence(program):
    with pytest.raises(DockmendError, match="the demo"):
        demo_rootfs.interpreter(program)


@given(st.binary(max_size=80))
def test_no_bytes_are_a_traceback(tail):
    try:
        loader = demo_rootfs.interpreter(b"\x7fELF" + tail)
    except DockmendError:
        loader = None
    assert loader is None or isinstance(loader, str)


@pytest.mark.parametrize("busybox", [demo_rootfs.BUSYBOX, Path("/does/not/exist")])
def test_the_archive_holds_a_shell_and_sleep(busybox, monkeypatch):
    monkeypatch.setattr(demo_rootfs, "BUSYBOX", busybox)
    with tarfile.open(fileobj=io.BytesIO(demo_rootfs.tar())) as archive:
        names = archive.getnames()
        assert {"bin/sh", "bin/sleep", "tmp"} <= set(names)
        shell = archive.extractfile("bin/sh")
        assert shell is not None
        loader = demo_rootfs.interpreter(shell.read())
    assert loader is None or loader.lstrip("/") in names


def test_a_host_without_them_is_told_so(monkeypatch):
    monkeypatch.setattr(demo_rootfs, "BUSYBOX", Path("/does/not/exist"))
    monkeypatch.setattr("dockmend.cli.demo_rootfs.shutil.which", lambda *_, **__: None)
    with pytest.raises(DockmendError, match="`sh`, and there is none in the PATH"):
        demo_rootfs.tar()
