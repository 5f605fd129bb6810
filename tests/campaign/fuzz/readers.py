"""Everything that reads from outside, as one function of bytes each: what it raises beyond its own
word is a find.

MQTT payloads of strangers are read by nobody in this version (what the broker retains under
dockmend's own prefix is looked at by topic only), and there is no Alertmanager route.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import structlog

from dockmend.app import resume
from dockmend.cli.command_frame import root
from dockmend.control.socket_server import parse
from dockmend.engine import wire, wire_networks
from dockmend.engine.stream import Drain, decode_lines
from dockmend.errors import DockmendError, InvalidFiles, UsageError
from dockmend.journal.records import ActionRecord, Breaker, Incident, Pause
from dockmend.mirror import Mirror
from dockmend.pipeline.event_cursor import EventCursor
from dockmend.rules import durations, patterns, schedules, templates, time_windows
from dockmend.rules.expressions import compile_condition
from dockmend.rules.language_error import LanguageError
from dockmend.rules.loader import load_texts
from dockmend.settings.load import check_file
from dockmend.settings.secrets import Secret
from dockmend.timekeeping import Clock
from dockmend.web import http_server as web
from dockmend.web.host_guard import host_allowed
from dockmend.web.paging import cursor_of, limit_of, place_of
from dockmend.web.tokens import Right, Token, Tokens

CORPUS = Path(__file__).parent / "corpus"
RULES = Path(__file__).parents[2] / "unit" / "rules"
FRESH = 2000  # inputs after which a mirror begins anew


@dataclass(frozen=True)
class Reader:
    """`share`: of a million inputs, how many it gets: few where one takes milliseconds."""

    name: str
    corpus: Callable[[], Sequence[bytes]]
    read: Callable[[bytes], None]
    share: int


def recorded(name: str) -> Callable[[], list[bytes]]:
    return lambda: (CORPUS / f"{name}.ndjson").read_bytes().splitlines()


class _Host:
    """A mirror that lives through many inputs, as it does through a daemon's life."""

    def __init__(self) -> None:
        self._left = 0
        self._mirror = Mirror()

    @property
    def mirror(self) -> Mirror:
        self._left -= 1
        if self._left < 0:
            self._left, self._mirror = FRESH, Mirror()
        return self._mirror


_host = _Host()


def read_events(data: bytes) -> None:
    drain = Drain(limit=1 << 20)
    drain.feed(data + b"\n")
    batch = drain.rest()
    events, _ = decode_lines(data)
    mirror = _host.mirror
    for event in (*batch.events, *events):
        for change in mirror.apply(event, 1000.0):
            assert change.triggers
        msgspec.msgpack.encode(EventCursor(event.time_ns, event.type, event.action, event.actor.ID))


def read_inspect(data: bytes) -> None:
    try:
        found = wire.to_container(wire.container_decoder.decode(data), {})
    except (
        msgspec.MsgspecError,
        ValueError,
        RecursionError,
    ):
        # What Transport.decoded takes for "not understood".
        return
    mirror = _host.mirror
    mirror.observe(found, 1000.0)
    known = mirror.known(found.id)
    if known is not None:
        Mirror().restore(known)


def _volumes(found: wire.WireVolumes) -> None:
    for each in found.Volumes or ():
        wire.to_volume(each)


def _nothing(found: object) -> None:
    """Read by its fields alone."""


LISTS: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (wire_networks.networks_decoder,
        lambda found: [wire_networks.to_network(each) for each in found]),
    (wire.images_decoder, lambda found: [wire.to_image(each) for each in found]),
    (wire.volumes_decoder, _volumes), (wire.ids_decoder, _nothing), (wire.info_decoder, _nothing),
    (wire.version_decoder, _nothing),
)  # fmt: skip


def read_lists(data: bytes) -> None:
    for decoder, use in LISTS:
        try:
            found = decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        use(found)


def read_rules(data: bytes) -> None:
    try:
        load_texts({"fuzzed.yaml": data}, host="lab")
    except InvalidFiles as invalid:
        problems = invalid.problems
    else:
        return
    assert all(problem.line >= 1 and str(problem).isprintable() for problem in problems)


def read_settings(data: bytes) -> None:
    _settings.write_bytes(data)
    try:
        problems = check_file(_settings)
    except UsageError:
        return
    assert all(str(problem).isprintable() for problem in problems)


_folder = tempfile.TemporaryDirectory(prefix="dm-fuzz-")
_settings = Path(_folder.name) / "dockmend.yaml"
COMPILERS: tuple[Callable[[str], object], ...] = (
    compile_condition, templates.compile_template, durations.duration, durations.per,
    durations.span, durations.threshold, time_windows.window, patterns.parse_pattern,
    schedules.check_cron, schedules.check_zone,
)  # fmt: skip


def read_words(data: bytes) -> None:
    """The small languages within a rule."""
    text = data.decode("utf-8", "replace")[:2000]
    for compiler in COMPILERS:
        try:
            compiler(text)
        except LanguageError:
            continue


def read_command(data: bytes) -> None:
    try:
        parse(data)
    except UsageError:
        return


def read_request(data: bytes) -> None:
    """A request's headers and parameters, as the HTTP server takes them once its parser has."""
    text = data.decode("latin-1")
    host_allowed(text, ("proxy.example",))
    Tokens((Token(Secret("right"), Right.READ),)).right_of(text)
    for parameter in (web._since, cursor_of, place_of, lambda limit: limit_of(limit, 1)):
        try:
            parameter(text)
        except UsageError:
            continue


class _Journal:
    """A journal whose known state is what was drawn."""

    def __init__(self, data: bytes) -> None:
        keys = (resume.CONTAINER + "a", resume.NETWORK + "a", resume.CURSOR, resume.STAMP,
                resume.SCHEDULE + "a")  # fmt: skip
        self._known = dict.fromkeys(keys, data)

    async def known(self) -> dict[str, bytes]:
        return self._known


def read_known(data: bytes) -> None:
    coroutine = resume.known_state(_Journal(data), Mirror(), Clock())  # type: ignore[arg-type]
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


def read_rows(data: bytes) -> None:
    for record in (Incident, ActionRecord, Pause, Breaker):
        try:
            msgspec.json.decode(data, type=record)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # as journal/reader.py
            continue


def read_arguments(data: bytes) -> None:
    """A command line as far as it is understood; nothing is run."""
    try:
        words = shlex.split(data.decode("utf-8", "replace").replace("\x00", ""))
    except ValueError:
        words = data.decode("utf-8", "replace").split()
    if not words:
        return
    command: Any = root
    name = "dockmend"
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        name, command, words = words[0], command.commands[words[0]], words[1:]
    try:
        command.make_context(
            name, list(words), resilient_parsing="--help" in words or "--version" in words
        )
    except (click.ClickException, click.exceptions.Exit, DockmendError):
        return


def known_samples() -> list[bytes]:
    """What a mirror of the recorded containers keeps in the journal."""
    mirror = Mirror()
    for line in recorded("inspects")():
        mirror.observe(wire.to_container(wire.container_decoder.decode(line), {}), 1000.0)
    kept = [mirror.known(container_id) or b"" for container_id in mirror.entries]
    return [
        *kept,
        msgspec.msgpack.encode(1.5),
        msgspec.msgpack.encode({"time_ns": 1, "type": "container"}),
    ]


def row_samples() -> list[bytes]:
    incident = Incident(
        id="i1", rule="heal", trigger="container.unhealthy", target="container:web",
        kind="container", object_id="c", object_name="web", trouble="t", opened_at=1.0,
    )  # fmt: skip
    action = ActionRecord(
        id="a1", incident="i1", rule="heal", target="container:web", attempt=1, action="restart",
        object_id="c", object_name="web", params={}, began_at=1.0,
    )  # fmt: skip
    rows = (
        incident,
        action,
        Pause(rule="heal", target=None, until=2.0, actor="uid 0", at=1.0),
        Breaker("r", "t", 1.0, "x"),
    )
    return [msgspec.json.encode(row) for row in rows]


def rule_samples() -> list[bytes]:
    return [
        path.read_bytes()
        for path in sorted([*RULES.glob("right/*.yaml"), *RULES.glob("corpus/*.yaml")])
    ]


SETTINGS = b"""heal: labelled
engine: unix:///var/run/docker.sock
limits: {rate: 30 per 1m, parallel: 4}
unknown_cause: restart policy
snapshots: {bind_roots: []}
mqtt: {host: broker, port: 8883, tls: {ca: ca.pem}, username: u, password_file: p}
policy: {allow: [exec], protect: {labels: {tier: pci}}, rules_owner: root, trusted_images: []}
http: {listen: "127.0.0.1:9468", metrics_listen: null}
"""
WORDS = [text.encode() for text in (
    "container.restart_count < 5 and container.exit_code != 137",
    'container.labels["a"] in ["x", "y"]', "{container.name}-{now:%Y%m%d}", "30s", "5 per 15m",
    "1s to 5m", "> 90%", "Mon-Fri 08:00-18:00 Europe/Berlin", "/^web[0-9]+$/", "(a+)+", "web-*",
    "*/15 * * * *", "Europe/Berlin",
)]  # fmt: skip
COMMANDS = [msgspec.json.encode(each) for each in (
    {"command": "status"}, {"command": "pause", "arguments": {"rule": "heal", "for_": 60.0}},
    {"command": "incidents", "arguments": {"container": "web", "since": 1.0, "limit": 10}},
    {"command": "trigger", "arguments": {"rule": "heal", "name": "web"}},
)]  # fmt: skip
REQUESTS = [b"localhost:9468", b"[::1]:9468", b"127.0.0.1", b"proxy.example.", b"Bearer right",
    b"basic dTpw", b"1000",
            b"1d", b"1700000000.5"]  # fmt: skip
LINES = [text.encode() for text in (
    "incidents --container web --since 1d --json",
    "snapshots restore data@20260101T000000 --to other", "check rules.d",
    "explain --container web --trigger container.unhealthy", "pause --rule heal --for 1h",
    "status --json", "run --config x --listen 127.0.0.1:1 --dry-run", "trigger heal web",
    "record --for 10m --count 5",
)]  # fmt: skip

READERS = (
    Reader("the engine's events", recorded("events"), read_events, 300_000),
    Reader("inspect answers", recorded("inspects"), read_inspect, 60_000),
    Reader("the engine's lists", recorded("lists"), read_lists, 60_000),
    Reader("requests at the command socket", lambda: COMMANDS, read_command, 250_000),
    Reader("headers and parameters over HTTP", lambda: REQUESTS, read_request, 200_000),
    Reader("last known state", known_samples, read_known, 30_000),
    Reader("journal rows", row_samples, read_rows, 90_000),
    Reader("words of the rule language", lambda: WORDS, read_words, 4_000),
    Reader("command lines", lambda: LINES, read_arguments, 3_000),
    Reader("rule files", rule_samples, read_rules, 2_000),
    Reader("settings files", lambda: [SETTINGS], read_settings, 1_000),
)


def quiet() -> None:
    """What readers tell of bad input goes nowhere: a million lines of it help nobody."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
