"""Whose a container's labels are, and that nothing goes past the one place that decides it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dockmend
from dockmend.label_owner import divide

COMPOSE = "com.docker.compose."
SWARM = "com.docker.swarm."
BUILT = {f"{COMPOSE}project": "shop", f"{COMPOSE}service": "web", f"{COMPOSE}version": "2.26.1"}
"""What `docker compose build` writes into an image."""
UP = BUILT | {
    f"{COMPOSE}config-hash": "a1", f"{COMPOSE}container-number": "1", f"{COMPOSE}oneoff": "False",
    f"{COMPOSE}depends_on": "", f"{COMPOSE}project.working_dir": "/srv/shop",
}  # fmt: skip
"""What `docker compose up` writes on a container."""
TASK = {f"{SWARM}service.name": "web", f"{SWARM}task.name": "web.1.x", f"{SWARM}task.id": "t1"}

SOURCES = Path(dockmend.__file__).parent


@pytest.mark.parametrize(
    ("labels", "of_image", "owner"),
    [
        ({}, {"a": "1"}, []),
        ({"a": "1"}, {}, ["a"]),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "1"}, ["b"]),
        ({"dockmend.heal": "true", "autoheal": "true"}, {"autoheal": "true"}, ["dockmend.heal"]),
        ({"a": "1"}, None, []),
        (UP, {}, [*UP]),  # `image:` of somebody else
        (UP, BUILT, [*UP]),  # `build:`
        (UP, UP, []),  # run by hand from `docker commit` of the container
        (UP | {f"{COMPOSE}config-hash": "b2"}, UP, [*UP]),  # and by Compose from the same
        (BUILT, BUILT, []),  # run by hand from what Compose built
        (BUILT | {f"{COMPOSE}project": "mine"}, BUILT, []),  # a group is taken whole
        (UP, None, []),
        (TASK, {}, [*TASK]),
        (TASK, {f"{SWARM}service.name": "web"}, [*TASK]),
        (TASK, TASK, []),
        ({f"{SWARM}service.name": "web"}, {f"{SWARM}service.name": "web"}, []),
        (UP | TASK, BUILT | TASK, [*UP]),  # each group for itself
        # Compose names a file of variables only if there is one: that one is the image's.
        (
            UP | {f"{COMPOSE}project.environment_file": "/x"},
            {f"{COMPOSE}project.environment_file": "/x"},
            [*UP],
        ),
    ],
)
def test_who_set_which(
    labels: dict[str, str], of_image: dict[str, str] | None, owner: list[str]
) -> None:
    found = divide(labels, of_image)
    assert [*found.owner] == owner
    assert found.owner | found.image == labels
    assert not found.owner.keys() & found.image.keys()


@pytest.mark.parametrize(
    ("labels", "of_image", "owner"),
    [
        ({"a": "1"}, {"a": "1"}, ["a"]),
        ({"a": "1"}, None, ["a"]),  # it is named in the settings, whatever it says
        # else each container that is run from it were the service's
        (BUILT | {"a": "1"}, BUILT, ["a"]),
        (UP, BUILT, [*UP]),
    ],
)
def test_a_trusted_images_labels_count_but_for_groups(
    labels: dict[str, str], of_image: dict[str, str] | None, owner: list[str]
) -> None:
    assert [*divide(labels, of_image, trusted=True).owner] == owner


READS_THE_ENGINES_OWN = {
    "engine", "actions/definition.py", "actions/recreate_missing.py",
    "ownership.py",  # of a body that it writes
}  # fmt: skip
READS_AN_IMAGES = {
    "mirror/exit_cause.py",  # which attributes of an event are hidden by a label, whoever set it
    "mirror/mirror.py",  # keeps what was once known
    "model.py",  # if the image is unknown, a label can hold back
    "rules/healer_images.py",  # an image that says it is dockmend is warned of, and nothing else
    "cli/doctor_checks.py", "cli/coverage.py", "cli/explain.py",  # show them
}  # fmt: skip
READS_ATTRIBUTES = {
    "engine", "model.py", "mirror/event_handlers.py", "mirror/mirror.py",
    "pipeline/raw_events.py", "rules/fields.py", "rules/matcher.py",
}  # fmt: skip


def _reads(path: Path, name: str) -> bool:
    """Whether a module reads an attribute or a key of that name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr == name:
            return True
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            key = node.args[0] if node.func.attr in ("get", "pop", "setdefault") else None
        if isinstance(key, ast.Constant) and key.value == name:
            return True
    return False


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("Labels", READS_THE_ENGINES_OWN),
        ("image_labels", READS_AN_IMAGES),
        ("Attributes", READS_ATTRIBUTES),
    ],
)
def test_only_these_modules_read_labels_that_are_not_the_owners(
    name: str, allowed: set[str]
) -> None:
    reading = {path.relative_to(SOURCES) for path in SOURCES.rglob("*.py") if _reads(path, name)}
    found = {"engine" if path.parts[0] == "engine" else path.as_posix() for path in reading}
    assert found == allowed, (
        "take them from a Container, whose labels are its owner's; or the list is too long"
    )
