"""`dockmend graph`: every format of one graph, with names that would be more than names if they
could."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from dockmend.cli.graph_command import document, dot, mermaid
from dockmend.cli.options import identities_of
from dockmend.journal.sqlite import SqliteJournal
from dockmend.mirror.dependency_graph import build
from dockmend.mirror.identities import Identities
from dockmend.mirror.restart_order import plan
from dockmend.model import Container, Endpoint
from dockmend.settings import Paths

HOSTILE = 'x"]; click n0 "javascript:alert(1)" \\ \x1b[2J -->|'
VPN = Container(id="1" * 64, name="vpn", networks={"lan": Endpoint("n", aliases=("gw",))})
APP = Container(
    id="2" * 64, name="app", network_mode=f"container:{'1' * 64}", networks={},
    labels={"dockmend.depends-on": HOSTILE.replace(",", "").replace(":", "")},
)  # fmt: skip
DB = Container(
    id="3" * 64, name="db", networks={"lan": Endpoint("n")}, labels={"dockmend.depends-on": "db2"}
)
DB2 = Container(id="4" * 64, name="db2", labels={"dockmend.depends-on": "db:service_healthy"})
GRAPH = build([VPN, APP, DB, DB2])


def test_mermaid_holds_nothing_but_what_was_meant():
    lines = list(mermaid(GRAPH))
    assert lines[0] == "flowchart LR"
    shapes = (
        r'  n\d+\["[^"\[\]|<>]*"\]', r'  n\d+ -->\|"[^"\[\]|<>]*"\| n\d+',
        r'  w\d+\(\["[^"\[\]|<>]*"\]\)', r'  n\d+ -\.-(\|"[^"\[\]|<>]*"\|)? w\d+',
    )  # fmt: skip
    for line in lines[1:]:
        assert any(re.fullmatch(shape, line) for shape in shapes), line
    assert "shares its network" in "\n".join(lines)


def test_dot_quotes_every_text():
    text = "\n".join(dot(GRAPH))
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "TEXT", text)
    assert "javascript" not in bare
    assert "\x1b" not in text
    assert re.fullmatch(r"[A-Za-z0-9_ =\[\],;{}\n>-]*", bare)


def test_json_has_every_tie_the_order_and_the_cycles():
    found = json.loads(json.dumps(document(GRAPH, plan(GRAPH.nodes, GRAPH.needs()))))
    ties = {
        (each["dependent"], each["dependency"], each["kind"], each["missing"])
        for each in found["edges"]
    }
    assert {
        ("app", "vpn", "network", False),
        ("db", "db2", "label", False),
        ("db2", "db", "label", False),
    } <= ties
    assert any(missing for _, _, _, missing in ties)
    assert found["cycles"] == [["db", "db2"]]
    assert found["networks"] == [
        {
            "name": "lan",
            "members": [{"name": "vpn", "aliases": ["gw"]}, {"name": "db", "aliases": []}],
        }
    ]
    assert found["order"] == [["vpn", "db", "db2"], ["app"]]


async def test_who_a_dead_id_meant_is_what_the_daemons_journal_remembers(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.sqlite3", time.time)
    await journal.open()
    known = Identities()
    known.named("9" * 64, "vpn")
    journal.put_known(f"identity/{'9' * 64}", known.encoded("9" * 64))
    journal.put_known("identity/other", b"of another version")
    await journal.close()
    app = Container(id="5" * 64, name="tail", network_mode=f"container:{'9' * 64}")
    (edge,) = build([VPN, app], identities_of(Paths(state=tmp_path))).edges
    assert edge.dependency == VPN.id
    assert identities_of(Paths(state=tmp_path / "none")).known == {}
