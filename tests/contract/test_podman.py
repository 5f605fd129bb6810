"""dockmend on Podman, end to end, where the machine has it: what works there, and what
docs/engines.md warns of."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dockmend.engine.client import DockerEngine
from dockmend.engine.engine_api import PODMAN
from tests.integration.healing import CRASHED, UNHEALTHY, closed, daemon
from tests.lab import PodmanEngine, eventually, podman_is_there

from .differences import DIFFERS, IN_MAKE_TEST

DOCS = Path(__file__).parents[2] / "docs" / "engines.md"


def test_every_difference_is_told_of_in_the_docs() -> None:
    told = set(re.findall(r"^### (.+)$", DOCS.read_text(), re.MULTILINE))
    assert {difference.reason for difference in DIFFERS.values()} <= told


def test_every_name_in_the_tables_is_a_test() -> None:
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in {*DIFFERS, *IN_MAKE_TEST} if f"def {name}(" not in source] == []


if podman_is_there():

    async def test_it_is_known_for_what_it_is(podman: PodmanEngine) -> None:
        client = DockerEngine(podman.url)
        try:
            info = await client.connect()
        finally:
            await client.close()
        assert (info.product, info.version) == (PODMAN, podman.version())

    def test_an_unhealthy_container_is_restarted_and_proven_healthy(podman: PodmanEngine) -> None:
        podman.patient("web")
        with daemon(podman, UNHEALTHY) as one:
            podman.sicken("web")
            eventually(
                lambda: podman.check_health("web") == "healthy" and one.incidents(state="closed"),
                60,
            )
            (incident,) = closed(one, "healed", name="web", timeout=60)
            story = json.loads(one.cli("incidents", incident["id"], "--json"))
            # A check that the lab began before the restart may end after it: then there are two.
            assert {(step["action"], step["outcome"]) for step in story["actions"]} == {
                ("restart", "done")
            }
            assert "this is Podman" in one.text

    def test_a_crashed_container_is_started(podman: PodmanEngine) -> None:
        podman.run(
            "job",
            command=(
                "sh",
                "-c",
                "[ -e /cue ] && exec sleep 86400; while [ ! -e /cue ]; do sleep 0.1; done; exit 7",
            ),
        )
        with daemon(podman, CRASHED) as one:
            podman.docker("exec", "job", "touch", "/cue")
            (incident,) = closed(one, "healed", name="job", timeout=60)
            assert incident["cause"] == "crashed"
            assert podman.state("job") == "running"
