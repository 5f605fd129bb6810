"""The engines that the contract tests run on: the real one, the fake, and Podman where the machine
has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from dockmend.engine.client import DockerEngine
from tests.fakes.engine import FakeEngine
from tests.lab import EngineKind, PodmanEngine, PrivateEngine, podman_is_there, sweep

from .differences import DIFFERS, IN_MAKE_TEST
from .labs import FakeLab, Lab, PodmanLab, RealLab

ENGINES = ["real", "fake", *(["podman"] if podman_is_there() else [])]


@pytest.fixture(scope="session")
def podman_engine() -> Iterator[PodmanEngine]:
    """The Podman that tests share; ask for `podman` to get it clean."""
    sweep()
    shared = PodmanEngine()
    try:
        shared.start()
        shared.toolbox_image()
        yield shared
    finally:
        shared.stop()


@pytest.fixture
def podman(podman_engine: PodmanEngine) -> Iterator[PodmanEngine]:
    """The shared Podman with nothing on it but the toolbox image."""
    podman_engine.clean()
    yield podman_engine
    podman_engine.clean()


@pytest.fixture
def own_podman() -> Iterator[PodmanEngine]:
    """A started Podman of the test's own."""
    sweep()
    own = PodmanEngine()
    try:
        own.start()
        own.toolbox_image()
        yield own
    finally:
        own.stop()


@pytest_asyncio.fixture(params=ENGINES)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """A clean engine with a connected client, once of each kind."""
    if request.param == "fake":
        async with _fake(tmp_path) as fake:
            yield fake
    else:
        engine: PrivateEngine = request.getfixturevalue(
            {"real": "docker", "podman": "podman"}[request.param]
        )
        async with _real(engine) as real:
            yield real


@pytest_asyncio.fixture(params=ENGINES)
async def mortal_lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """As `lab`, but of the test's own: it may end the engine."""
    if request.param == "fake":
        async with _fake(tmp_path) as fake:
            yield fake
    elif request.param == "podman":
        async with _real(request.getfixturevalue("own_podman")) as real:
            yield real
    else:
        make: Callable[[], PrivateEngine] = request.getfixturevalue("own_engine")
        async with _real(make()) as real:
            yield real


@asynccontextmanager
async def _real(engine: PrivateEngine) -> AsyncIterator[Lab]:
    client = DockerEngine(engine.url)
    await client.connect()
    try:
        yield (
            PodmanLab(engine, client)
            if isinstance(engine, PodmanEngine)
            else RealLab(engine, client)
        )
    finally:
        await client.close()


@asynccontextmanager
async def _fake(folder: Path) -> AsyncIterator[Lab]:
    fake = await FakeEngine(folder).start()
    client = DockerEngine(fake.url)
    try:
        await client.connect()
        yield FakeLab(fake, client)
    finally:
        await client.close()
        await fake.stop()


def _on(item: pytest.Item, engine: str) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and engine in callspec.params.values()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what only `make podman` runs on Podman; on another engine than the installed one,
    all but the real engine: the fake and Podman are the same whatever engine is chosen."""
    if EngineKind.chosen() is not EngineKind.INSTALLED:
        left_out = [
            item
            for item in items
            if _on(item, "podman") or _on(item, "fake") or _asks_for_podman(item)
        ]
    elif config.getoption("--podman") == "all":
        return
    else:
        left_out = [
            item for item in items if _on(item, "podman") and _name(item) not in IN_MAKE_TEST
        ]
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)


def _asks_for_podman(item: pytest.Item) -> bool:
    return not {"podman", "own_podman"}.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test that is said to differ on Podman has to fail there, as said."""
    difference = DIFFERS.get(_name(pyfuncitem)) if _on(pyfuncitem, "podman") else None
    if difference is None:
        return (yield)
    try:
        yield
    except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001 - whatever it is, it is compared
        difference.check(failure)
        return True
    if difference.raced:
        return True
    return pytest.fail(
        "this works on Podman now: take it out of tests/contract/differences.py and docs/engines.md"
    )


def _name(item: pytest.Item) -> str:
    return str(getattr(item, "originalname", item.name))
