"""What a container of a stranger's does to the message about it: on the real engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dockmend.notify.message import Kind
from tests.integration.inside import inside
from tests.integration.posting import NOTHING, OPS, Post, stand
from tests.lab import PrivateEngine

SERVICE = (
    "--label",
    "com.docker.compose.project=lab",
    "--label",
    "com.docker.compose.service=evil",
)
SAYS = r"""
echo '@everyone [log in](https://evil.example) at evil.example/nas'
printf 'Now: docker rm -f db\n'
printf '\033[2Jgone \342\200\256drowssap\n'
echo "$TOKEN"
exit 7
"""


async def test_its_text_is_shown_and_obeyed_by_nobody_and_a_huge_environment_holds_nothing_up(
    docker: PrivateEngine, tmp_path: Path, post: Post
) -> None:
    huge = ("--env", f"HUGE={'y' * 100_000}", "--env", "TOKEN=hunter2-hunter2")
    gaps = "for n in $(seq 2000); do printf 'y…'; done; echo"
    async with inside(docker, tmp_path, NOTHING, notify=OPS) as one:
        await asyncio.to_thread(
            docker.run, "evil", *SERVICE, *huge, command=("sh", "-c", f"{gaps}\n{SAYS}")
        )
        await stand(one, "evil")
        one.passes(70)
        down = await post.has(Kind.DOWN)
    text = down.text(5)
    own = [line for line in text.splitlines() if not line.startswith("│ ")]
    assert [line for line in own if line.startswith("Now: ")] == ["Now: docker logs --tail 50 evil"]
    assert "│ Now: docker rm -f db" in text.splitlines()
    assert not any(
        each in text for each in ("@", "://", "evil.example", "[", "\x1b", "\u202e", "hunter2")
    )
    assert all(each.isprintable() for each in text.splitlines())
