"""The action `notify` on a real engine: to a real receiver, also over dockmend's death; a dry run
sends nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.integration.healing import closed, daemon
from tests.integration.stories import stories
from tests.integration.test_killed import Killed, identity
from tests.lab import Daemon, HoldingProxy, PrivateEngine
from tests.lab.receivers import Web, web
from tests.lab.waiting import eventually

RULE = """
version: 1
rules:
  - name: heal
    when: container.unhealthy
    match: {name: web}
    then:
      - restart
      - notify: {to: TO, message: "{container.name} restarted: {incident.id}\\nhttps://wiki.example/{container.name}"}
"""


@pytest.fixture
def proxy(
    docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HoldingProxy]:
    one = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    yield one
    one.close()


@contextmanager
def telling(
    engine: PrivateEngine,
    folder: Path,
    rule: str = RULE,
    options: Sequence[str] = (),
    *,
    ready: bool = True,
) -> Iterator[tuple[Daemon, Web]]:
    """A daemon whose channel `ops` is a webhook."""
    with (
        web() as ops,
        daemon(
            engine,
            rule.replace("TO", "ops"),
            config=settings(folder, ops=ops),
            options=options,
            ready=ready,
        ) as one,
    ):
        yield one, ops


def settings(folder: Path, **hooks: Web) -> str:
    """Of these channels, each of which takes only what is critical, or what a rule has for it."""
    channels = []
    for name, hook in hooks.items():
        urls = folder / f"{name}.url"
        urls.write_text(f"json://127.0.0.1:{hook.port}/\n")
        urls.chmod(0o600)
        channels.append(f"{name}: {{url_file: {urls}, severity: critical}}")
    return f"heal: off\nnotify: {{{', '.join(channels)}}}\n"


def test_it_reaches_the_channel_that_the_rule_names(docker: PrivateEngine, tmp_path: Path) -> None:
    docker.patient("web")
    with telling(docker, tmp_path) as (one, ops):
        docker.sicken("web")
        (incident,) = closed(one, "healed")
        eventually(lambda: len(ops.got) == 1, what="it came")
        told = ops.got[0].json
        assert told["title"] == f"web restarted: {incident['id']}"
        assert told["message"].splitlines()[1] == "https://wiki.example/web"
        ((_, actions),) = stories(one.state, object_name="web")
        assert [(each.action, each.outcome, each.detail) for each in actions][1] == (
            "notify",
            "done",
            "told ops",
        )
        one.stop()
        one.start()
        assert len(ops.got) == 1


def test_it_reaches_no_other_channel(docker: PrivateEngine, tmp_path: Path) -> None:
    docker.patient("web")
    with web() as ops, web() as phone:
        config = settings(tmp_path, ops=ops, phone=phone)
        with daemon(docker, RULE.replace("TO", "ops"), config=config) as one:
            docker.sicken("web")
            (incident,) = closed(one, "healed")
            eventually(lambda: len(ops.got) == 1, what="it came")
            one.stop()
            # What was put for a channel is in the outbox until the channel has it.
            unsent = [body for channel, body in outbox(one) if channel == "phone"]
        told = f"web restarted: {incident['id']}"
        assert ops.titles == [told]
        assert told not in phone.titles
        assert not any(told.encode() in body for body in unsent)


def test_a_dry_run_sends_nothing_and_says_that_it_would_have(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    docker.patient("web")
    with telling(docker, tmp_path, options=["--dry-run"]) as (one, ops):
        docker.sicken("web")
        (incident,) = closed(one)
        assert "notify" in incident["reason"]
        one.stop()
    assert ops.got == []


@pytest.mark.parametrize("reloads", [True, False])
def test_a_channel_that_is_not_there_is_an_error_at_a_start_and_at_a_reload(
    docker: PrivateEngine, tmp_path: Path, reloads: bool
) -> None:
    right, wrong = RULE.replace("TO", "ops"), RULE.replace("TO", "opps")
    with telling(docker, tmp_path, right if reloads else wrong, ready=reloads) as (one, _):
        said = (
            'rules.yaml:9:22: rule heal: unknown channel "opps" (did you mean "ops"?): '
            "expected one of ops"
        )
        if reloads:
            (one.rules / "rules.yaml").write_text(wrong)
            one.reload()
        eventually(
            lambda: any(said in str(row.get("problem")) for row in one.log), what="it is told"
        )
        checked = one.command("check", "--rules", str(one.rules), "--config", str(one.config))
        assert said in checked.stderr.decode()


def outbox(one: Daemon) -> list[tuple[str, bytes]]:
    """What waits, and for which channel, as the disk has it."""
    with closing(
        sqlite3.connect(f"file:{one.state / 'journal.sqlite3'}?mode=ro", uri=True)
    ) as file:
        return file.execute("SELECT channel, body FROM outbox").fetchall()


@pytest.mark.parametrize("steps", ["[restart, TELL]", "[TELL, restart]"])
def test_killed_before_its_step_it_is_sent_and_killed_after_it_is_not_sent_twice(
    docker: PrivateEngine, proxy: HoldingProxy, tmp_path: Path, steps: str
) -> None:
    docker.patient("web")
    tell = "{notify: {to: ops, message: '{container.name} is restarted: {incident.id}'}}"
    rule = RULE.partition("    then:")[0] + f"    then: {steps.replace('TELL', tell)}\n"
    with web() as ops, Killed(docker, proxy, rule, settings(tmp_path, ops=ops)) as killed:
        hold = proxy.hold(f"POST /v[0-9.]+/containers/{identity(docker, 'web')}/restart", "after")
        docker.sicken("web")
        hold.wait()
        if steps.startswith("[TELL"):
            eventually(lambda: len(ops.got) == 1, what="it was sent before")
            # Until the journal knows that the receiver took it, a message is sent at least once.
            eventually(lambda: not outbox(killed.daemon), what="it has left the outbox")
        killed.dies(hold)
        (incident,) = closed(killed.daemon, "healed")
        eventually(lambda: len(ops.got) >= 1, what="it came")
        killed.daemon.stop()
        assert [each.json["title"] for each in ops.got] == [f"web is restarted: {incident['id']}"]


def test_killed_while_it_is_handed_over_it_comes_with_the_next_start(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    docker.patient("web")
    with telling(docker, tmp_path) as (one, ops):
        ops.held.clear()  # it takes the message, and does not answer
        docker.sicken("web")
        eventually(lambda: len(ops.got) == 1, what="it is handed over")
        one.kill()
        ops.held.set()
        one.start()
        eventually(lambda: len(ops.got) == 2, what="it came again")
        one.stop()
        assert len(set(ops.titles)) == 1
