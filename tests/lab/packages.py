"""What the packages are tried on: a clone of another user's, a small Debian to build images on and
to boot systemd in.

No test asks a package index: the Debian holds the wheels that requirements/runtime.txt pins.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import owned
from .engine import LabError, PrivateEngine
from .waiting import eventually

TOP = Path(__file__).resolve().parents[2]
USER = 1000
"""The uid whose clone it is; no such user need exist."""
OFFLINE = {"PIP_FIND_LINKS": "/wheels", "PIP_NO_INDEX": "1"}
BASE = "debian-base:latest"


def debian() -> Path:
    """The archive of a root file system; it is made if it is not there (some 30 s)."""
    done = subprocess.run(
        [TOP / "tests/lab/base.sh"], check=False, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise LabError(f"no Debian for the tests: {done.stderr.strip()}")
    return Path(done.stdout.strip())


def base_image(engine: PrivateEngine) -> str:
    """The small Debian as an image of the engine."""
    engine.docker("import", "--change", 'CMD ["/bin/sh"]', str(debian()), BASE, timeout=300)
    return BASE


class Clone:
    """A copy of the repository as `git clone` makes it for another user with a umask of 077."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dm-clone-"))
        listed = [
            "git",
            "-c",
            f"safe.directory={TOP}",
            "-C",
            str(TOP),
            "ls-files",
            "-z",
            "--cached",
            "--others",
        ]
        names = subprocess.run(
            [*listed, "--exclude-standard"], check=True, capture_output=True, text=True
        ).stdout
        for name in filter(None, names.split("\0")):
            if (TOP / name).is_file() and not name.startswith(("tests/", "bench/")):
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(TOP / name, target)
        self.close()

    def close(self) -> None:
        """Gives everything to the user, and closes it to all others."""
        for path in (self.folder, *self.folder.rglob("*")):
            path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)
            os.chown(path, USER, USER)

    def change(self, name: str, before: str, after: str) -> None:
        """Another version of one file."""
        path = self.folder / name
        text = path.read_text()
        assert before in text, f"{name} has no {before!r}"
        path.write_text(text.replace(before, after))

    def run(
        self,
        *command: str,
        groups: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """A command of that user's, in the clone. With `check`, AssertionError with what it said if
        it fails."""
        as_user = [
            "setpriv",
            f"--reuid={USER}",
            f"--regid={USER}",
            f"--groups={','.join(map(str, groups)) or USER}",
        ]
        done = subprocess.run(
            [*as_user, "sh", "-c", 'umask 077; exec "$@"', "sh", *command],
            check=False, cwd=self.folder, capture_output=True, text=True, timeout=600,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **(environment or {})},
        )  # fmt: skip
        assert not check or done.returncode == 0, (
            f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Machine:
    """A Debian under its own systemd, without a network. `binds`, `read_only`: what of this host is
    where in it."""

    def __init__(self, binds: Mapping[str, Path], read_only: Mapping[str, Path]) -> None:
        self.name = f"dm-{secrets.token_hex(4)}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.root = self.folder / "root"
        self._binds = [f"--bind={here}:{there}" for there, here in binds.items()]
        self._binds += [f"--bind-ro={here}:{there}" for there, here in read_only.items()]
        self._record = owned.mine(self.name, self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def start(self) -> Machine:
        self._record.write()
        atexit.register(self.stop)
        self.root.mkdir()
        subprocess.run(["tar", "-C", self.root, "-xf", debian()], check=True)
        command = [
            "systemd-nspawn",
            f"--directory={self.root}",
            f"--machine={self.name}",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--resolv-conf=off",
            "--timezone=off",
            *self._binds,
            "--boot",
        ]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE": "1"},
            )  # fmt: skip
        try:
            eventually(self._booted, 120, what="systemd has booted")
        except AssertionError as error:
            raise LabError(
                f"{error}\n{(self.folder / 'log').read_text(errors='replace')[-3000:]}"
            ) from error
        return self

    def _booted(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "systemd-nspawn has ended"
        children = (
            Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        )
        self._leader = int(children[0])
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in (
            "running",
            "degraded",
        )

    def run(
        self, *command: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A command of root's in it. With `check`, AssertionError with what it said if it fails."""
        inside = [
            "nsenter",
            f"--target={self._leader}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
        ]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [*inside, "--root", "--wdns=/", *command], check=False, capture_output=True, text=True,
            timeout=600, stdin=subprocess.DEVNULL,
            env={"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **environment},
        )  # fmt: skip
        assert not check or done.returncode == 0, (
            f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def stop(self) -> None:
        """Ends it and leaves nothing."""
        atexit.unregister(self.stop)
        owned.dismantle(self._record)
        if self._process is not None:
            self._process.wait(30)
