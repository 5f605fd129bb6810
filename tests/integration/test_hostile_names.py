"""Names that the engine allows: networks that no path of its API can hold, and names without an
end."""

from __future__ import annotations

from typing import Any

from tests.integration.healing import closed, daemon
from tests.lab import PrivateEngine

RECONNECT = """
version: 1
rules: [{name: back, when: container.network_lost, match: all, then: reconnect_network}]
"""
START = """
version: 1
rules:
  - {name: again, when: container.crashed, match: all, then: start, limits: {attempts: 2 per 1h}}
"""
ODD = ("../x", "..", "a\nb", "a\0b", "\x1b[31mred", "\u202eevil")


def made(docker: PrivateEngine, path: str, body: Any) -> str:
    status, answer = docker.api("POST", path, body)
    assert status == 201, answer
    return str(answer["Id"])


def test_a_network_of_any_name_is_reconnected(docker: PrivateEngine):
    networks = [
        made(docker, "/networks/create", {"Name": name, "Driver": "bridge"}) for name in ODD
    ]
    for number, network in enumerate(networks):
        docker.run(f"web{number}", "--network", network)
    with daemon(docker, RECONNECT) as one:
        for number, network in enumerate(networks):
            docker.docker("network", "disconnect", "--force", network, f"web{number}")
        rows = closed(one, count=len(ODD))
        assert {(row["outcome"], row["network"]) for row in rows} == {
            ("healed", name) for name in ODD
        }
        for number, name in enumerate(ODD):
            assert name in docker.inspect(f"web{number}")["NetworkSettings"]["Networks"]
        shown = one.cli("incidents") + one.cli("graph") + one.text
        assert all(char.isprintable() or char == "\n" for char in shown)


def test_a_name_without_an_end_fills_no_journal_and_is_left_alone(docker: PrivateEngine):
    with daemon(docker, START) as one:
        for number in range(5):
            body = {"Image": "toolbox:latest", "Cmd": ["sh", "-c", "exit 3"]}
            container = made(docker, f"/containers/create?name={'b' * 500_000}{number}", body)
            docker.api("POST", f"/containers/{container}/start")
        rows = closed(one, count=5)
        assert {(row["outcome"], row["reason_code"]) for row in rows} == {
            ("suppressed", "protected")
        }
        assert len({row["object_name"] for row in rows}) == 5
        assert max(len(str(row)) for row in rows) < 4000
        assert sum(path.stat().st_size for path in one.state.glob("journal.sqlite3*")) < 4 << 20
        assert "are more than dockmend keeps" in one.cli("doctor", check=False)
