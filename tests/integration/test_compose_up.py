"""compose_up on a real project: its files trusted or not, who is left alone, an end of what takes
too long."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from dockmend.actions import compose_up
from dockmend.actions.action import ActionFailed
from tests.integration.healing import daemon
from tests.integration.shop import Shop
from tests.integration.stories import all_told, closed, stories
from tests.integration.test_killed import Killed
from tests.lab import HoldingProxy, PrivateEngine

RULE = """
version: 1
rules:
  - name: up
    when: container.missing
    match: {compose: {project: shop}}
    then: compose_up
  - name: well
    when: container.unhealthy
    match: {compose: {project: shop}}
    then: compose_up
"""
OFF = "heal: off\n"


@pytest.fixture
def shop(docker: PrivateEngine, tmp_path: Path) -> Shop:
    one = Shop(docker, tmp_path / "shop")
    one.up()
    return one


def test_what_is_missing_is_brought_up_and_what_a_person_stopped_is_not(
    docker: PrivateEngine, shop: Shop
) -> None:
    before = shop.began()
    with daemon(docker, RULE, config=OFF) as one:
        docker.docker("stop", "--time", "1", "shop-extra-1")
        docker.docker("rm", "--force", "shop-worker-1")

        (incident,) = closed(one, rule="up", timeout=90)

        assert incident.outcome == "healed", incident
        ((_, done),) = stories(one)
        assert "shop-extra-1 was left alone: somebody stopped it" in done[0].detail
        assert docker.state("shop-worker-1") == "running"
        assert docker.state("shop-extra-1") == "exited"
        assert {name: at for name, at in shop.began().items() if "worker" not in name} == {
            name: at for name, at in before.items() if "worker" not in name
        }
        all_told(one)


def test_a_policy_that_does_not_name_it_refuses_it(docker: PrivateEngine, shop: Shop) -> None:
    with daemon(docker, RULE, config=OFF + "policy: {allow: [restart]}\n") as one:
        docker.docker("rm", "--force", "shop-worker-1")

        (incident,) = closed(one, rule="up", timeout=90)

        assert (incident.outcome, incident.reason_code) == ("suppressed", "policy")


def test_an_image_does_not_say_which_files_are_brought_up(
    docker: PrivateEngine, tmp_path: Path
) -> None:
    """Its author names files that root wrote, of a project that nobody brought up."""
    shop = Shop(docker, tmp_path / "shop")
    labels = {
        "com.docker.compose.project": "shop", "com.docker.compose.service": "extra",
        compose_up.FILES: str(shop.file), compose_up.FOLDER: str(shop.folder),
    }  # fmt: skip
    docker.toolbox_image("stranger:1", labels=labels)
    anything = RULE.replace("{compose: {project: shop}}", "all")
    with daemon(docker, anything, config=OFF) as one:
        docker.run("stray", image="stranger:1")
        docker.docker("rm", "--force", "stray")

        (incident,) = closed(one, rule="up", timeout=90)

        assert incident.outcome == "failed", incident
        assert incident.target == "container:stray"
        assert (
            "belongs to no Compose project (what its image's labels say does not count)"
            in incident.reason
        )
        assert docker.docker("ps", "--all", "--quiet") == ""


def _writable(shop: Shop) -> None:
    shop.file.chmod(0o666)


def _linked(shop: Shop) -> None:
    shop.file.rename(shop.folder / "other.yaml")
    shop.file.symlink_to(shop.folder / "other.yaml")


def _folder(shop: Shop) -> None:
    shop.folder.chmod(0o777)


def _variables(shop: Shop) -> None:
    (shop.folder / ".env").write_text("A=b")
    (shop.folder / ".env").chmod(0o622)


def _gone(shop: Shop) -> None:
    shop.file.unlink()


@pytest.mark.parametrize(
    ("bend", "why"),
    [
        (_writable, "compose.yaml may be written by everybody"),
        (_folder, "shop may be written by everybody"),
        (_variables, ".env may be written by everybody"), (_linked, "is a link"),
        (_gone, "No such file"),
    ],
)  # fmt: skip
def test_files_that_are_not_to_be_trusted_are_refused(
    tmp_path: Path, bend: Callable[[Shop], None], why: str
) -> None:
    shop = Shop(PrivateEngine.__new__(PrivateEngine), tmp_path / "shop")
    labels = {compose_up.FILES: str(shop.file), compose_up.FOLDER: str(shop.folder)}
    assert compose_up.checked(labels).compose == (str(shop.file),)
    bend(shop)

    with pytest.raises(ActionFailed, match=why) as failure:
        compose_up.checked(labels)

    assert not failure.value.again


@pytest.mark.parametrize(
    ("label", "value", "why"),
    [
        (compose_up.VARIABLES, "/etc/shadow", "/etc/shadow is not below the project's folder"),
        (compose_up.VARIABLES, "FOLDER/../other.env", "is no full path"),
        (compose_up.FILES, "/etc/passwd", "/etc/passwd is not below the project's folder"),
        (compose_up.FOLDER, "/", "expected a folder of its own"),
    ],
)  # fmt: skip
def test_a_label_names_no_file_outside_the_projects_folder(
    tmp_path: Path, label: str, value: str, why: str
) -> None:
    shop = Shop(PrivateEngine.__new__(PrivateEngine), tmp_path / "shop")
    labels = {compose_up.FILES: str(shop.file), compose_up.FOLDER: str(shop.folder)}
    with pytest.raises(ActionFailed, match=why):
        compose_up.checked({**labels, label: value.replace("FOLDER", str(shop.folder))})


def test_killed_in_the_middle_its_program_ends_and_the_project_comes_up(
    docker: PrivateEngine, shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The program hangs on a request that is held; at the latest it is ended when its step's time
    is over."""
    proxy = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    rule = RULE.replace("then: compose_up", "then: [{compose_up: {}, timeout: 8s}]")
    try:
        with Killed(docker, proxy, rule, OFF) as killed:
            hold = proxy.hold("POST /v[0-9.]+/containers/create", "before")
            docker.docker("rm", "--force", "shop-worker-1")

            killed.dies(hold)

            (incident,) = closed(killed.daemon, rule="up", timeout=90)
            assert incident.outcome == "healed", incident
            ((_, done),) = stories(killed.daemon)
            assert [each.outcome for each in done] == ["interrupted", "done"]
            assert docker.state("shop-worker-1") == "running"
            assert programs(shop) == []
            all_told(killed.daemon)
    finally:
        proxy.close()


def test_what_a_person_stops_while_compose_runs_stays_stopped(
    docker: PrivateEngine, shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Compose starts each of its services that does not run once it has made what is missing."""
    proxy = HoldingProxy(docker.socket, tmp_path_factory.mktemp("p"))
    try:
        with Killed(docker, proxy, RULE, OFF) as killed:
            deed = proxy.meanwhile(
                "POST /v[0-9.]+/containers/create",
                lambda: docker.docker("stop", "--time", "1", "shop-db-1"),
            )
            docker.docker("rm", "--force", "shop-worker-1")

            assert deed.done.wait(60)
            (incident,) = closed(killed.daemon, rule="up", timeout=90)

            assert incident.outcome == "healed", incident
            assert killed.events.actions("shop-db-1", "start") == ["start"], (
                "compose began it again"
            )
            assert docker.state("shop-db-1") == "exited"
            assert docker.state("shop-worker-1") == docker.state("shop-web-1") == "running"
            story = [each for _, done in stories(killed.daemon) for each in done]
            (up,) = [each for each in story if each.action == "compose_up"]
            assert "shop-db-1 was stopped again: somebody stopped it meanwhile" in up.detail
            all_told(killed.daemon)
    finally:
        proxy.close()


def programs(shop: Shop) -> list[str]:
    """Processes of compose for this project."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                found += [line] if str(shop.file) in line else []
    return found
