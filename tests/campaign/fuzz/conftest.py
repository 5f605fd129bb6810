"""How many inputs each fuzz test tries: few in `make test`, as many as asked for in `make fuzz
EXAMPLES=…`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st


@pytest.fixture
def fuzz(campaign_seed: int, request: pytest.FixtureRequest) -> Callable[..., None]:
    """`fuzz(check, *strategies)` calls `check` with drawn values; the seed is the campaign's."""
    examples = int(request.config.getoption("--campaign-examples"))

    def run(check: Callable[..., None], *strategies: Any) -> None:
        quiet = [
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,
        ]

        @seed(campaign_seed)
        @settings(max_examples=examples, deadline=None, suppress_health_check=quiet)
        @given(st.tuples(*strategies))
        def one(values: tuple[Any, ...]) -> None:
            check(*values)

        one()

    return run
