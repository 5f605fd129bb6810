"""A root file system for the demo's container, from this host's own programs: nothing is pulled,
nothing installed.

Two programs do: a shell and `sleep`. A static busybox is both; else they come with the libraries
their loader names.
"""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

from dockmend.errors import DockmendError

BUSYBOX = Path("/bin/busybox")
_PT_INTERP = 3
_LIBRARY = re.compile(r"(?:=>\s*)?(/\S+)(?:\s*=>\s*(/\S+))?\s+\(0x[0-9a-f]+\)")
_LARGEST = 64 * 1024 * 1024  # bytes of one file: libc has 2 MB


def tar() -> bytes:
    """An archive with /bin/sh, /bin/sleep and what they need. Raises DockmendError where none
    fit."""
    files: dict[str, Path] = {}
    try:
        if BUSYBOX.is_file() and interpreter(BUSYBOX.read_bytes()) is None:
            files = {"bin/sh": BUSYBOX, "bin/sleep": BUSYBOX}
        else:
            for name in ("sh", "sleep"):
                files |= _with_libraries(name)
        return _packed(files)
    except OSError as error:
        raise DockmendError(
            f"the demo's image cannot be made of this host's programs: {error}"
        ) from None


def _with_libraries(name: str) -> dict[str, Path]:
    """A program of this host at bin/NAME, its loader and libraries where the loader will look for
    them."""
    found = shutil.which(name, path="/bin:/usr/bin") or shutil.which(name)
    if found is None:
        raise DockmendError(
            f"the demo makes its image of this host's own `{name}`, and there is none in the PATH"
        )
    files = {f"bin/{name}": Path(found).resolve()}
    loader = interpreter(files[f"bin/{name}"].read_bytes())
    if loader is None:
        return files
    files[loader.lstrip("/")] = Path(loader).resolve()
    listed = subprocess.run(  # noqa: S603 - the loader this host's own program names, asked to list, not to run
        [loader, "--list", str(files[f"bin/{name}"])],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    for line in listed.stdout.splitlines():
        if match := _LIBRARY.search(line):
            wanted, path = match[1], match[2] or match[1]
            files[wanted.lstrip("/")] = Path(path).resolve()
    return files


def interpreter(program: bytes) -> str | None:
    """The loader an ELF program names (PT_INTERP), None where it is static. Raises DockmendError
    for anything else."""
    if program[:4] != b"\x7fELF" or len(program) < 64:
        raise DockmendError(
            "the demo needs a Linux host: its own /bin/sh and sleep are no ELF programs"
        )
    order = "<" if program[5] == 1 else ">"
    # In the file: the table of program headers, its entries' size (their number follows); in an
    # entry: offset and size.
    word, at_table, at_size, at_offset, at_length = (
        ("Q", 32, 54, 8, 32) if program[4] == 2 else ("I", 28, 42, 4, 16)
    )

    def read(kind: str, at: int) -> int:
        return int(struct.unpack_from(order + kind, program, at)[0])

    try:
        for index in range(read("H", at_size + 2)):
            header = read(word, at_table) + index * read("H", at_size)
            if read("I", header) == _PT_INTERP:
                start = read(word, header + at_offset)
                return (
                    program[start : start + read(word, header + at_length)].rstrip(b"\0").decode()
                )
    except (struct.error, UnicodeDecodeError):
        raise DockmendError(
            "the demo cannot read this host's own /bin/sh: a damaged ELF program"
        ) from None
    return None


def _packed(files: dict[str, Path]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
        for folder in sorted(folders | {"tmp"}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, path in sorted(files.items()):
            data = path.read_bytes()
            if len(data) > _LARGEST:
                raise DockmendError(f"{path} is larger than the demo expects")
            archive.addfile(*member(name, data, 0o755))
    return stream.getvalue()


def member(name: str, data: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, io.BytesIO]:
    """One file for `TarFile.addfile`, owned by root."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    return entry, io.BytesIO(data)


def one_file(name: str, data: bytes) -> bytes:
    """An archive that holds one file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(*member(name, data))
    return stream.getvalue()
