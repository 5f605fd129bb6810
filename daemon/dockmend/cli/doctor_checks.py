"""What `dockmend doctor` looks at, as functions over what was found out: what is wrong, and what to
do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dockmend import redaction
from dockmend.app.engine_lock import Holder
from dockmend.app.healer_conflicts import SHARE
from dockmend.engine.engine_api import PODMAN, EngineInfo
from dockmend.model import Container
from dockmend.owned import OwnedObjects
from dockmend.rules.healer_images import foreign_healers, other_dockmends
from dockmend.rules.label_names import Function, in_vain, labels_in, means_something
from dockmend.rules.label_rules import asked
from dockmend.rules.owner_labels import Cause, LabelError, wishes
from dockmend.rules.rule import Rule, RuleSet
from dockmend.set_aside import stranded

# Bytes: below the first the journal is in danger, below the second snapshots are.
SCARCE, LITTLE = 100 * 1024**2, 1024**3
SKEW = 2.0  # seconds: beyond it, times in incidents and the engine's own do not fit together

OF_VOLUMES = frozenset({"dockmend.snapshot"})
"""Labels of shipped rules that count on a volume, and not on a container."""
_REPLACER = re.compile(r"(^|/)(watchtower|ouroboros|diun)([:@]|$)")


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """`problem`: it keeps dockmend from doing its work; `note`: worth knowing. `todo` says what to
    do."""

    level: Literal["ok", "note", "problem"]
    part: str
    text: str
    todo: str = ""


def disk(part: str, free: int, total: int) -> DoctorFinding:
    """The disk under the state folder; bytes."""
    text = f"{free / 1024**3:.1f} GiB of {total / 1024**3:.1f} GiB free"
    if free < SCARCE:
        return DoctorFinding(
            "problem", part, text, "free some: without space for the journal nothing is done at all"
        )
    if free < LITTLE:
        return DoctorFinding(
            "note",
            part,
            text,
            "snapshots of volumes may not fit: free some, or move the state with --state",
        )
    return DoctorFinding("ok", part, text)


def degraded(part: str, why: str, problems: Iterable[str]) -> DoctorFinding:
    """A part of the running daemon that does not work. `problems`: of its last load of the
    rules."""
    errors = [each for each in problems if ": warning: " not in each]
    first = f": {errors[0]}" if part == "rules" and errors else ""
    more = f", and {len(errors) - 1} more" if first and len(errors) > 1 else ""
    todo = _DEGRADED.get(part, "its log says more")
    return DoctorFinding("problem", "daemon", f"degraded: {part}: {why}{first}{more}", todo)


_DEGRADED = {
    "rules": "`dockmend rules` shows every error; a file that is mended is read again at once",
    "engine": "start the engine: dockmend connects again by itself",
    "mqtt": "see what is said of the broker here; healing goes on without it",
    "journal": "give its disk space and let dockmend write to it: until then nothing is done",
    "record": "nothing more: limits count from now on; the file that was set aside may be removed",
    "acting": "end the other one if this one is to act",
}
"""What to do about each part that can be degraded."""


def engine(url: str, info: EngineInfo) -> list[DoctorFinding]:
    """Who answers, and what that engine does otherwise than dockmend counts on."""
    who = f"{info.product} {info.version} (API {info.api_version}) on {info.name}"
    amount = f"{info.containers} container{'' if info.containers == 1 else 's'}"
    found = [DoctorFinding("ok", "engine", f"{url}: {who}, {amount}")]
    if info.product == PODMAN:
        text = (
            "this is Podman: a `podman stop` can look like a crash to dockmend, and its "
            "networks have other names"
        )
        found.append(
            DoctorFinding(
                "note",
                "engine",
                text,
                "let rules be about health, not about ends: see docs/engines.md",
            )
        )
    elif not info.live_restore:
        todo = 'set "live-restore": true in the engine\'s daemon.json if they should outlive it'
        found.append(
            DoctorFinding(
                "note",
                "engine",
                "live-restore is off: containers stop whenever the engine does",
                todo,
            )
        )
    return found


def engine_files(root: Path | None, trouble: str, containers: int, read: int) -> DoctorFinding:
    """The engine's own files below `root`: of how many containers they were asked, and told.
    `trouble`: why not."""
    part, without = (
        "files",
        "what a person stopped while dockmend was down is then told by its restart policy",
    )
    if root is None:
        todo = "if its data folder can be seen here, name it in the settings: engine_root"
        return DoctorFinding(
            "note", part, f"the engine's own files are not on this host: {without}", todo
        )
    where = root / "containers"
    if not containers:
        return DoctorFinding(
            "ok", part, f"{where}: no container has run yet, so there is nothing to read"
        )
    if read:
        return DoctorFinding(
            "ok", part, f"{where}: readable; it also holds each container's log and environment"
        )
    why = trouble or "they are another engine's"
    todo = (
        f"run dockmend as root; in a container, mount {where} read-only at the same path (it also "
        "holds each container's log and environment)"
    )
    return DoctorFinding(
        "note", part, f"the engine's own files cannot be used ({why}): {without}", todo
    )


def protection(idle: Iterable[str]) -> list[DoctorFinding]:
    """Patterns of the settings' `policy.protect` that protect nothing on this host."""
    todo = (
        "correct it, or leave it if what it is for is still to come: `dockmend coverage` "
        "shows whom each protects"
    )
    return [
        DoctorFinding(
            "note", "policy", f"policy.protect: {each} fits no container of this host", todo
        )
        for each in idle
    ]


def clock_skew(ahead: float) -> DoctorFinding:
    """The engine's clock against ours; seconds it is ahead."""
    if abs(ahead) > SKEW:
        text = (
            f"the engine's clock is {abs(ahead):.1f} s "
            f"{'ahead of' if ahead > 0 else 'behind'} this host's"
        )
        return DoctorFinding(
            "problem",
            "clock",
            text,
            "let both hosts' clocks be set by NTP: cooldowns and causes go by time",
        )
    return DoctorFinding("ok", "clock", "the engine's and this host's agree")


def acting(holder: Holder | None, state: Path) -> list[DoctorFinding]:
    """Which dockmend acts on the engine. `state`: the state folder that is asked about."""
    if holder is None:
        return [
            DoctorFinding(
                "ok",
                "acting",
                "no dockmend holds the lock of this engine: none that shares it acts",
            )
        ]
    if holder.doubtful:
        text = (
            f"another dockmend noted that it acts on this engine: {holder.told}; whether it "
            "still runs is not known"
        )
        return [DoctorFinding("note", "acting", text, "run this as root, who may ask the lock")]
    if holder.works_on(state):
        return [
            DoctorFinding("ok", "acting", f"the dockmend that acts on this engine: {holder.told}")
        ]
    todo = f"end one of the two: one with {state} only watches while that one runs"
    return [
        DoctorFinding(
            "note", "acting", f"another dockmend acts on this engine: {holder.told}", todo
        )
    ]


def dockmends(
    containers: Iterable[Container], is_own: Callable[[Container], bool]
) -> list[DoctorFinding]:
    """Containers that look like a dockmend other than the one that is asked about."""
    todo = f"end one of the two, or run one with --dry-run; {SHARE}"
    return [
        DoctorFinding(
            "note", "acting", f"container {name} looks like another dockmend: unless they share a "
            "lock, both act", todo
        )
        for name in other_dockmends(containers, is_own)
    ]  # fmt: skip


def healers(containers: Iterable[Container]) -> list[DoctorFinding]:
    """Others that restart or replace containers."""
    running = [each for each in containers if each.running]
    found = [
        DoctorFinding(
            "note", "healers",
            f"{name} restarts unhealthy containers too: label:heal only says what it would do",
            f"to let dockmend do it: docker rm -f {name}",
        )
        for name in foreign_healers(running)
    ]  # fmt: skip
    found += [
        DoctorFinding(
            "note", "healers", f"{each.name} ({each.image}) may replace containers",
            "nothing: one that is made again under its name is the same target; pause dockmend "
            "for large updates",
        )
        for each in running
        if _REPLACER.search(each.image.lower())
    ]  # fmt: skip
    return found or [DoctorFinding("ok", "healers", "no container of another healer runs here")]


def labels(
    containers: Iterable[Container],
    rule_texts: Iterable[str],
    channels: Collection[str] | None = None,
) -> list[DoctorFinding]:
    """Labels that look as if they should steer dockmend, and do not. `rule_texts`: labels that
    rules name are known. `channels`: the names that a label may give; None: they are not known."""
    texts = list(rule_texts)
    known = labels_in(texts)
    found: list[DoctorFinding] = []
    for container in sorted(containers, key=lambda each: each.name):
        if container.left_out:
            found.append(_left_out(container))
        if container.image_unknown:
            found.append(_unknown_image(container))
        else:
            found += _of_image(container, known)
        errors = wishes(container.labels, channels).errors
        found += [_wrong(container, each) for each in errors]
        told = {each.label for each in errors}
        for key, value in sorted(container.labels.items()):
            finding = _label(container, key, value, texts) if key not in told else None
            if finding is not None:
                found.append(finding)
    return found or [DoctorFinding("ok", "labels", "none is misspelt, none is set by an image")]


def _left_out(container: Container) -> DoctorFinding:
    """It has more of them than dockmend keeps."""
    amount = (
        f"container {container.name}: {max(1, container.left_out >> 10)} KiB of its name, "
        "labels, mounts and networks"
    )
    if container.too_much:
        what, todo = (
            "are more than dockmend keeps, so nothing is done to it",
            "make it anew with fewer of them",
        )
        return DoctorFinding("problem", "labels", f"{amount} {what}", todo)
    return DoctorFinding(
        "note",
        "labels",
        f"{amount} are not kept: they are its image's",
        "nothing: an image's do not count",
    )


def _unknown_image(container: Container) -> DoctorFinding:
    text = (
        f"container {container.name}: its image cannot be inspected, so nobody knows who set "
        "its labels"
    )
    todo = (
        "none of them counts but dockmend.ignore and what policy.protect names: make the "
        "container anew"
    )
    return DoctorFinding("problem", "labels", text, todo)


def _of_image(container: Container, known: set[str]) -> list[DoctorFinding]:
    """Labels of its image that would mean something if its owner had set them."""
    return [
        DoctorFinding(
            "note", "labels",
            f"container {container.name}: label {key}={_shown(key, value)} comes from its image, "
            "so it does not count",
            "set it on the container, with another value than the image's, or name the image under"
            " policy.trusted_images in the settings",
        )
        for key, value in sorted(container.image_labels.items())
        if key in known or means_something(key) or key.startswith("dockmend.")
    ]  # fmt: skip


def _shown(key: str, value: str) -> str:
    return redaction.addresses(redaction.label(key, value))


def _label(
    container: Container, key: str, value: str, texts: Sequence[str]
) -> DoctorFinding | None:
    """One that no function of dockmend and no rule reads, and that looks as if it should be."""
    if (vain := in_vain(key, texts)) is None:
        return None
    todo = f"{vain.todo}, and set the label on the volume" if key in OF_VOLUMES else vain.todo
    what = f"container {container.name}: label {key}={_shown(key, value)} {vain.text}"
    return DoctorFinding("problem", "labels", what, todo)


def _wrong(container: Container, error: LabelError) -> DoctorFinding:
    todo = (
        f"set it right and make the container anew; until then {error.function.value} is off for it"
    )
    if error.function is Function.IGNORE:
        todo = (
            "make the container anew with or without it: until it is set right, the container "
            "is left alone"
        )
    if error.function is Function.NOTIFY:
        todo = (
            "set it right and make the container anew; until then its messages go to all channels"
        )
    return DoctorFinding("problem", "labels", f"container {container.name}: {error}", todo)


def consent(containers: Iterable[Container]) -> list[DoctorFinding]:
    """Containers that ask to be healed and give nothing to go by."""
    todo = (
        "without one it is never unhealthy: give it one (HEALTHCHECK in its image, or --health-cmd)"
    )
    found = []
    for each in sorted(containers, key=lambda each: each.name):
        heal = asked(each, "labelled")
        if each.check is not None or heal is None or Cause.UNHEALTHY not in heal.causes:
            continue
        only = heal.causes == {Cause.UNHEALTHY}
        what = "has no health check" + ("" if only else ": it is healed after a crash only")
        found.append(
            DoctorFinding(
                "problem" if only else "note",
                "health",
                f"container {each.name} asks to be healed but {what}",
                todo,
            )
        )
    return found


def left_aside(containers: Iterable[Container], owned: OwnedObjects) -> list[DoctorFinding]:
    """Containers with the names that a recreation gives. Those that the journal knows are in hand,
    or are put right at the next start; with the others only a person can know what is to become of
    them."""
    listed = list(containers)
    found = [
        DoctorFinding(
            "note", "recreate",
            f"container {each.name} was set aside for a recreation, as the journal says",
            "nothing while that is under way; else the next start of dockmend puts it right",
        )
        for each in sorted(listed, key=lambda each: each.name)
        if (row := owned.of(each)) is not None and row.purpose == "aside" and each.name == row.name
    ]  # fmt: skip
    return found + [
        DoctorFinding(
            "problem", "recreate",
            f"container {each.container.name} has a name that a recreation gives, and the journal "
            f"does not know it: {each.why}",
            f"look at it, then: {each.commands}",
        )
        for each in stranded(listed, owned)
    ]  # fmt: skip


def restart_policies(containers: Sequence[Container], rules: RuleSet) -> list[DoctorFinding]:
    """What stays down after the engine comes back, and which no rule on `left_down` would start
    again.

    An engine that was killed leaves `unless-stopped` ones down; those with no restart policy stay
    down after any end of the engine, and are named if they ask to be healed (docs/engine.md).
    """
    mending = [
        rule for rule in rules.rules
        if rule.enabled and not rule.dry_run
        and {each.name for each in rule.triggers} & STARTS_AGAIN
    ]  # fmt: skip
    down = [each for each in containers if not any(_mends(rule, each) for rule in mending)]
    kept = [each.name for each in down if each.running and each.restart_policy == "unless-stopped"]
    asks = [
        each
        for each in down
        if each.restart_policy in ("no", "") and asked(each, "labelled") is not None
    ]
    will = [each.name for each in asks if each.running]
    now = [each.name for each in asks if not each.running and each.finished_at]
    todo = (
        "the label dockmend.heal=true, or a rule with `when: container.left_down` and `then: "
        "start`, brings them back"
    )
    rule = "a rule with `when: container.left_down` and `then: start` brings them back"
    found = []
    if alone := _without_witness(containers, mending):
        text = (
            f"no container has a restart policy: if {_some(alone)} end with exit code 0 as the "
            "host is shut down, they count as done, and no rule on left_down starts them again"
        )
        found.append(
            DoctorFinding(
                "note",
                "restarts",
                text,
                "docker update --restart unless-stopped NAME, of one that runs",
            )
        )
    if kept:
        text = (
            f"{_some(kept)} with restart: unless-stopped stay down when the engine is killed "
            "and comes back"
        )
        found.append(
            DoctorFinding(
                "note",
                "restarts",
                text,
                f"{todo}; so does `restart: always`, which dockmend itself needs",
            )
        )
    if will:
        text = (
            f"{_some(will)} ask to be healed and have no restart policy: they stay down when "
            "the engine restarts"
        )
        found.append(
            DoctorFinding(
                "note", "restarts", text, f"docker update --restart unless-stopped NAME, or {rule}"
            )
        )
    if now:
        text = f"{_some(now)} ask to be healed, are down, and have no restart policy"
        found.append(
            DoctorFinding("note", "restarts", text, f"docker start NAME if it should run; {rule}")
        )
    return found or [
        DoctorFinding("ok", "restarts", "nothing that the engine would leave down unnoticed")
    ]


def _without_witness(containers: Iterable[Container], mending: Iterable[Rule]) -> list[str]:
    """What is to be started after a reboot, on a host of which nothing shows when the engine went
    down: that is told by what the next one starts again by itself (docs/engine.md, "The engine's
    own record of a stop")."""
    running = [each for each in containers if each.running]
    if any(each.restart_policy not in ("no", "") for each in running):
        return []
    return [each.name for each in running if any(_mends(rule, each) for rule in mending)]


def _mends(rule: Rule, container: Container) -> bool:
    own = rule.tailored(container) if rule.match.test(container) else None
    return own is not None and bool(own.named & STARTS_AGAIN)


STARTS_AGAIN = frozenset({"container.left_down", "container.exited"})
"""Triggers of a rule that starts what an engine left down."""


def _some(names: Iterable[str]) -> str:
    """How many, with the first three names."""
    found = sorted(names)
    return f"{len(found)} ({', '.join(found[:3])}{', …' if len(found) > 3 else ''})"
