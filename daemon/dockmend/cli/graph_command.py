"""`dockmend graph`: which container hangs on which, as text, Mermaid, DOT or JSON.

Labels and names are strangers' text: in each format everything that could be read as more than a
text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click

from dockmend.cli.command_context import in_force
from dockmend.cli.options import identities_of, options, owned_of, with_engine
from dockmend.cli.terminal_text import clean, emit, say, show
from dockmend.mirror.dependency_graph import DependencyGraph, Edge, build
from dockmend.mirror.restart_order import RestartPlan, plan

HOW = {
    "network": "shares its network",
    "pid": "shares its processes",
    "ipc": "shares its memory (IPC)",
    "link": "is linked to it",
    "volumes": "takes its volumes",
    "compose": "depends on it (Compose)",
    "label": "depends on it (label)",
}
_PLAIN = re.compile(r"[^A-Za-z0-9 _./-]")


@click.command()
@options("config", "engine", "state", "json")
@click.option(
    "--format", "form", type=click.Choice(["text", "mermaid", "dot"]), default="text", help="[text]"
)
def graph(as_json: bool, form: str, **flags: Any) -> int:
    """Which container hangs on which, and the order in which they are started.

    Network, process and IPC namespaces, links, volumes-from, Compose's depends_on and
    dockmend.depends-on labels; who shares a network is shown too. Cycles are named. Asks the
    engine; the daemon need not run.
    """
    now = in_force(flags)
    listing = with_engine(now.settings, lambda engine: engine.listing())
    owned = owned_of(now.settings.paths)
    found = build(
        (each for each in listing.containers if not owned.hides(each)),
        identities_of(now.settings.paths),
    )
    order = plan(found.nodes, found.needs())
    if as_json:
        emit(document(found, order))
    elif form == "mermaid":
        click.echo("\n".join(mermaid(found)))
    elif form == "dot":
        click.echo("\n".join(dot(found)))
    else:
        _text(found, order)
    return 0


def _text(found: DependencyGraph, order: RestartPlan) -> None:
    rows = [
        (_name(found, each.dependent), _name(found, each.dependency), _how(each), _then(each))
        for each in _sorted(found)
    ]
    show(
        ("CONTAINER", "HANGS ON", "HOW", "WHEN THAT IS RESTARTED"),
        rows,
        "no container hangs on another",
    )
    for shared in found.shared:
        members = ", ".join(_with_aliases(found, *member) for member in shared.members)
        say(f"network {shared.network}: {members}")
    for cycle in order.cycles:
        say(f"a cycle, which has no order: {', '.join(_name(found, each) for each in cycle)}")
    if found.edges:
        hang = {node for edge in found.edges for node in (edge.dependent, edge.dependency)}
        waves = (
            ", ".join(_name(found, each) for each in wave if each in hang) for wave in order.start
        )
        say(f"started in this order: {'; then '.join(wave for wave in waves if wave)}")


def _with_aliases(found: DependencyGraph, node: str, aliases: tuple[str, ...]) -> str:
    name = _name(found, node)
    others = [alias for alias in aliases if alias != name]
    return f"{name} ({', '.join(others)})" if others else name


def _how(edge: Edge) -> str:
    return (
        HOW[edge.kind]
        if edge.condition == "service_started"
        else f"{HOW[edge.kind]}, {edge.condition}"
    )


def _then(edge: Edge) -> str:
    return "is to be restarted too" if edge.restart else "goes on"


def _name(found: DependencyGraph, node: str) -> str:
    container = found.nodes.get(node)
    return container.name if container is not None else f"{found.missing[node]} (not there)"


def _sorted(found: DependencyGraph) -> list[Edge]:
    def key(edge: Edge) -> tuple[str, str, str]:
        return _name(found, edge.dependent), _name(found, edge.dependency), edge.kind

    return sorted(found.edges, key=key)


def mermaid(found: DependencyGraph) -> Iterator[str]:
    """Lines of a Mermaid flow chart; an arrow leads from a dependent to what it hangs on."""
    numbers = _numbers(found)

    def text(raw: str) -> str:
        return _PLAIN.sub(lambda match: f"#{ord(match[0])};", clean(raw))

    yield "flowchart LR"
    for node, number in numbers.items():
        yield f'  n{number}["{text(_name(found, node))}"]'
    for edge in _sorted(found):
        yield f'  n{numbers[edge.dependent]} -->|"{text(_how(edge))}"| n{numbers[edge.dependency]}'
    for index, shared in enumerate(found.shared):
        yield f'  w{index}(["network {text(shared.network)}"])'
        for node, aliases in shared.members:
            label = f'|"{text(", ".join(aliases))}"|' if aliases else ""
            yield f"  n{numbers[node]} -.-{label} w{index}"


def dot(found: DependencyGraph) -> Iterator[str]:
    """Lines of a graph for Graphviz; an arrow leads from a dependent to what it hangs on."""
    numbers = _numbers(found)

    def text(raw: str) -> str:
        escaped = clean(raw).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    yield "digraph dockmend {"
    yield "  rankdir=LR; node [shape=box];"
    for node, number in numbers.items():
        style = "" if node in found.nodes else ", style=dashed"
        yield f"  n{number} [label={text(_name(found, node))}{style}];"
    for edge in _sorted(found):
        yield (
            f"  n{numbers[edge.dependent]} -> n{numbers[edge.dependency]} "
            f"[label={text(_how(edge))}];"
        )
    for index, shared in enumerate(found.shared):
        yield f"  w{index} [label={text(f'network {shared.network}')}, shape=ellipse];"
        for node, aliases in shared.members:
            yield (
                f"  n{numbers[node]} -> w{index} [label={text(', '.join(aliases))}, "
                "style=dotted, dir=none];"
            )
    yield "}"


def _numbers(found: DependencyGraph) -> dict[str, int]:
    nodes = sorted((*found.nodes, *found.missing), key=lambda each: _name(found, each))
    return {node: index for index, node in enumerate(nodes)}


def document(found: DependencyGraph, order: RestartPlan) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "containers": [
            {"id": each.id, "name": each.name, "state": each.state}
            for each in sorted(found.nodes.values(), key=lambda each: each.name)
        ],
        "edges": [
            {
                "dependent": _name(found, edge.dependent),
                "dependency": found.missing.get(edge.dependency) or _name(found, edge.dependency),
                "missing": edge.dependency in found.missing, "kind": edge.kind,
                "condition": edge.condition, "restart": edge.restart,
            }
            for edge in _sorted(found)
        ],
        "networks": [
            {
                "name": shared.network,
                "members": [{"name": _name(found, node), "aliases": aliases}
                    for node, aliases in shared.members],
            }
            for shared in found.shared
        ],
        "order": [[_name(found, each) for each in wave] for wave in order.start],
        "cycles": [[_name(found, each) for each in cycle] for cycle in order.cycles],
    }  # fmt: skip
