"""A process that runs one action and is killed by the test: `python -m tests.integration.dying
JOB`.

It prints what the action remembers as one line of JSON when that would be on disk, and `done` at
the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from dockmend.actions.action import REGISTRY, ActionContext
from dockmend.engine.client import DockerEngine
from dockmend.model import Container, Endpoint, Network
from dockmend.rules.action_catalogue import ACTIONS
from tests.fakes.owning import FileRows
from tests.integration.acting import Acting
from tests.lab import PrivateEngine


@dataclass
class Told(Acting):
    """Acting that tells what it remembers instead of keeping it."""

    def context(self, subject: Container | Network) -> ActionContext:
        async def remember(undo: Mapping[str, Any]) -> None:
            print(json.dumps(undo), flush=True)

        return replace(super().context(subject), remember=remember)


async def main(job: dict[str, Any]) -> None:
    client = DockerEngine(job["url"])
    try:
        acting = Told(PrivateEngine.__new__(PrivateEngine), client, FileRows(Path(job["rows"])))
        container = await client.inspect(job["container"])
        acting.view.learn(container)
        acting.view.networks[container.id] = msgspec.convert(job["known"], dict[str, Endpoint])
        defined = msgspec.convert(job.get("network"), Network | None)
        subject = defined or container
        if defined is not None:
            acting.view.defined[defined.name] = defined
        params = ACTIONS[job["action"]].params.model_validate(job["params"])
        await REGISTRY[job["action"]].run(acting.context(subject), params, subject)
    finally:
        await client.close()
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
