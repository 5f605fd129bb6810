"""Run as a program inside an engine's network namespace: finds the engine as dockmend does and
prints what it says.

Prints one line of JSON: {"engine": …, "url": …, "events": […]} or {"error": …, "sentence": …}.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from dockmend.engine.client import DockerEngine
from dockmend.engine.discover import discover
from dockmend.errors import DockmendError


async def ask() -> dict[str, object]:
    try:
        address = discover(os.environ, Path.home())
        engine = DockerEngine.at(address, timeout=10.0)
        try:
            info = await engine.connect()
            async with engine.events() as stream:
                await engine.create_volume("asked")
                batch = await stream.batch()
            await engine.remove_volume("asked")
        finally:
            await engine.close()
    except DockmendError as error:
        return {"error": type(error).__name__, "sentence": str(error)}
    actions = [event.action for event in batch.events] if batch else []
    return {"engine": info.id, "url": address.url, "source": address.source, "events": actions}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask())))
