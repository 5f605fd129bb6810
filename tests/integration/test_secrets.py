"""What a rule gives a command as a secret is in nothing that is written down or told."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3

from tests.integration.healing import daemon
from tests.integration.stories import all_told, closed, stories
from tests.lab import Broker, Daemon, PrivateEngine, eventually

PASSWORD, TOKEN, HASH = "hunter2", "t0ken-nine", "$2y$05$abcdefghijklmnopqrstuv"
RULES = """
version: 1
defaults: {when: container.unhealthy, match: {name: web}, limits: {attempts: 1 per 1h}}
rules:
  - name: ask
    then:
      - exec:
          command:
            [sh, -c, 'echo "$PGUSER asks with $PGPASSWORD and $2 at url://me:$PGPASSWORD@db"',
             a, --token, TOKEN]
          env: {PGPASSWORD: PASSWORD_, PGUSER: sales}
          exit_code: 0
  - name: job
    then:
      - run:
          image: toolbox
          command: [sh, -c, 'echo "job with $PGPASSWORD"; exit 7']
          env: {PGPASSWORD: PASSWORD_}
  - name: no such command
    then:
      - exec: {command: ["nowhere-PASSWORD_", --password, PASSWORD_], env: {PGPASSWORD: PASSWORD_}}
  - name: long job
    then:
      - run:
          image: toolbox
          command:
            [sh, -c,
             'echo "long job with $PGPASSWORD"; while ! test -e /gate/open; do sleep 0.1; done']
          volumes: ["gate:/gate"]
          env: {PGPASSWORD: PASSWORD_}
""".replace("PASSWORD_", PASSWORD).replace("TOKEN", TOKEN)
SETTINGS = "mqtt: {{host: {0.host}, port: {0.port}}}\npolicy: {{allow: [exec, run]}}\n"


def written(one: Daemon) -> str:
    """All that the journal holds, but the definitions that are kept to make containers again."""
    found = []
    with contextlib.closing(
        sqlite3.connect(f"file:{one.state}/journal.sqlite3?mode=ro", uri=True)
    ) as connection:
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):
                if not str(row[0]).startswith("definition/"):
                    found += [
                        each.decode(errors="replace") if isinstance(each, bytes) else str(each)
                        for each in row
                    ]
    return "\n".join(found)


def job_log(docker: PrivateEngine, one: Daemon) -> str:
    """What the job has written that is under way."""
    ((incident, _),) = stories(one, rule="long job")
    return docker.docker("logs", f"dockmend-run-{incident.id}")


def test_a_secret_of_a_rule_is_nowhere(docker: PrivateEngine, broker: Broker) -> None:
    docker.run("web", "--label", f"users=admin:{HASH}", "--label", "tier=front")
    with (
        broker.subscribe() as everything,
        daemon(docker, RULES, config=SETTINGS.format(broker)) as one,
    ):
        for rule in ("ask", "job", "no such command"):
            one.cli("trigger", rule, "web")
            closed(one, rule=rule)

        # A job that was under way when dockmend died is settled from what the engine knows.
        one.cli("trigger", "long job", "web")
        eventually(
            lambda: (
                "long job"
                in docker.docker("logs", f"dockmend-run-{stories(one, rule='long job')[0][0].id}")
            )
        )
        one.kill()
        docker.docker("run", "--rm", "-v", "gate:/gate", "toolbox", "touch", "/gate/open")
        one.start()
        closed(one, rule="long job")
        all_told(one)

        details = {incident.rule: actions[0].detail for incident, actions in stories(one)}
        assert "*** asks with *** and *** at url://me:***@db" in details["ask"]
        assert "job with ***" in details["job"]
        assert "nowhere-***" in details["no such command"]
        assert "long job with ***" in details["long job"]
        ((_, (action,)),) = stories(one, rule="ask")
        assert action.params["env"] == {"PGPASSWORD": "***", "PGUSER": "***"}
        assert action.params["command"][-2:] == ["--token", "***"]

        containers = {row["name"]: row for row in json.loads(one.page("/api/containers"))}
        assert containers["web"]["labels"] == containers["web"]["labels"] | {
            "users": "admin:***",
            "tier": "front",
        }
        told = [json.dumps(row) for row in containers.values()]
        told += [
            one.page("/api/incidents"),
            one.page("/api/rules"),
            one.page("/api/status"),
            one.metrics(),
        ]
        told += [one.page(f"/api/incidents/{incident.id}") for incident, _ in stories(one)]
        told += [one.cli("incidents", incident.id) for incident, _ in stories(one)]
        told += [
            one.cli("incidents", "--json"),
            one.cli("status", check=False),
            one.cli("rules", "--json", check=False),
        ]
        eventually(
            lambda: any(
                "long job" in each
                for each in everything.payloads(f"dockmend/{os.uname().nodename}/incident")
            )
        )
        told += [f"{message.topic} {message.payload!r}" for message in everything.messages]
        journal = written(one)
        assert one.stop() == 0
        told += [one.text]
        told.append((one.state / "journal.sqlite3").read_bytes().decode(errors="replace"))
    assert "long job" in journal
    for secret in (PASSWORD, TOKEN):
        assert secret not in journal
        assert [each for each in told if secret in each] == []
    assert [each for each in told[:-1] if HASH in each] == []
