"""set_limits: what a container may use, changed while it runs; and its restart policy.

A limit of memory is bound to that of memory and swap together: the engine refuses one above the
other, so what it may swap on top stays what it was. `docker update` keeps what is changed over
restarts, and so does this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from dockmend.actions.action import (
    NOT_BEGUN,
    Action,
    ActionContext,
    ActionFailed,
    ActionResult,
    Settled,
    register,
)
from dockmend.actions.containers import expect_container
from dockmend.actions.engine_refusals import failed
from dockmend.errors import EngineError, NotFound
from dockmend.journal.records import ActionRecord
from dockmend.model import Object
from dockmend.rules.value_types import grown

CPU_PERIOD = 100_000
"""Microseconds: the kernel's default period of a CPU quota."""
ON_ITS_WAY = 3.0
"""Seconds after its intent within which the engine has made a change that was asked for."""
POLL = 0.2

Limits = dict[str, Any]
"""What the engine calls HostConfig, as far as it is to be changed."""


async def set_limits(ctx: ActionContext, params: Any, subject: Object) -> ActionResult:
    """Set what the rule names; the outcome tells each as it was and as it is."""
    container = expect_container(subject, "set_limits")
    what = f"set the limits of {container.name}"
    try:
        host = (await ctx.engine.inspect_raw(container.id)).get("HostConfig") or {}
    except EngineError as error:
        raise failed(error, what, container) from error
    wanted = wanted_limits(params, host, container.name)
    new = {key: value for key, value in wanted.items() if host.get(key) != value}
    if not new:
        return ActionResult(f"it has these limits already: {told(wanted, wanted)}")
    old = {key: host.get(key) for key in new}
    await ctx.remember({"set_limits": {"old": old, "new": new}})
    try:
        await ctx.engine.update(container.id, wanted)
    except EngineError as error:
        raise failed(error, what, container) from error
    return ActionResult(told(old, new), {"old": old, "new": new})


def wanted_limits(params: Any, host: Mapping[str, Any], name: str) -> Limits:
    """The update's body: pure. Raises ActionFailed where a growth has nothing to grow from, or no
    room left."""
    wanted: Limits = {}
    if params.memory is not None:
        wanted |= _memory(params.memory, params.ceiling, host, name)
    if params.cpu is not None:
        wanted |= _cpu(params.cpu, host)
    if params.pids is not None:
        wanted["PidsLimit"] = params.pids
    if params.restart_policy is not None:
        before = host.get("RestartPolicy") or {}
        same = before.get("Name") == params.restart_policy
        retries = before.get("MaximumRetryCount", 0) if same else 0
        wanted["RestartPolicy"] = {"Name": params.restart_policy, "MaximumRetryCount": retries}
    return wanted


def _memory(asked: int | str, ceiling: int | None, host: Mapping[str, Any], name: str) -> Limits:
    current, total = int(host.get("Memory") or 0), int(host.get("MemorySwap") or 0)
    if isinstance(asked, str):
        if not current:
            raise ActionFailed(f"cannot raise the memory limit of {name}: it has none", again=False)
        if ceiling is None or current >= ceiling:
            raise ActionFailed(
                f"cannot raise the memory limit of {name}: it is {size_text(current)}, and the "
                f"rule's ceiling {size_text(ceiling or 0)}",
                again=False,
            )
        new = min(grown(current, asked), ceiling)
    else:
        new = asked
    limits: Limits = {"Memory": new}
    if total < 0:
        # it may swap without limit: the engine wants to hear so again with each change
        limits["MemorySwap"] = total
    elif total:
        limits["MemorySwap"] = new + max(0, total - current) if current else max(new, total)
    elif not current:
        # as the engine does for a container made with a limit and no more
        limits["MemorySwap"] = 2 * new
    if int(host.get("MemoryReservation") or 0) > new:
        limits["MemoryReservation"] = new
    return limits


def _cpu(cpu: float, host: Mapping[str, Any]) -> Limits:
    """As a quota where the container has one: the engine refuses the other form of the same."""
    if host.get("CpuQuota") or host.get("CpuPeriod"):
        period = int(host.get("CpuPeriod") or CPU_PERIOD)
        return {"CpuPeriod": period, "CpuQuota": round(cpu * period)}
    return {"NanoCpus": round(cpu * 1e9)}


def told(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Each limit, old → new, for a person."""
    parts = []
    for key, name, text in _NAMES:
        if key in new:
            before, after = text(old.get(key)), text(new[key])
            parts.append(f"{name} {after}" if old is new else f"{name} {before} → {after}")
    return ", ".join(parts)


def size_text(number: int | None) -> str:
    """Bytes in the largest unit that leaves a round number."""
    if not number or number < 0:
        return "unlimited"
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if number >= 1 << shift and (number * 10) % (1 << shift) == 0:
            return f"{number / (1 << shift):g} {unit}"
    return f"{number / (1 << 20):.1f} MiB"


def _cpus(nano: int | None) -> str:
    return f"{nano / 1e9:g}" if nano else "unlimited"


def _count(number: int | None) -> str:
    return str(number) if number and number > 0 else "unlimited"


def _policy(policy: Mapping[str, Any] | None) -> str:
    return str((policy or {}).get("Name") or "no")


_NAMES: tuple[tuple[str, str, Any], ...] = (
    ("Memory", "memory", size_text), ("MemorySwap", "memory and swap", size_text),
    ("MemoryReservation", "memory reservation", size_text), ("NanoCpus", "cpu", _cpus),
    ("CpuQuota", "cpu quota in µs", _count), ("PidsLimit", "pids", _count),
    ("RestartPolicy", "restart policy", _policy),
)  # fmt: skip


async def settle_set_limits(ctx: ActionContext, record: ActionRecord) -> Settled:
    """One call changes all of it: either the limits are the new ones, or nothing was done."""
    before = record.undo.get("set_limits")
    if not isinstance(before, dict):
        return NOT_BEGUN
    new = before.get("new") or {}
    while True:
        try:
            host = (await ctx.engine.inspect_raw(record.object_id)).get("HostConfig") or {}
        except NotFound:
            return Settled(done=False, detail="the container is gone")
        if all(host.get(key) == value for key, value in new.items()):
            return Settled(
                done=True, detail=f"had gone through: {told(before.get('old') or {}, new)}"
            )
        if ctx.clock() >= record.began_at + ON_ITS_WAY:
            return Settled(done=False, detail="the limits had not been changed yet")
        await asyncio.sleep(POLL)


def register_all() -> None:
    """Put set_limits into the registry."""
    register(Action("set_limits", set_limits, settle_set_limits))
