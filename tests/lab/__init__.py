"""Real parts to test against: an engine, a broker, a Prometheus, and dockmend itself as a process.

Everything is started by the tests, in folders and namespaces of its own, and ended by process id.
"""

from __future__ import annotations

from .broker import Broker, Subscription
from .daemon import Daemon
from .engine import QUICK_HEALTH, TOOLBOX, LabError, PrivateEngine
from .kinds import EngineKind
from .owned import sweep
from .podman import PodmanEngine, podman_is_there
from .prometheus import Prometheus, check_metrics
from .proxy import Hold, HoldingProxy
from .recorder import Recorder
from .waiting import NeverHappenedError, eventually, eventually_async

__all__ = [
    "QUICK_HEALTH",
    "TOOLBOX",
    "Broker",
    "Daemon",
    "EngineKind",
    "Hold",
    "HoldingProxy",
    "LabError",
    "NeverHappenedError",
    "PodmanEngine",
    "PrivateEngine",
    "Prometheus",
    "Recorder",
    "Subscription",
    "check_metrics",
    "eventually",
    "eventually_async",
    "podman_is_there",
    "sweep",
]
