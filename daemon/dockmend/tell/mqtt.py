"""What dockmend sees and does as MQTT: its status, each container's state, transitions and
incidents.

aiomqtt (the present name of asyncio-mqtt) does not reconnect: `run` does, for ever. Between the
pipeline and the broker stand a table of states, in which the newest replaces the older, and a
bounded queue of messages.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
from collections import deque
from collections.abc import Callable
from itertools import compress
from typing import Any, NamedTuple

import aiomqtt
import msgspec
import structlog

from dockmend.actions.notify_publish_wait import LONGEST_PAYLOAD
from dockmend.journal.records import Incident
from dockmend.model import Change, Container
from dockmend.observer import Observer
from dockmend.settings.secrets import Secret
from dockmend.settings.sections import Mqtt
from dockmend.tell.mqtt_client import MqttClient
from dockmend.tell.sanitize import iso, topic_level

log = structlog.get_logger("dockmend.mqtt")

OUTBOX_MESSAGES = 1000
OUTBOX_BYTES = 4 * 1024 * 1024
WINDOW = 20  # messages on their way to the broker at once
# seconds; half as much again without a sign of us, and the broker publishes our last will
KEEPALIVE = 15
# times that the broker hung up with a message on its way, until it is sent without others
SUSPECT = 2
HANG_UPS_MOST = 5  # such times until it is dropped
PATIENCE = 5.0  # seconds for any answer of the broker
FAREWELL = 2.0  # seconds in which, at the end, what is queued may still be sent
GOODBYE = 1.0  # seconds for the broker's last answer
# retained topics that are held until the sweep: a broker may have any number of them
STALE_MOST = 20_000
# removals that wait for a broker; beyond them the next sweep finds what it still retains
REMOVALS_MOST = 10_000
STALE_LONGEST = 2048  # characters of one; a container's own topic is shorter
# seconds after the engine was connected until retained states of unknown containers count as stale
SETTLE = 5.0


class _Message(NamedTuple):
    """What is told is encoded when it is sent: while the broker is away, or slow, most of it never
    is."""

    topic: str
    content: bytes | Container | Change | Incident
    qos: int
    retain: bool = False
    hang_ups: int = 0  # times that the broker hung up while this was on its way

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else 0

    def payload(self) -> bytes:
        match self.content:
            case Container():
                return _encode(container_state(self.content))
            case Change():
                return _encode(event_of(self.content))
            case Incident():
                return _encode(incident_of(self.content))
            case _:
                return self.content


class _Sending:
    """A message on its way over one connection."""

    def __init__(self, message: _Message, body: bytes) -> None:
        self.message = message
        self.body = body
        self.arrived = False
        self.error: Exception | None = None

    async def publish(self, client: MqttClient) -> None:
        """Until the broker has it, or `error` says why not."""
        message = self.message
        try:
            await client.publish(message.topic, self.body, message.qos, message.retain)
        except Exception as error:  # noqa: BLE001 - raised once it is known of all
            self.error = error
        else:
            self.arrived = True

    def blamed(self, client: MqttClient) -> _Message:
        """The message, with one more hang-up if it was on its way as the broker hung up. For a
        silent broker no message is blamed; what the library does not take is refused."""
        if isinstance(self.error, ValueError):
            return self.message._replace(hang_ups=HANG_UPS_MOST)
        if not client.hung_up or isinstance(self.error, aiomqtt.MqttCodeError):
            return self.message  # the latter: it was not sent any more
        return self.message._replace(hang_ups=self.message.hang_ups + 1)


class MqttTeller(Observer):
    """`settings`, `password`: the broker. `host`: this host's name, for the prefix.

    `on_state(up, why)` is told of every connection and of every attempt that failed,
    `on_drop(count)` of messages that were dropped: there were too many, or the broker hung up
    whenever it was sent one. `backoff`: the first and the longest wait
    between attempts, in seconds.
    """

    def __init__(
        self,
        settings: Mqtt,
        password: Secret | None,
        host: str,
        *,
        on_state: Callable[[bool, str], None] = lambda up, why: None,
        on_drop: Callable[[int], None] = lambda count: None,
        backoff: tuple[float, float] = (1.0, 60.0),
        settle: float = SETTLE,
    ) -> None:
        self.prefix = (settings.prefix or f"dockmend/{topic_level(host)}").rstrip("/")
        self.connected_to_broker = False
        self._settings = settings
        self._password = password
        self._on_state = on_state
        self._on_drop = on_drop
        self._backoff = backoff
        self._settle = settle
        # retained, by topic; b"" until its removal has been sent
        self._states: dict[str, bytes | Container] = {}
        self._removals: set[str] = set()  # topics of those that are b""
        # what the broker acknowledged of them over this connection
        self._sent: dict[str, bytes] = {}
        # topics of states that the broker has not been told; in order
        self._unsent: dict[str, None] = {}
        self._owners: dict[str, str] = {}  # topic -> the container it is about
        self._topics: dict[str, str] = {}  # container -> its topic
        self._outbox: deque[_Message] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()
        self._engine_up = asyncio.Event()
        self._swept = False
        self._stale: set[str] = set()

    # ---------------------------------------------------------------------- what the pipeline calls

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        """Queues a message of a rule; wildcards in the topic are replaced, what is too large is
        dropped.

        The action refuses it before (actions/notify_publish_wait.py), so that whoever reads the
        incident knows.
        """
        body = payload.encode("utf-8", "replace")
        levels = "/".join(topic_level(level) for level in topic.split("/"))
        if not topic or len(body) > LONGEST_PAYLOAD or len(levels.encode()) > 65535:
            self._on_drop(1)
            return
        self._queue(_Message(levels, body, 1, retain))

    def connected(self, up: bool) -> None:
        if up:
            self._engine_up.set()
        else:
            self._engine_up.clear()

    def container(self, before: Container | None, after: Container | None) -> None:
        known = after or before
        if known is None:
            return
        topic = self._container_topic(after.name) if after else None
        old = self._topics.get(known.id)
        if old is not None and old != topic:
            del self._topics[known.id]
            if self._owners.get(old) == known.id:  # another one may bear the name by now
                del self._owners[old]
                self._retain(old, b"")
        if after is not None and topic is not None:
            self._topics[after.id] = topic
            self._owners[topic] = after.id
            self._retain(topic, after)

    def change(self, change: Change) -> None:
        self._queue(_Message(f"{self.prefix}/event", change, 0))

    def incident(self, incident: Incident) -> None:
        self._queue(_Message(f"{self.prefix}/incident", incident, 1))

    # ------------------------------------------------------------------------------- the connection

    async def run(self) -> None:
        """Keeps the broker told until cancelled; then says `offline` and leaves."""
        delay, why = self._backoff[0], ""
        while True:
            started = asyncio.get_running_loop().time()
            try:
                async with self._client() as client:
                    self._tell_state(up=True)
                    await self._serve(client)
            except* (aiomqtt.MqttError, OSError, ValueError) as group:
                why = _reason(group)
            finally:
                self._tell_state(up=False, why=why)
            if asyncio.get_running_loop().time() - started > self._backoff[1]:
                delay = self._backoff[0]  # it had held for a while
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            delay = min(delay * 2, self._backoff[1])

    def _client(self) -> MqttClient:
        """A new one for every connection: certificates and the like are read again. Raises OSError,
        ValueError."""
        settings = self._settings
        context = None
        if settings.tls is not None:
            context = ssl.create_default_context(
                cafile=str(settings.tls.ca) if settings.tls.ca else None
            )
            if settings.tls.cert is not None:
                context.load_cert_chain(settings.tls.cert, settings.tls.key)
        client = MqttClient(
            settings.host,
            settings.effective_port,
            username=settings.username,
            password=self._password.reveal() if self._password else None,
            identifier=f"dockmend-{secrets.token_hex(5)}",
            will=aiomqtt.Will(f"{self.prefix}/status", "offline", qos=1, retain=True),
            keepalive=KEEPALIVE,
            timeout=PATIENCE,
            tls_context=context,
            max_queued_incoming_messages=1000,
        )
        client.pending_calls_threshold = 2 * WINDOW  # a full window is no reason for a warning
        return client

    async def _serve(self, client: MqttClient) -> None:
        self._states[f"{self.prefix}/status"] = b"online"
        self._sent.clear()
        self._unsent = dict.fromkeys((f"{self.prefix}/status", *self._states))  # status first
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(client))
                group.create_task(self._sweep(client))
                group.create_task(self._send(client))
        except asyncio.CancelledError:
            await self._farewell(client)
            raise

    async def _receive(self, client: MqttClient) -> None:
        """Ends with an error as soon as the connection does; until then collects retained states
        (see `_sweep`)."""
        async for message in client.messages:
            if message.retain and not self._swept and message.payload:
                self._note_stale(str(message.topic))

    def _note_stale(self, topic: str) -> None:
        ours = topic.startswith(f"{self.prefix}/container/") and len(topic) <= STALE_LONGEST
        if ours and topic not in self._states and len(self._stale) < STALE_MOST:
            self._stale.add(topic)

    async def _sweep(self, client: MqttClient) -> None:
        """Removes states of containers that went while dockmend was down, once.

        One that is removed too early (the listing took longer) comes back as soon as it is listed.
        """
        if self._swept:
            return
        pattern = f"{self.prefix}/container/+"
        await client.subscribe(pattern)
        await self._engine_up.wait()
        await asyncio.sleep(self._settle)
        await client.unsubscribe(pattern)
        self._swept = True
        for topic in self._stale - self._states.keys():
            self._retain(topic, b"")
        self._stale.clear()

    async def _send(self, client: MqttClient) -> None:
        while True:
            await self._wake_up()
            while self._unsent or self._outbox:
                await self._send_some(client)

    async def _wake_up(self) -> None:
        if not self._unsent and not self._outbox:
            self._wake.clear()
            await self._wake.wait()

    async def _send_some(self, client: MqttClient) -> None:
        """Sends up to WINDOW messages at once, states first; what was not acknowledged is kept for
        the next try."""
        alone = self._sent and self._outbox and self._outbox[0].hang_ups >= SUSPECT
        topics = [] if alone else list(self._unsent)[:WINDOW]
        batch = [_Message(topic, self._states.get(topic, b""), 1, retain=True) for topic in topics]
        for topic in topics:
            del self._unsent[topic]
        batch += self._next_messages(1 if alone else WINDOW - len(batch))
        payloads = [each.payload() for each in batch]
        new = [
            self._sent.get(each.topic) != body for each, body in zip(batch, payloads, strict=True)
        ]
        batch, payloads = list(compress(batch, new)), list(compress(payloads, new))
        sending = [_Sending(each, body) for each, body in zip(batch, payloads, strict=True)]
        try:
            await asyncio.gather(*(each.publish(client) for each in sending))
        finally:
            for each in sending:
                if each.arrived and each.message.retain:
                    self._acknowledged(each.message.topic, each.body)
            self._keep([each.blamed(client) for each in sending if not each.arrived])
        for each in sending:
            if each.error is not None:
                raise each.error

    def _next_messages(self, most: int) -> list[_Message]:
        """From the head of the queue; of those upon which the broker may hang up, only the very
        first."""
        found: list[_Message] = []
        while self._outbox and len(found) < most:
            if found and self._outbox[0].hang_ups >= SUSPECT:
                break
            found.append(self._outbox.popleft())
            self._outbox_bytes -= found[-1].size
        return found

    def _acknowledged(self, topic: str, body: bytes) -> None:
        if topic not in self._states:
            return  # a rule's own message
        if body:
            self._sent[topic] = body
        else:
            self._sent.pop(topic, None)
            if self._states[topic] == b"":
                del self._states[topic]  # its removal has arrived
                self._removals.discard(topic)

    def _keep(self, batch: list[_Message]) -> None:
        for message in reversed(batch):
            if message.retain and message.topic in self._states:
                self._unsent.setdefault(message.topic)
            elif message.hang_ups >= HANG_UPS_MOST:
                self._refused(message)
            else:
                self._outbox.appendleft(message)
                self._outbox_bytes += message.size
        self._shrink()

    def _refused(self, message: _Message) -> None:
        """Else it would be sent for ever, and what waits behind it never."""
        log.warning(
            "a message is dropped: the broker hangs up whenever it is sent",
            id="mqtt_message_refused",
            topic=message.topic,
            bytes=len(message.payload()),
            tries=message.hang_ups,
        )
        self._on_drop(1)

    async def _farewell(self, client: MqttClient) -> None:
        client.timeout = GOODBYE  # of the disconnection that follows, too: a broker may hang
        try:
            async with asyncio.timeout(FAREWELL):
                while self._unsent or self._outbox:
                    await self._send_some(client)
                await client.publish(f"{self.prefix}/status", "offline", 1, retain=True)
        except (aiomqtt.MqttError, OSError, ValueError, TimeoutError) as error:
            # the last will says it
            log.debug("mqtt_farewell_failed", id="mqtt_farewell_failed", reason=str(error))

    # ---------------------------------------------------------------------------------- from within

    def _container_topic(self, name: str) -> str:
        return f"{self.prefix}/container/{topic_level(name)}"

    def _retain(self, topic: str, state: bytes | Container) -> None:
        self._states[topic] = state
        self._unsent.setdefault(topic)
        if state == b"":
            self._removals.add(topic)
            if len(self._removals) > REMOVALS_MOST:
                self._forget_removals()
        else:
            self._removals.discard(topic)
        self._wake.set()

    def _forget_removals(self) -> None:
        """A broker that is away for weeks must not cost the memory of every container that went
        meanwhile."""
        for topic in self._removals:
            del self._states[topic]
            self._unsent.pop(topic, None)
            self._sent.pop(topic, None)
        self._removals.clear()
        self._swept = False

    def _queue(self, message: _Message) -> None:
        self._outbox.append(message)
        self._outbox_bytes += message.size
        self._shrink()
        self._wake.set()

    def _shrink(self) -> None:
        dropped = 0
        while len(self._outbox) > OUTBOX_MESSAGES or self._outbox_bytes > OUTBOX_BYTES:
            self._outbox_bytes -= self._outbox.popleft().size
            dropped += 1
        if dropped:
            self._on_drop(dropped)

    def _tell_state(self, up: bool, why: str = "") -> None:
        self.connected_to_broker = up
        self._on_state(up, why)


def container_state(container: Container) -> dict[str, Any]:
    """What `container/NAME` holds. `since`: when it entered its state, as far as the engine tells;
    UTC."""
    since = (
        container.started_at if container.running else container.finished_at or container.created_at
    )
    return {
        "name": container.name,
        "id": container.id,
        "state": container.state,
        "health": container.health or None,
        "image": container.image,
        "since": iso(since),
        "exit_code": container.exit_code,
        "restart_count": container.restart_count,
        "networks": sorted(container.networks),
    }


def event_of(change: Change) -> dict[str, Any]:
    """What `event` carries: a transition of dockmend's mirror."""
    return {
        "at": iso(change.at),
        "triggers": list(change.triggers),
        "kind": change.kind,
        "name": getattr(change.subject, "name", None),
        "target": change.target,
        "cause": change.cause,
        "network": change.network,
        "origin": change.origin,
        "recovered": change.recovered,
        "note": change.note,
    }


def incident_of(incident: Incident) -> dict[str, Any]:
    """What `incident` carries, each time one is opened, changed or closed."""
    fields = dict(msgspec.structs.asdict(incident))
    for key in ("opened_at", "closed_at", "due_at", "updated_at"):
        fields[key] = iso(fields[key])
    return fields


def _encode(value: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a name that is not UTF-8
        return repr(value).encode("ascii", "backslashreplace")


def _reason(group: BaseExceptionGroup[Exception]) -> str:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    first = first.__cause__ or first  # of a connection that ended: what ended it
    return str(first) or type(first).__name__
