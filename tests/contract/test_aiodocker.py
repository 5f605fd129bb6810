"""What dockmend relies on in aiodocker's private parts: what a release changes there turns these
red first."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import aiodocker
import aiohttp
import pytest
import pytest_asyncio
from aiodocker.exceptions import DockerError

from dockmend.engine.client import DockerEngine
from tests.fakes.engine import FakeEngine, Fault


@pytest_asyncio.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    engine = await FakeEngine(tmp_path).start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest_asyncio.fixture
async def docker(fake: FakeEngine) -> AsyncIterator[aiodocker.Docker]:
    async with aiodocker.Docker(url=fake.url, api_version="v1.40") as client:
        yield client


def test_the_release_is_the_one_that_was_read() -> None:
    assert version("aiodocker").startswith("0.27.")


def test_query_takes_what_it_is_given() -> None:
    parameters = inspect.signature(aiodocker.Docker._query).parameters
    assert list(parameters)[:3] == ["self", "path", "method"]
    assert {"params", "data", "headers", "timeout", "versioned_api"} <= set(parameters)
    assert parameters["versioned_api"].default is True
    assert parameters["data"].default is None


async def test_query_leaves_its_response_open_for_us_to_close(docker: aiodocker.Docker) -> None:
    async with docker._query("events", "GET") as response:
        assert isinstance(response, aiohttp.ClientResponse)
        assert not response.closed
    assert not response.closed  # which is why Transport closes every one
    response.close()


async def test_a_fixed_version_is_used_and_never_asked_for(
    docker: aiodocker.Docker, fake: FakeEngine
) -> None:
    async with docker._query("networks", "GET") as response:
        assert response.url.path == "/v1.40/networks"
        response.close()
    docker.api_version = "v1.44"
    async with docker._query("networks?a=b%20c", "GET") as response:
        assert (response.url.path, response.url.query_string) == ("/v1.44/networks", "a=b c")
        response.close()
    assert not [line for line in fake.requests if "version" in line]


async def test_a_refusal_is_a_docker_error_with_the_engines_sentence(
    docker: aiodocker.Docker,
) -> None:
    with pytest.raises(DockerError) as caught:
        async with docker._query("containers/nope/json", "GET"):
            pass
    assert (caught.value.status, caught.value.message) == (404, "No such container: nope")


async def test_no_connection_is_status_900_with_the_cause_as_context(
    docker: aiodocker.Docker, fake: FakeEngine
) -> None:
    await fake.stop()
    with pytest.raises(DockerError) as caught:
        async with docker._query("_ping", "GET", versioned_api=False):
            pass
    assert caught.value.status == 900
    assert isinstance(caught.value.__context__, aiohttp.ClientConnectionError)


async def test_a_cut_line_is_status_900_too(docker: aiodocker.Docker, fake: FakeEngine) -> None:
    fake.faults.append(Fault("POST /containers/web/restart", "cut"))
    with pytest.raises(DockerError) as caught:
        async with docker._query("containers/web/restart", "POST"):
            pass
    assert caught.value.status == 900


async def test_our_session_is_left_to_us_to_close(fake: FakeEngine) -> None:
    engine = DockerEngine(fake.url)
    await engine.connect()
    session = engine._transport._session
    assert session is not None
    assert session.headers["Accept-Encoding"] == "identity"
    assert engine._transport._docker is not None
    assert engine._transport._docker.session is session
    await engine.close()
    assert session.closed
    await engine.close()
