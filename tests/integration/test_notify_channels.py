"""Messages at real receivers: what arrives, and what becomes of it if a receiver fails, or dockmend
dies."""

from __future__ import annotations

import asyncio
import email
import email.policy
import random
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from dockmend import processes
from dockmend.journal.sqlite import SqliteJournal
from dockmend.notify import sender as sending
from dockmend.notify.delivery import Delivery
from dockmend.notify.message import Kind, Message, Severity
from dockmend.notify.outbox import DeliveryOutcome, Outbox, marks_of
from dockmend.notify.sender import Sender
from dockmend.settings.channels import Channel
from dockmend.settings.secrets import Secret
from tests.lab.daemon import Daemon
from tests.lab.programs import free_port
from tests.lab.receivers import Got, mail, own_certificate, silent, web
from tests.lab.waiting import eventually, eventually_async
from tests.unit.machine import Machine

HIDDEN = "hunter2"
AWAY = "unix:///nonexistent/docker.sock"


def told(number: int = 1, **changed: object) -> Message:
    values = {
        "kind": Kind.GAVE_UP, "severity": Severity.CRITICAL, "key": f"down/container:web{number}",
        "at": 1.8e9, "title": f"web{number} is down, gave up after 3 tries",
        "body": "Exit code 1 each time since 03:05.", "last_lines": ("SQLite: database is locked",),
        "next_step": f"docker logs web{number}", "host": "nas",
    }  # fmt: skip
    return Message(**{**values, **changed})  # type: ignore[arg-type]


TEXT = (
    "Exit code 1 each time since 03:05.\n\nNow: docker logs web1\n\nIts log ends with:\n│ "
    "SQLite: database is locked"
)


class Post:
    """The outbox, the journal and the process that sends, as the daemon has them."""

    def __init__(
        self,
        folder: Path,
        channels: dict[str, list[str]],
        machine: Machine,
        environ: dict[str, str],
    ) -> None:
        self.machine = machine
        self.clock = machine.clock()
        self.journal = SqliteJournal(folder / "journal.sqlite3", self.clock)
        self.channels = [Channel(name, tuple(map(Secret, urls))) for name, urls in channels.items()]
        self.outcomes: list[tuple[str, Kind, DeliveryOutcome]] = []
        marks = {each.name: marks_of(each) for each in self.channels}
        self.outbox = Outbox(marks, self.journal, lambda *each: self.outcomes.append(each))
        self.sender = Sender(self.clock, environ)
        self.delivery = Delivery(
            self.channels, self.outbox, lambda: self.sender, self.clock, random.Random(1)
        )

    def put(self, channel: str, *messages: Message) -> None:
        for message in messages:
            self.outbox.put(channel, message, self.clock())

    def passes(self, seconds: float) -> None:
        self.machine.passes(seconds)
        self.delivery.look_again()

    def count(self, outcome: DeliveryOutcome, channel: str = "ops") -> int:
        return sum(1 for name, _, found in self.outcomes if (name, found) == (channel, outcome))

    async def comes(self, outcome: DeliveryOutcome, channel: str = "ops", count: int = 1) -> None:
        await eventually_async(
            lambda: self.count(outcome, channel) >= count, what=f"{count} {outcome} of {channel}"
        )

    def why(self, channel: str = "ops") -> str:
        lane = self.delivery.lanes[channel][0]
        return lane.error if lane.failing else ""


@asynccontextmanager
async def post(
    folder: Path, *, environ: dict[str, str] | None = None, **channels: list[str]
) -> AsyncIterator[Post]:
    found = Post(folder, channels, Machine(), environ or {})
    await found.journal.open()
    try:
        found.outbox.load(*await found.journal.outbox())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(found.delivery.run())
            try:
                yield found
            finally:
                task.cancel()
    finally:
        await found.journal.close()


# ------------------------------------------------------------------------------------- what arrives


async def test_mail(tmp_path):
    with mail() as (port, got):
        async with post(
            tmp_path,
            ops=[f"mailto://127.0.0.1:{port}?from=dockmend@nas.example&to=me@here.example"],
        ) as box:
            box.put("ops", told(body="größer <b>bold</b> & more"))
            await box.comes(DeliveryOutcome.SENT)
    [envelope] = got
    assert envelope.rcpt_tos == ["me@here.example"]
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert message["subject"] == "web1 is down, gave up after 3 tries"
    shown = {
        each.get_content_type(): each.get_content()
        for each in message.walk()
        if not each.is_multipart()
    }
    assert "größer <b>bold</b> & more" in shown.pop("text/plain")
    for html in shown.values():  # as most programs show it
        assert "größer &lt;b&gt;bold&lt;/b&gt; &amp; more" in html, "markup of a stranger is text"


async def test_a_webhook(tmp_path):
    with web() as hook:
        async with post(tmp_path, ops=[f"json://user:{HIDDEN}@127.0.0.1:{hook.port}/hook"]) as box:
            box.put("ops", told())
            await box.comes(DeliveryOutcome.SENT)
    [got] = hook.got
    assert (got.path, got.json["title"], got.json["message"]) == ("/hook", told().title, TEXT)
    assert got.json["type"] == "failure"
    assert got.headers["authorization"].startswith("Basic ")


async def test_ntfy(tmp_path):
    with web() as ntfy:
        async with post(tmp_path, ops=[f"ntfy://127.0.0.1:{ntfy.port}/ops"]) as box:
            box.put("ops", told())
            await box.comes(DeliveryOutcome.SENT)
    [got] = ntfy.got
    assert (got.json["topic"], got.json["title"], got.json["message"]) == (
        "ops",
        told().title,
        TEXT,
    )


DISCORD = f"discord://417429632418316298/{'t' * 60}"


async def at_discord(folder: Path, message: Message) -> Got:
    """What Discord gets. The library knows one host for it, so a proxy answers in its place."""
    certificate = own_certificate(folder, "discord.com")
    with web(instead_of=certificate) as proxy:
        environ = {
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
            "REQUESTS_CA_BUNDLE": str(folder / "cert.pem"),
        }
        async with post(folder, environ=environ, ops=[DISCORD]) as box:
            box.put("ops", message)
            await eventually_async(lambda: bool(box.outcomes), what="an outcome")
            assert box.count(DeliveryOutcome.SENT) == 1, box.why()
    [got] = proxy.got
    return got


async def test_discord(tmp_path):
    got = await at_discord(tmp_path, told())
    assert got.path == f"/api/webhooks/417429632418316298/{'t' * 60}"
    assert TEXT in got.json["content"]
    assert told().title in got.json["content"]


async def test_what_is_too_long_for_a_service_is_cut(tmp_path):
    """Discord takes 2000 characters, and refuses what is longer; a message has up to 4096."""
    content = (await at_discord(tmp_path, told(body="x" * 20_000))).json["content"]
    assert told().title in content
    assert "x" * 1800 in content
    assert len(content) <= 2000


# ------------------------------------------------------------------------------ receivers that fail


@pytest.mark.parametrize("status", [429, 500, 401, 301])
async def test_what_is_refused_comes_again_and_in_order(status, tmp_path):
    with web() as hook:
        hook.answers = [status]
        async with post(
            tmp_path, ops=[f"json://user:{HIDDEN}@127.0.0.1:{hook.port}/secret-path"]
        ) as box:
            box.put("ops", told(1), told(2))
            await box.comes(DeliveryOutcome.FAILED)
            assert str(status) in box.why()
            assert not any(word in box.why() for word in (HIDDEN, "secret-path"))
            box.passes(5)
            await box.comes(DeliveryOutcome.SENT, count=2)
    assert [each.json["title"][:4] for each in hook.got] == ["web1", "web1", "web2"]


async def test_a_certificate_that_nobody_signed_is_no_receiver(tmp_path):
    with web(certificate=own_certificate(tmp_path)) as hook:
        async with post(tmp_path, ops=[f"jsons://127.0.0.1:{hook.port}/x"]) as box:
            box.put("ops", told())
            await box.comes(DeliveryOutcome.FAILED)
            assert "certificate verify failed" in box.why().lower()
    assert not hook.got


@pytest.mark.parametrize("trickles", [False, True], ids=["says nothing", "trickles"])
async def test_one_that_hangs_is_given_up_at_its_deadline_and_holds_up_no_other(
    trickles, tmp_path, monkeypatch
):
    monkeypatch.setattr(sending, "LOOK", 0.02)
    with web() as hook, web() as slow, silent() as port:
        slow.slow = trickles
        hanging = slow.port if trickles else port
        ops, home = f"json://127.0.0.1:{hanging}/x", f"json://127.0.0.1:{hook.port}/"
        async with post(tmp_path, ops=[ops], home=[home]) as box:
            box.put("ops", told(1))
            await eventually_async(lambda: bool(box.sender.processes), what="it has begun")
            [first] = box.sender.processes
            box.put("home", told(2))
            await box.comes(DeliveryOutcome.SENT, "home")
            assert box.count(DeliveryOutcome.FAILED) == 0
            box.passes(30)
            await box.comes(DeliveryOutcome.FAILED)
            assert box.why() == "no answer within 30 s"
            await eventually_async(
                lambda: not processes.started(first), what="its process is killed"
            )
            box.put("home", told(3))
            await box.comes(DeliveryOutcome.SENT, "home", count=2)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
async def test_an_answer_without_an_end_is_an_answer_and_fills_no_memory(packed, tmp_path):
    with web() as hook:
        packer = zlib.compressobj(9 if packed else 0, zlib.DEFLATED, -zlib.MAX_WBITS)
        hook.flood = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
        async with post(tmp_path, ops=[f"json://127.0.0.1:{hook.port}/"]) as box:
            box.put("ops", told())
            await box.comes(DeliveryOutcome.SENT)
            [pid] = box.sender.processes
            status = dict(
                line.split(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            )
            assert int(status["VmHWM"].split()[0]) < 128 * 1024, "KiB at most"


async def test_one_that_is_down_for_an_hour_gets_everything_in_order(tmp_path):
    port = free_port()
    async with post(tmp_path, ops=[f"json://127.0.0.1:{port}/"]) as box:
        box.put("ops", told(1), told(2))
        await box.comes(DeliveryOutcome.FAILED)
        assert "Connection refused" in box.why()
        for tries in range(2, 6):
            box.passes(900)
            await box.comes(DeliveryOutcome.FAILED, count=tries)
        box.put("ops", told(3))
        with web(port) as hook:
            box.passes(900)
            await box.comes(DeliveryOutcome.SENT, count=3)
    assert [each[:4] for each in hook.titles] == ["web1", "web2", "web3"]


# --------------------------------------------------------------------------------- dockmend's death


@contextmanager
def dockmend(config: str = "", **environment: str) -> Iterator[Daemon]:
    """The daemon as a process, with no engine: messages need none."""
    daemon = Daemon(AWAY, config=config or None, environment=environment)
    try:
        yield daemon
    finally:
        daemon.close()


def left_in(daemon: Daemon, *messages: Message, channel: str = "default") -> None:
    """Messages in the outbox of a dockmend that died before it handed them over."""

    async def put() -> None:
        journal = SqliteJournal(daemon.state / "journal.sqlite3", lambda: 0.0)
        await journal.open()
        outbox = Outbox({channel: "a"}, journal)
        outbox.load(*await journal.outbox())
        for message in messages:
            outbox.put(channel, message, 0.0)
        await journal.close()

    asyncio.run(put())


def depth(daemon: Daemon) -> int:
    async def count() -> int:
        journal = SqliteJournal(daemon.state / "journal.sqlite3", lambda: 0.0)
        await journal.open()
        rows, _ = await journal.outbox()
        await journal.close()
        return len(rows)

    return asyncio.run(count())


def test_killed_between_outcome_and_hand_over_the_message_comes_with_the_next_start():
    with (
        web() as hook,
        dockmend(
            DOCKMEND_NOTIFY_URL=f"json://user:{HIDDEN}@127.0.0.1:{hook.port}/secret-path"
        ) as daemon,
    ):
        left_in(daemon, told(1), told(2))
        hook.held.clear()  # it takes the message, and does not answer
        daemon.start(ready=False)
        eventually(lambda: len(hook.got) == 1, what="the first is handed over")
        children = of_daemon(daemon)
        assert len(children) == 1
        daemon.kill()
        eventually(
            lambda: not any(map(processes.started, children)), what="no process outlives dockmend"
        )
        hook.held.set()
        daemon.start(ready=False)
        eventually(lambda: len(hook.got) == 3, what="both came")
        assert [each[:4] for each in hook.titles] == ["web1", "web1", "web2"]
        taken = 'dockmend_notifications_total{channel="default",kind="gave_up",outcome="sent"} 2.0'
        eventually(
            lambda: taken in metric(daemon, "dockmend_notifications_total"),
            what="dockmend knows that it took them",
        )
        daemon.stop()
        assert depth(daemon) == 0
        for file in (daemon.folder / "log", daemon.state / "journal.sqlite3"):
            for word in (HIDDEN, "secret-path"):
                assert word.encode() not in file.read_bytes()


def test_without_a_channel_there_is_no_process_and_apprise_is_not_loaded():
    with dockmend() as daemon:
        daemon.start(ready=False)
        eventually(lambda: daemon.status("/healthz") == 200, what="it runs")
        assert of_daemon(daemon) == []
        assert "apprise" not in Path(f"/proc/{daemon.pid}/maps").read_text()
        assert metric(daemon, "dockmend_notifications_total") == []


def test_the_metric_counts_and_names_no_url():
    with (
        web() as hook,
        dockmend(DOCKMEND_NOTIFY_URL=f"json://127.0.0.1:{hook.port}/secret-path") as daemon,
    ):
        hook.answers = [500]
        left_in(daemon, told(1))
        daemon.start(ready=False)
        eventually(
            lambda: (
                'dockmend_notifications_total{channel="default",kind="gave_up",outcome="failed"} '
                "1.0" in metric(daemon, "dockmend_notifications_total")
            ),
            what="the refusal is counted",
        )
        assert "secret-path" not in "".join(metric(daemon, ""))
        assert HIDDEN not in daemon.text


def test_the_heartbeat_is_asked_for_while_dockmend_works_and_is_in_no_log():
    with (
        web() as monitor,
        dockmend(DOCKMEND_HEARTBEAT_URL=f"http://127.0.0.1:{monitor.port}/push/{HIDDEN}") as daemon,
    ):
        monitor.answers = [500]
        daemon.start(ready=False)
        eventually(
            lambda: [each.path for each in monitor.got] == [f"/push/{HIDDEN}"], what="a heartbeat"
        )
        eventually(lambda: "HTTP status 500" in daemon.text, what="that it was refused is told")
        assert HIDDEN not in daemon.text


def test_no_heartbeat_while_its_own_rules_are_rejected():
    with (
        web() as monitor,
        dockmend(DOCKMEND_HEARTBEAT_URL=f"http://127.0.0.1:{monitor.port}/push") as daemon,
    ):
        (daemon.rules / "wrong.yaml").write_text("rules: [")
        daemon.start(ready=False)
        eventually(lambda: daemon.status("/metrics") == 200, what="it runs")
        assert daemon.metric("dockmend_degraded", part="rules") == 1
        daemon.stop()
        assert monitor.got == []


KINDS = "down, gave_up, flapping, resolved, degraded, needs_you, healed"


@pytest.mark.parametrize("runs", [True, False], ids=["with the daemon", "without a daemon"])
def test_samples_arrive_and_it_is_said_who_did_not_accept_one(runs):
    """With the daemon its own URLs are tried, which the command does not know."""
    with web() as hook, web() as refusing, mail() as (port, letters):
        refusing.answers = [200, 403]
        urls = (
            f"json://user:{HIDDEN}@127.0.0.1:{hook.port}/secret-path",
            f"ntfy://127.0.0.1:{refusing.port}/secret-topic",
            f"mailto://127.0.0.1:{port}?from=dockmend@nas.example&to=me@here.example",
        )  # fmt: skip
        with dockmend(DOCKMEND_NOTIFY_URL=" ".join(urls)) as daemon:
            if runs:
                daemon.start(ready=False)
                eventually(lambda: daemon.status("/healthz") == 200, what="it runs")
                daemon.environment.clear()  # of what follows: the command
            done = daemon.command("notify", "--test", "default", found=runs)
            out, err = done.stdout.decode(), done.stderr.decode()
            listed = daemon.command("notify", "--list", found=runs).stdout.decode()
            log = daemon.text
    assert done.returncode == 1
    assert out.splitlines()[:2] == [
        f"default, URL 1 (json): accepted: {KINDS}",
        (
            "default, URL 2 (ntfy): NOT ACCEPTED: gave_up; accepted before: down; nothing more was "
            "sent there"
        ),
    ]
    assert "403" in out.splitlines()[2]
    assert out.splitlines()[-1] == f"default, URL 3 (mailto): accepted: {KINDS}"
    assert [each.json["title"].partition(" ")[0] for each in hook.got] == ["TEST"] * 7
    assert [each.json["type"] for each in hook.got] == ["warning"] * 3 + [
        "success",
        "failure",
        "warning",
        "success",
    ]
    assert (len(refusing.got), len(letters)) == (2, 7)
    assert ("no dockmend answers" in err) is not runs
    assert ("nothing delivered since dockmend started" in listed) is runs, "samples are no messages"
    for text in (out, err, listed, log):
        assert not any(
            word in text for word in (HIDDEN, "secret-path", "secret-topic", "here.example")
        )


def of_daemon(daemon: Daemon) -> list[int]:
    """Processes that dockmend started."""
    return [
        int(each)
        for each in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    ]


def metric(daemon: Daemon, name: str) -> list[str]:
    return [line for line in daemon.page("/metrics").splitlines() if line.startswith(name)]
