"""Fixtures for tests against real parts. The machine's own engine is never touched: see
tests/lab."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.lab import Broker, Daemon, EngineKind, PrivateEngine, Prometheus, sweep
from tests.quick import is_quick

# `make test` gives every property the same inputs each time, however slow the machine is; `make
# fuzz` draws new ones.
settings.register_profile("seeded", derandomize=True, database=None, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("seeded")

# A shell's background job ignores SIGINT, and so would every program that a test starts and
# interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that a group may write are refused as rules and settings; Debian's users make such by
# default (umask 002).
os.umask(0o022)

# A test that forgot to say which engine it means must find none.
for _name in [name for name in os.environ if name.startswith(("DOCKER_", "DOCKMEND_"))]:
    del os.environ[_name]
# nor must a command find a daemon of the machine's
os.environ["DOCKMEND_RUNTIME"] = "/nonexistent/dockmend"


@pytest.fixture(autouse=True)
def default_log() -> Iterator[None]:
    """A command that a test runs in this process configures the log; the next test must not read
    through that."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def engine() -> Iterator[PrivateEngine]:
    """The engine that tests share; ask for `docker` to get it clean."""
    sweep()
    shared = PrivateEngine()
    try:
        shared.start()
        shared.toolbox_image()
        yield shared
    finally:
        shared.stop()


@pytest.fixture
def docker(engine: PrivateEngine) -> Iterator[PrivateEngine]:
    """The shared engine with nothing on it but the toolbox image."""
    engine.clean()
    yield engine
    engine.clean()


@pytest.fixture
def own_engine() -> Iterator[Callable[..., PrivateEngine]]:
    """Makes started engines for tests that kill theirs: `own_engine(live_restore=True)`."""
    sweep()
    made: list[PrivateEngine] = []

    def make(**options: Any) -> PrivateEngine:
        new = PrivateEngine(**options)
        made.append(new)
        new.start()
        new.toolbox_image()
        return new

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A running MQTT broker without passwords."""
    one = Broker()
    try:
        yield one.start()
    finally:
        one.stop()


@pytest.fixture
def prometheus() -> Iterator[Callable[[str], Prometheus]]:
    """Makes a running Prometheus that scrapes host:port."""
    made: list[Prometheus] = []

    def make(target: str) -> Prometheus:
        made.append(Prometheus(target))
        return made[-1].start()

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def daemon() -> Iterator[Callable[..., Daemon]]:
    """Makes a running dockmend: `daemon(engine.url, rules={"heal.yaml": "…"})`; `start=False` makes
    it only."""
    made: list[Daemon] = []

    def make(engine_url: str, *, start: bool = True, **options: Any) -> Daemon:
        one = Daemon(engine_url, **options)
        made.append(one)
        return one.start() if start else one

    yield make
    for one in made:
        one.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which engine the tests run on, and how far the campaigns go: a slice, unless `make campaign`
    asks for more."""
    kinds = [str(kind) for kind in EngineKind]
    parser.addoption(
        "--engine",
        choices=kinds,
        help="which Docker Engine: tests/lab/kinds.py; installed if not named",
    )
    parser.addoption(
        "--tier",
        choices=["quick", "rest", "all"],
        default="all",
        help="which tests: tests/quick.py",
    )
    parser.addoption("--campaign-seed", type=int, default=1, help="seed of the random faults")
    parser.addoption(
        "--campaign-faults", type=int, default=20, help="faults of the chaos campaign's slice"
    )
    parser.addoption(
        "--podman",
        choices=["slice", "all"],
        default="slice",
        help="how much of tests/contract on Podman",
    )
    parser.addoption(
        "--every-death",
        action="store_true",
        help="all of the long loops over deaths: `make deaths`",
    )
    parser.addoption("--campaign-examples", type=int, default=200, help="inputs of each fuzz test")


def pytest_configure(config: pytest.Config) -> None:
    """Every engine of this run, and of the programs that it starts, is of the kind that `--engine`
    names."""
    if kind := config.getoption("--engine"):
        EngineKind(kind).choose()


def pytest_report_header() -> str:
    return f"engine: {EngineKind.chosen()}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The quick tests, the rest, or all.

    Of the long loops over deaths every fourth case, from the seed on, is in the rest; `make deaths`
    runs all.
    """
    tier = config.getoption("--tier")
    left_out = {
        item for item in items if tier != "all" and is_quick(item.nodeid) is not (tier == "quick")
    }
    if tier != "quick" and not config.getoption("--every-death"):
        deaths = [
            item for item in items if item.get_closest_marker("deaths") and item not in left_out
        ]
        seed = int(config.getoption("--campaign-seed"))
        left_out |= {item for number, item in enumerate(deaths) if (number + seed) % 4}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


@pytest.fixture
def campaign_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run's random faults; name it in the message of a failure."""
    return int(request.config.getoption("--campaign-seed"))


@pytest.fixture
def campaign_faults(request: pytest.FixtureRequest) -> int:
    """How many faults the slice of the chaos campaign does."""
    return int(request.config.getoption("--campaign-faults"))
