"""The page of metrics as Prometheus's own tools see it."""

from __future__ import annotations

import asyncio
import contextlib

from dockmend.model import Container
from dockmend.settings.sections import HttpSettings
from dockmend.tell.metrics import Metrics
from dockmend.web.http_server import WebServer
from dockmend.web.tokens import Tokens
from tests.lab import check_metrics, eventually, eventually_async
from tests.unit.test_metrics import exercise
from tests.unit.test_web import Fake


def test_promtool_says_nothing():
    metrics = Metrics("0.1.0")
    assert check_metrics(metrics.render().decode()) == ""
    exercise(metrics)
    assert check_metrics(metrics.render().decode()) == ""
    # it would say something
    assert check_metrics("# TYPE dockmend_events counter\ndockmend_events 1\n") != ""


class Shown(Fake):
    def __init__(self, shown: Metrics) -> None:
        super().__init__()
        self.metrics = lambda: shown.render  # type: ignore[method-assign]


async def test_a_real_prometheus_scrapes_it(prometheus):
    metrics = Metrics("0.1.0")
    http = HttpSettings.model_validate({"listen": None, "metrics_listen": "127.0.0.1:0"})
    server = WebServer(http, Shown(metrics), Tokens())
    task = asyncio.Task(server.run())
    try:
        await eventually_async(lambda: server.addresses)
        scraper = await asyncio.to_thread(prometheus, str(server.addresses[0]))
        metrics.connected(True)
        metrics.container(None, Container("1", "web", state="running", health="unhealthy"))

        def value(expression: str) -> str:
            found = scraper.query(expression)
            return found[0]["value"][1] if found else ""

        await asyncio.to_thread(eventually, lambda: value("dockmend_engine_up") == "1")
        await asyncio.to_thread(
            eventually, lambda: value('dockmend_containers{health="unhealthy"}') == "1"
        )
        assert await asyncio.to_thread(value, "dockmend_build_info") == "1"
        assert await asyncio.to_thread(value, "count(up == 1)") == "1"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
