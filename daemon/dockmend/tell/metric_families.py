"""Metric families that cost next to nothing to count and are bounded by construction.

prometheus-client's own counters take a lock and some 0.6 µs for each increment; the stream brings
100,000 events a second. Here counting is an addition in a dictionary, and prometheus-client writes
the page from what stands there. All of it happens on the event loop's thread; the page may be
written in another (a dictionary's copy is atomic).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

OTHER = "other"
LONGEST = 128  # characters of a label's value

Labels = tuple[str, ...]


def label(value: str) -> str:
    """A stranger's text as a label's value: short, and writable as UTF-8 (prometheus-client escapes
    the rest)."""
    return value[:LONGEST].encode("utf-8", "replace").decode()


class Family:
    """A counter or gauge: values by label values, at most `most` of them; what comes beyond is
    counted as `other`."""

    def __init__(
        self, name: str, help: str, labels: Sequence[str] = (), most: int = 10_000
    ) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self.values: dict[Labels, float] = {} if labels else {(): 0.0}
        self._most = most
        self._counter = name.endswith("_total")

    def add(self, *labels: str, by: float = 1.0) -> None:
        try:
            self.values[labels] += by
        except KeyError:
            labels = self._admitted(labels)
            self.values[labels] = self.values.get(labels, 0.0) + by

    def set(self, *labels: str, to: float) -> None:
        self.values[labels if labels in self.values else self._admitted(labels)] = to

    def count(self, each: Iterable[Labels]) -> None:
        """Sets it to how often each label value occurs; what occurs no more is shown as 0."""
        counted = Counter(self._admitted(labels) for labels in each)
        self.values = {
            **dict.fromkeys(self.values, 0.0),
            **{key: float(number) for key, number in counted.items()},
        }

    def expect(self, *labels: str) -> None:
        """Shows it with 0 until something happens, so that a rate is right from the first time
        on."""
        self.values.setdefault(self._admitted(labels), 0.0)

    def metric(self) -> Metric:
        kind = CounterMetricFamily if self._counter else GaugeMetricFamily
        metric = kind(self.name, self.help, labels=self.labels)
        for labels, value in self.values.copy().items():
            metric.add_metric(labels, value)
        return metric

    def _admitted(self, labels: Labels) -> Labels:
        if len(self.values) >= self._most and labels not in self.values:
            return (OTHER,) * len(labels)
        return tuple(label(value) for value in labels)


class Histogram:
    """A histogram in seconds, by at most `most` label values."""

    def __init__(
        self,
        name: str,
        help: str,
        bounds: Sequence[float],
        labels: Sequence[str] = (),
        most: int = 1000,
    ) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self.bounds = tuple(bounds)
        self._most = most
        self._cells: dict[Labels, Cell] = {}

    def cell(self, *labels: str) -> Cell:
        """The one of these label values; keep it where observing must be cheap."""
        found = self._cells.get(labels)
        if found is None:
            full = len(self._cells) >= self._most
            labels = (OTHER,) * len(labels) if full else tuple(label(value) for value in labels)
            found = self._cells.setdefault(labels, Cell(self.bounds))
        return found

    def metric(self) -> Metric:
        metric = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        names = [*(repr(float(bound)) for bound in self.bounds), "+Inf"]
        for labels, cell in self._cells.copy().items():
            total, buckets = 0, []
            for name, count in zip(names, list(cell.counts), strict=True):
                total += count
                buckets.append((name, float(total)))
            metric.add_metric(labels, buckets, sum_value=cell.sum)
        return metric


class Cell:
    """One histogram's counts, by bucket and not cumulated."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        if seconds < 0.0:  # noqa: PLR1730 - max() costs twice as much. Two clocks may disagree; a sum must never sink
            seconds = 0.0
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds


class Families:
    """What prometheus-client asks for the page."""

    def __init__(self, families: Iterable[Family | Histogram]) -> None:
        self.families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        for family in self.families:
            yield family.metric()
