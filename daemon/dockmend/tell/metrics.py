"""What dockmend sees and does as Prometheus metrics: one registry of its own, no ids as labels,
everything bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from dockmend.decide import CODES
from dockmend.engine import event_filter
from dockmend.journal.records import ActionRecord, Incident
from dockmend.model import Container, Event, Volume
from dockmend.notify.outbox import DeliveryOutcome
from dockmend.observer import NotActing, Observer
from dockmend.settings.channels import Kind
from dockmend.tell.metric_families import OTHER, Families, Family, Histogram, label

CONTENT_TYPE = CONTENT_TYPE_LATEST

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
HEALTHS = ("none", "starting", "healthy", "unhealthy")

GAPS = ("marker", "restart", "overflow", "stalled", "malformed", "self_check")
"""Causes of gaps, see Observer.gap."""

MOST_UNHEALED = 100
# rules whose counters are shown before they first match; with more the page would be mostly zeros
MOST_EXPECTED = 200
_RAW_ACTIONS = 1000  # spellings of events that are remembered ("exec_start: …" has no end of them)

_LAG = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_ACTION = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_HEAL = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


class _Registered(Families, Collector):
    pass


class Metrics(Observer):
    """Everything an observer is told, counted. `version` is dockmend's own."""

    def __init__(self, version: str) -> None:
        self._events = Family(
            "dockmend_events_total", "Events read from the engine's stream.", ("type", "action")
        )
        self._lags = Histogram(
            "dockmend_event_lag_seconds",
            "Time from the engine's stamp on an event until dockmend read it.",
            _LAG,
        )
        self._up = Family("dockmend_engine_up", "1 while the engine's event stream is connected.")
        self._connects = Family(
            "dockmend_engine_connects_total", "Times the engine's event stream was connected."
        )
        self._gaps = Family(
            "dockmend_event_gaps_total",
            "Times something was missed, or may have been, and was looked at anew.", ("cause",),
        )  # fmt: skip
        self._containers = Family(
            "dockmend_containers",
            "Containers on this engine by state and health.",
            ("state", "health"),
        )
        self._rules = Family(
            "dockmend_rules", "Rules by state; error: errors of the last load.", ("state",)
        )
        self._matches = Family(
            "dockmend_matches_total",
            "Changes that a rule's triggers and match selected.",
            ("rule",),
        )
        self._decisions = Family(
            "dockmend_decisions_total", "Decisions on matches: act, wait or suppress, and why.",
            ("rule", "decision", "reason"),
        )  # fmt: skip
        self._actions = Family(
            "dockmend_actions_total", "Actions that ended.", ("rule", "action", "outcome")
        )
        self._durations = Histogram(
            "dockmend_action_duration_seconds",
            "Time from an action's begin to its end.",
            _ACTION,
            ("action",),
        )
        self._open = Family("dockmend_incidents_open", "Incidents that are not closed.", ("rule",))
        self._unhealed = Family(
            "dockmend_unhealed",
            "Objects that are broken: given up, or with an open incident; at most 100.",
            ("container", "rule"), MOST_UNHEALED,
        )  # fmt: skip
        self._unwell = Family(
            "dockmend_unwell",
            "Containers that are not well and are meant to run, covered or not; at most 100.",
            ("container", "cause", "covered"), MOST_UNHEALED,
        )  # fmt: skip
        self._label_errors = Family(
            "dockmend_label_errors",
            "Labels of a container's owner that are wrong; at most 100 containers.", ("container",),
            MOST_UNHEALED,
        )  # fmt: skip
        self._heals = Family(
            "dockmend_heals_total", "Incidents closed, by outcome.", ("rule", "outcome")
        )
        self._to_heal = Histogram(
            "dockmend_time_to_heal_seconds",
            "Time from an incident's opening until it was healed.",
            _HEAL,
            ("rule",),
        )
        self._breakers = Family(
            "dockmend_breakers_open", "Targets that a rule has given up on.", ("rule",)
        )
        self._paused = Family("dockmend_paused", "Pauses in force.")
        self._budget = Family(
            "dockmend_budget_suppressed_total",
            "Times nothing was done because the host's budget was spent.",
        )
        self._set_aside = Family(
            "dockmend_journal_set_aside_total", "Damaged journals that were set aside."
        )
        self._snapshot_bytes = Family(
            "dockmend_snapshot_bytes_total", "Content of completed snapshots in bytes."
        )
        self._snapshot_at = Family(
            "dockmend_snapshot_last_success_timestamp_seconds",
            "When a volume's last snapshot was completed.", ("volume",), 500,
        )  # fmt: skip
        self._degraded = Family(
            "dockmend_degraded", "1 while a part of dockmend does not work.", ("part",)
        )
        self._acting = Family(
            "dockmend_acting",
            "1 if this dockmend acts by all its rules, 0 if not: see dockmend_not_acting.",
        )
        self._not_acting = Family(
            "dockmend_not_acting",
            "1 for each reason for which this dockmend acts on nothing.",
            ("reason",),
        )
        self._mqtt = Family("dockmend_mqtt_connected", "1 while the MQTT broker is connected.")
        self._mqtt.values.clear()  # without a broker there is no value, and nothing to alert on
        self._dropped = Family(
            "dockmend_tell_dropped_total",
            "Messages dropped because nobody took them in time.",
            ("sink",),
        )
        self._notifications = Family(
            "dockmend_notifications_total",
            "What came of messages at a URL of a channel; each try that failed is counted.",
            ("channel", "kind", "outcome"),
        )
        self._reload = Family(
            "dockmend_rules_reload_success", "1 if the last load of the rules succeeded."
        )
        self._reload_at = Family(
            "dockmend_rules_reload_success_timestamp_seconds",
            "When rules were last loaded with success.",
        )
        self._tasks = Family("dockmend_tasks", "Tasks on dockmend's event loop.")
        self._build = Family(
            "dockmend_build_info", "The version that runs; always 1.", ("version",)
        )

        self._build.set(version, to=1.0)
        self._containers_by_id: dict[str, tuple[str, str]] = {}
        self._open_incidents: dict[str, Incident] = {}
        self._broken: dict[str, set[str]] = {}  # targets, by rule
        self._event_keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._lag = self._lags.cell()
        self._expect_the_known()
        self.registry = CollectorRegistry()
        self.registry.register(
            _Registered(
                each for each in vars(self).values() if isinstance(each, Family | Histogram)
            )
        )

    def render(
        self,
        tasks: int = 0,
        given_up: Iterable[tuple[str, str]] = (),
        label_errors: Iterable[tuple[str, int]] = (),
        not_acting: Collection[NotActing] = (),
        unwell: Iterable[tuple[str, str, bool]] = (),
    ) -> bytes:
        """The page in Prometheus's text format; may be called in another thread.

        `tasks`: on the event loop now; `given_up`: (object's name, rule) of what is broken with no
        incident open; `label_errors`: (container's name, number of its labels that are wrong).
        `unwell`: (container's name, cause, whether a rule acts on it).
        """
        self._tasks.set(to=float(tasks))
        self._acting.set(to=float(not not_acting))
        for reason in NotActing:
            self._not_acting.set(reason.value, to=float(reason in not_acting))
        self._count_what_is(given_up)
        self._label_errors.values = {
            (label(name),): float(count) for name, count in islice(label_errors, MOST_UNHEALED)
        }
        self._unwell.values = {
            (label(name), cause, "yes" if covered else "no"): 1.0
            for name, cause, covered in islice(unwell, MOST_UNHEALED)
        }
        return generate_latest(self.registry)

    # --------------------------------------------------------------------------------- the hot path

    def events_read(self, events: Sequence[Event], now: float) -> None:
        keys, counts, observe = self._event_keys, self._events.values, self._lag.observe
        for event in events:
            try:
                key = keys[event.type, event.action]
            except KeyError:
                key = self._event_key(event.type, event.action)
            counts[key] += 1.0
            observe(now - event.time_ns / 1e9)

    def matched(self, rule: str) -> None:
        self._matches.add(rule)

    def decision(self, rule: str, decision: str, reason: str) -> None:
        self._decisions.add(rule, decision, reason if reason in CODES or not reason else OTHER)
        if reason == "budget":
            self._budget.add()

    # ----------------------------------------------------------------------------------- the others

    def degraded(self, part: str, why: str | None) -> None:
        self._degraded.set(part, to=float(why is not None))

    def connected(self, up: bool) -> None:
        self._up.set(to=float(up))
        if up:
            self._connects.add()

    def gap(self, cause: str) -> None:
        self._gaps.add(cause if cause in GAPS else OTHER)

    def container(self, before: Container | None, after: Container | None) -> None:
        known = after or before
        if known is None:
            return
        if after is None:
            self._containers_by_id.pop(known.id, None)
        else:
            health = after.health or "none"
            state = after.state if after.state in STATES else OTHER
            self._containers_by_id[after.id] = (state, health if health in HEALTHS else OTHER)

    def incident(self, incident: Incident) -> None:
        if incident.state != "closed":
            self._open_incidents[incident.id] = incident
            return
        self._open_incidents.pop(incident.id, None)
        # the same suppression again is told again, and counts once
        if incident.outcome is None or incident.count > 1:
            return
        self._heals.add(incident.rule, incident.outcome)
        if incident.outcome == "healed" and incident.closed_at is not None:
            self._to_heal.cell(incident.rule).observe(incident.closed_at - incident.opened_at)

    def action(self, record: ActionRecord) -> None:
        if record.outcome is None or record.ended_at is None:
            return
        self._actions.add(record.rule, record.action, record.outcome)
        self._durations.cell(record.action).observe(record.ended_at - record.began_at)

    def breaker(self, rule: str, target: str, opened: bool) -> None:
        mine = self._broken.setdefault(rule, set())
        if opened:
            mine.add(target)
        else:
            mine.discard(target)
        self._breakers.set(rule, to=float(len(mine)))

    def breaker_known(self, rule: str, target: str) -> None:
        self.breaker(rule, target, opened=True)

    def paused(self, pauses: int) -> None:
        self._paused.set(to=float(pauses))

    def rules(self, enabled: int, disabled: int, shadow: int, errors: int) -> None:
        counts = {"enabled": enabled, "disabled": disabled, "shadow": shadow, "error": errors}
        for state, count in counts.items():
            self._rules.set(state, to=float(count))

    def rule_names(self, names: Iterable[str]) -> None:
        """Shows the loaded rules' counters with 0 before they first match (the first 200 rules)."""
        for name, _ in zip(names, range(MOST_EXPECTED), strict=False):
            for family in (self._matches, self._open, self._breakers):
                family.expect(name)
            for outcome in ("healed", "failed"):
                self._heals.expect(name, outcome)

    def reloaded(self, ok: bool, at: float) -> None:
        self._reload.set(to=float(ok))
        if ok:
            self._reload_at.set(to=at)

    def journal_lost(self) -> None:
        self._set_aside.add()

    def snapshot(self, volume: str, size: int, at: float) -> None:
        self._snapshot_bytes.add(by=float(size))
        self._snapshot_at.set(_object("volume", volume), to=at)

    def mqtt_connected(self, up: bool) -> None:
        """The broker was connected or lost; never called where none is configured."""
        self._mqtt.set(to=float(up))

    def notification(self, channel: str, kind: Kind, outcome: DeliveryOutcome) -> None:
        self._notifications.add(channel, kind, outcome)

    def notification_channels(self, names: Iterable[str]) -> None:
        """Shows the channels' counters with 0 before there is a message."""
        for name in names:
            for kind in Kind:
                for outcome in DeliveryOutcome:
                    self._notifications.expect(name, kind, outcome)

    def dropped(self, sink: str, count: int = 1) -> None:
        """Messages to `sink` (mqtt, log) that were dropped."""
        self._dropped.add(sink, by=float(count))

    # ---------------------------------------------------------------------------------- from within

    def _expect_the_known(self) -> None:
        for kind, actions in event_filter.ACTIONS.items():
            for action in sorted(actions):
                if not action.startswith(event_filter.REFUSED_PREFIX):
                    self._events.expect(kind, action)
        for state in STATES:
            self._containers.expect(state, "none")
        for health in HEALTHS:
            self._containers.expect("running", health)
        for state in ("enabled", "disabled", "shadow", "error"):
            self._rules.expect(state)
        for cause in GAPS:
            self._gaps.expect(cause)
        for sink in ("log", "mqtt"):
            self._dropped.expect(sink)

    def _event_key(self, type: str, action: str) -> tuple[str, str]:
        """The labels of an event that has not been seen in this spelling: known names, or
        `other`."""
        base = action.partition(":")[0]
        actions = event_filter.ACTIONS.get(type)
        key = (
            type if actions is not None else OTHER,
            base if actions is not None and base in actions else OTHER,
        )
        self._events.expect(*key)
        if len(self._event_keys) < _RAW_ACTIONS:
            self._event_keys[type, action] = key
        return key

    def _count_what_is(self, given_up: Iterable[tuple[str, str]]) -> None:
        """Gauges of what is open or there at the moment: counted for each page, not at each
        change."""
        self._containers.count(self._containers_by_id.copy().values())
        self._open.count((incident.rule,) for incident in self._open_incidents.copy().values())
        self._refresh_unhealed(given_up)

    def _refresh_unhealed(self, given_up: Iterable[tuple[str, str]]) -> None:
        oldest = sorted(
            self._open_incidents.copy().values(), key=lambda incident: incident.opened_at
        )
        values: Counter[tuple[str, ...]] = Counter()
        names = [(name, rule) for name, rule in given_up]
        names += [
            (_object(incident.kind, incident.object_name), incident.rule) for incident in oldest
        ]
        for name, rule in names:
            key = (label(name), label(rule))
            if key in values or len(values) < MOST_UNHEALED:
                values[key] += 1
        self._unhealed.values = {key: float(count) for key, count in values.items()}


def _object(kind: str, name: str) -> str:
    return "anonymous" if kind == "volume" and Volume(name).anonymous else name
