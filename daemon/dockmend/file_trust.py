"""Who may have written a file that steers dockmend: it, every folder above it, and every link on
the way.

A file that nobody else may write is not enough: whoever may write in a folder above it can put
another file in its place. So a path is walked from the root, one name at a time and relative to the
folder that was opened before it, and each thing on the way is judged by what is held open. Rule
files, settings, secrets and Compose's files go this way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

OWNER_VARIABLE = "DOCKMEND_POLICY_RULES_OWNER"
MAX_LINKS = 40
"""Links that one path may lead through, as in the kernel (path_resolution(7))."""

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# a fifo must not hold the daemon
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Untrusted(Exception):
    """Others may have written what a path leads to; the text says what to do.

    `place` is what they may write: the file, a folder above it, or a link. `owner`: name or uid of
    the one to whom it belongs, as `policy.rules_owner` takes it; None if that is not what is wrong.
    `also`: what is wrong beside that, which a uid there passes as well (see Share).
    """

    def __init__(
        self, place: str, reason: str, *, owner: str | None = None, also: str = ""
    ) -> None:
        super().__init__(reason + also)
        self.place = place
        self.owner = owner
        self.also = also

    def for_rules(self) -> str:
        """The text, with the setting that would let a rule file of that owner count."""
        as_it_is = ", which takes it as it is" if self.also else ""
        return self._or_set(
            f"`policy: {{rules_owner: {self.owner}}}` in the settings, or the variable "
            f"{self._variable}{as_it_is}"
        )

    def for_settings(self) -> str:
        """The same for the settings and what they name: only a variable can say whose settings
        count."""
        return self._or_set(f"the variable {self._variable}")

    @property
    def _variable(self) -> str:
        return f"`{OWNER_VARIABLE}={shlex.quote(self.owner or '')}`"

    def _or_set(self, what: str) -> str:
        if self.owner is None:
            return str(self)
        return f"{str(self).removesuffix(self.also)}, or set {what}{self.also}"


@dataclass(frozen=True, slots=True)
class Share:
    """What belongs to this uid passes whoever else may write it: somebody who knows that has said
    so.

    A share of a NAS gives all its files one owner and mode 0777, and nobody can change that.
    `passed`: the places that passed for this reason alone.
    """

    uid: int
    passed: list[str] = field(default_factory=list)


class UnknownOwner(ValueError):
    """A user is named that this host does not know."""


def trusted_uids(owner: str = "root", runs_as: int | None = None) -> frozenset[int]:
    """Whose files count: root's, those of whom dockmend runs as, and those of `owner` (a name or a
    numeric uid).

    `runs_as`: the uid of the daemon; None: this process's. Raises UnknownOwner.
    """
    me = os.geteuid() if runs_as is None else runs_as
    if owner.isascii() and owner.isdecimal():
        return frozenset({0, me, int(owner)})
    try:
        return frozenset({0, me, pwd.getpwnam(owner).pw_uid})
    except KeyError:
        raise UnknownOwner(f"there is no user {owner}") from None


@contextlib.contextmanager
def opened(
    path: Path, owners: frozenset[int], *, links: bool = True, share: Share | None = None
) -> Iterator[int]:
    """A descriptor of the file or folder at `path`: a file's is open for reading, a folder's is a
    place only.

    Links are followed where a trusted user made them, or refused without `links`. Raises OSError,
    Untrusted.
    """
    walk = _Walk(owners, links, share)
    try:
        walk.along(path.absolute())
        yield walk.here
    finally:
        os.close(walk.here)


@contextlib.contextmanager
def opened_in(
    folder: int, shown: Path, name: str, owners: frozenset[int], share: Share | None = None
) -> Iterator[int]:
    """As `opened`, for an entry of a folder that is held open; `shown` is the folder's path for
    messages.

    Raises OSError, Untrusted.
    """
    walk = _Walk(owners, links=True, share=share, start=folder, shown=str(shown))
    try:
        walk.steps([name])
        yield walk.here
    finally:
        os.close(walk.here)


def check(path: Path, owners: frozenset[int], *, links: bool = True) -> os.stat_result:
    """Judges a path and says what it leads to. Raises OSError, Untrusted."""
    with opened(path, owners, links=links) as descriptor:
        return os.fstat(descriptor)


def read(path: Path, owners: frozenset[int] | None, most: int, share: Share | None = None) -> bytes:
    """At most `most` bytes of a regular file; None as `owners`: whoever wrote it. Raises OSError,
    Untrusted."""
    if owners is not None:
        with opened(path, owners, share=share) as descriptor:
            return content(descriptor, path, most)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return content(descriptor, path, most)
    finally:
        os.close(descriptor)


def content(descriptor: int, path: Path, most: int) -> bytes:
    """At most `most` bytes of an open regular file; `path` is for messages. Raises OSError,
    Untrusted."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise Untrusted(str(path), "is not a regular file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(most)


class _Walk:
    """One walk: `here` is what it has reached, held open, and `shown` the path of that."""

    def __init__(
        self,
        owners: frozenset[int],
        links: bool,
        share: Share | None = None,
        start: int | None = None,
        shown: str = "/",
    ) -> None:
        self.owners = owners
        self.links = links
        self.share = share
        self.left = MAX_LINKS
        self.shown = shown
        self.here = os.dup(start) if start is not None else os.open("/", _FOLDER)

    def along(self, path: Path) -> None:
        self._judge(os.fstat(self.here), "/")
        self.steps(list(path.parts[1:]))

    def steps(self, names: list[str]) -> None:
        todo = names[::-1]
        while todo:
            name = todo.pop()
            place = f"{self.shown.rstrip('/')}/{name}"
            seen = os.stat(name, dir_fd=self.here, follow_symlinks=False)
            if stat.S_ISLNK(seen.st_mode):
                todo += self._target(name, place, seen)[::-1]
                continue
            folder = bool(todo) or stat.S_ISDIR(seen.st_mode)
            self._go(os.open(name, _FOLDER if folder else _FILE, dir_fd=self.here), place)
            self._judge(os.fstat(self.here), place)

    def _target(self, name: str, place: str, seen: os.stat_result) -> list[str]:
        """The names a link leads along; from the root, if it says so."""
        if not self.links:
            raise Untrusted(place, "is a link: expected the file or folder itself")
        if not self.left:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), place)
        self.left -= 1
        self._judge(seen, place)
        target = Path(os.readlink(name, dir_fd=self.here))
        if target.is_absolute():
            self._go(os.open("/", _FOLDER), "/")
            return list(target.parts[1:])
        return list(target.parts)

    def _go(self, descriptor: int, place: str) -> None:
        os.close(self.here)
        self.here, self.shown = descriptor, place

    def _judge(self, seen: os.stat_result, place: str) -> None:
        open_to = self._open_to(seen, place)
        if seen.st_uid not in self.owners:
            names = [_user(uid) for uid in sorted(self.owners)]
            wrong = f"belongs to {_user(seen.st_uid)}, not to {' or '.join(names)}: "
            wrong += f"`chown {names[-1]} {shlex.quote(place)}` mends that"
            if open_to:
                raise Untrusted(place, wrong, owner=str(seen.st_uid), also=f"; it {open_to}")
            raise Untrusted(place, wrong, owner=_name(seen.st_uid))
        if open_to and self.share is not None and seen.st_uid == self.share.uid:
            self.share.passed.append(place)
        elif open_to:
            raise Untrusted(place, open_to)

    def _open_to(self, seen: os.stat_result, place: str) -> str:
        """Who else may write it, why that matters and what mends it; empty if nobody may."""
        if stat.S_ISLNK(seen.st_mode):
            return ""  # its mode means nothing: who may replace it, the folder's mode says
        shared = seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not shared or (stat.S_ISDIR(seen.st_mode) and seen.st_mode & stat.S_ISVTX):
            # as /tmp: what is in it only its own owner replaces, and who that is, is judged next
            return ""
        whom = "everybody" if seen.st_mode & stat.S_IWOTH else "its group"
        why = (
            "what is in it can be replaced"
            if stat.S_ISDIR(seen.st_mode)
            else "dockmend goes by what it says"
        )
        return f"may be written by {whom}, and {why}: `chmod go-w {shlex.quote(place)}` mends that"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _user(uid: int) -> str:
    name = _name(uid)
    return f"user {name}" if name.isdecimal() else name
