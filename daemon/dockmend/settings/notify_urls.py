"""Where messages and the heartbeat go: URLs, which are secrets, from files, systemd credentials and
the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dockmend.file_trust import Untrusted
from dockmend.settings.channel_settings import NotifyChannel
from dockmend.settings.secrets import Secret, read_lines
from dockmend.settings.settings_document import Location, SettingsDocument
from dockmend.settings.url_schemes import check_heartbeat, check_url

URL: Final = "DOCKMEND_NOTIFY_URL"
"""URLs of the channel `default`, divided by spaces."""
URL_FILE: Final = "DOCKMEND_NOTIFY_URL_FILE"
HEARTBEAT: Final = "DOCKMEND_HEARTBEAT_URL"
DEFAULT: Final = "default"
MOST_URLS: Final = 10
"""Of one channel."""


@dataclass(slots=True)
class Found:
    """`loose`: what is wrong with variables; what is wrong with files is noted in the document."""

    urls: dict[str, tuple[Secret, ...]] = field(default_factory=dict)
    heartbeat: Secret | None = None
    warnings: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)


def with_default(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    """A URL in the environment makes the channel `default`; what the file says of that channel
    holds."""
    if environ.get(URL):
        channels = data.setdefault("notify", {})
        if channels is None:
            channels = data["notify"] = {}
        if isinstance(channels, dict) and channels.get(DEFAULT) is None:
            channels[DEFAULT] = {}


def read(
    channels: Mapping[str, NotifyChannel],
    heartbeat: Path | None,
    source: SettingsDocument,
    environ: Mapping[str, str],
    owners: frozenset[int],
    *,
    as_daemon: bool = True,
) -> Found:
    """Reads every URL. `owners`: the uids that a file and the folders above it must belong to.
    `as_daemon`: see settings.load; a channel whose URLs are not found then has none."""
    found, base = Found(), Path(source.path).parent if source.path else Path()
    for name, channel in channels.items():
        if name == DEFAULT and (given := environ.get(URL)):
            if environ.get(URL_FILE):
                found.loose.append(f"{URL} and {URL_FILE} are both set: keep one of them")
            found.urls[name] = _of_variable(URL, given.split(), check_url, found)
            continue
        place: Location = ("notify", name, "url_file")
        path = (
            base / channel.url_file
            if channel.url_file is not None
            else _credential(f"notify.{name}", environ)
        )
        if path is None and not as_daemon:
            continue
        if path is None:
            source.problem(
                ("notify", name),
                f"notify.{name}: has no URL: expected url_file, the systemd credential "
                f"notify.{name}" + (f", {URL_FILE} or {URL}" if name == DEFAULT else ""),
            )
            continue
        found.urls[name] = _of_file(
            path, place, check_url, source, owners, found.warnings, as_daemon=as_daemon
        )
    found.warnings += _for_no_channel(channels, environ)
    path = base / heartbeat if heartbeat is not None else _credential("heartbeat", environ)
    _heartbeat(path, source, environ, owners, found, as_daemon)
    return found


def check(
    channels: Mapping[str, NotifyChannel],
    heartbeat: Path | None,
    source: SettingsDocument,
    owners: frozenset[int],
) -> None:
    """What is wrong with the files that a settings file names; one that cannot be read here is
    another's to tell."""
    base = Path(source.path).parent
    files = [
        (each.url_file, ("notify", name, "url_file"), check_url) for name, each in channels.items()
    ]
    for file, place, right in [*files, (heartbeat, ("heartbeat_url_file",), check_heartbeat)]:
        if file is not None:
            _of_file(base / file, place, right, source, owners, [], missing_is_wrong=False)


def not_looked_at(key: str, path: Path) -> str:
    """What a command says of a file that only the daemon may read."""
    return f"{key}: {path} may not be read by this user, so it is not checked"


def _heartbeat(
    path: Path | None,
    source: SettingsDocument,
    environ: Mapping[str, str],
    owners: frozenset[int],
    found: Found,
    as_daemon: bool,
) -> None:
    urls: tuple[Secret, ...] = ()
    if given := environ.get(HEARTBEAT):
        urls = _of_variable(HEARTBEAT, [given], check_heartbeat, found)
    elif path is not None:
        place: Location = ("heartbeat_url_file",)
        urls = _of_file(
            path, place, check_heartbeat, source, owners, found.warnings, as_daemon=as_daemon
        )
        if len(urls) > 1:
            source.problem(
                ("heartbeat_url_file",), f"heartbeat_url_file: {path} holds more than one URL"
            )
    found.heartbeat = urls[0] if urls else None


def _credential(name: str, environ: Mapping[str, str]) -> Path | None:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    return path if folder and (path := Path(folder) / name).is_file() else None


def _for_no_channel(channels: Mapping[str, NotifyChannel], environ: Mapping[str, str]) -> list[str]:
    """Credentials that nobody asks for: their channel is not in the settings."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    given = (
        sorted(each.name.removeprefix("notify.") for each in Path(folder).glob("notify.*"))
        if folder
        else []
    )
    return [
        f"the systemd credential notify.{name} is for no channel: write `{name}: {{}}` under "
        "`notify` in the settings"
        for name in given
        if name not in channels
    ]


def _of_variable(
    name: str, urls: list[str], right: Callable[[str], None], found: Found
) -> tuple[Secret, ...]:
    try:
        if not 1 <= len(urls) <= MOST_URLS:
            raise ValueError(f"holds {f'more than {MOST_URLS} URLs' if urls else 'no URL'}")  # noqa: TRY301 - the same way
        for url in urls:
            right(url)
    except ValueError as error:
        found.loose.append(f"{name}: {error}")
    return tuple(Secret(url) for url in urls)


def _of_file(
    path: Path,
    place: Location,
    right: Callable[[str], None],
    source: SettingsDocument,
    owners: frozenset[int],
    warnings: list[str],
    *,
    missing_is_wrong: bool = True,
    as_daemon: bool = True,
) -> tuple[Secret, ...]:
    key = ".".join(map(str, place))
    try:
        lines, warning = read_lines(path, owners)
    except OSError as error:
        if isinstance(error, PermissionError) and not as_daemon:
            warnings.append(not_looked_at(key, path))
        elif missing_is_wrong:
            source.problem(place, f"{key}: {path} cannot be read: {error.strerror or error}")
        return ()
    except Untrusted as error:
        source.problem(place, f"{key}: {error.place} {error.for_settings()}")
        return ()
    except ValueError as error:
        source.problem(place, f"{key}: {path} {error}")
        return ()
    warnings += [warning] if warning else []
    if not 1 <= len(lines) <= MOST_URLS:
        what = f"more than {MOST_URLS} URLs" if lines else "no URL: expected one a line"
        source.problem(place, f"{key}: {path} holds {what}")
    for number, url in lines:
        try:
            right(url.reveal())
        except ValueError as error:
            source.problem(place, f"{key}: {path}, line {number}: {error}")
    return tuple(url for _, url in lines)
