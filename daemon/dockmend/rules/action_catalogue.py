"""Every action of the rule language: what it takes, what it can be done to, and whether this
version does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from dockmend.rules import action_parameters as p
from dockmend.rules.value_types import Params

Group = Literal["container", "network", "volume", "image", "evidence", "group", "tell"]


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action. `kinds` is what it can be done to; empty: it needs no object, or takes any.

    `tells`: it tells or collects evidence, so it heals nothing and its failure fails nothing.
    """

    name: str
    group: Group
    params: type[Params]
    kinds: frozenset[str]
    built: bool = False
    tells: bool = False

    def telling(self, params: Params) -> bool:
        """Waiting for a time heals nothing; waiting for a state is as good or bad as the state."""
        return self.tells or (isinstance(params, p.WaitParams) and params.until is None)


def changes_something(action: str) -> bool:
    """Whether an action that the journal names can have changed anything; one that is not known may
    have."""
    spec = ACTIONS.get(action)
    return spec is None or not (spec.tells or spec.params is p.WaitParams)


_CONTAINER = frozenset({"container"})
_VOLUME = frozenset({"volume"})
_SERVICE = frozenset({"service"})
_ANY: frozenset[str] = frozenset()


def _specs() -> tuple[ActionSpec, ...]:
    return (
        ActionSpec("restart", "container", p.RestartParams, _CONTAINER, built=True),
        ActionSpec("start", "container", p.NoParams, _CONTAINER, built=True),
        ActionSpec("stop", "container", p.Stop, _CONTAINER, built=True),
        ActionSpec("kill", "container", p.Kill, _CONTAINER, built=True),
        ActionSpec("pause", "container", p.NoParams, _CONTAINER, built=True),
        ActionSpec("unpause", "container", p.NoParams, _CONTAINER, built=True),
        ActionSpec("recreate", "container", p.Recreate, _CONTAINER, built=True),
        ActionSpec("remove", "container", p.Remove, _CONTAINER, built=True),
        ActionSpec("set_limits", "container", p.SetLimits, _CONTAINER, built=True),
        ActionSpec("exec", "container", p.Exec, _CONTAINER, built=True),
        ActionSpec("copy", "container", p.Copy, _ANY, built=True),
        ActionSpec("run", "container", p.RunParams, _ANY, built=True),
        ActionSpec("reconnect_network", "network", p.ReconnectNetwork, _CONTAINER, built=True),
        ActionSpec("connect_network", "network", p.ConnectNetwork, _CONTAINER, built=True),
        ActionSpec("disconnect_network", "network", p.DisconnectNetwork, _CONTAINER, built=True),
        ActionSpec("create_network", "network", p.CreateNetwork, _ANY, built=True),
        ActionSpec("snapshot_volume", "volume", p.SnapshotVolume, _CONTAINER | _VOLUME, built=True),
        ActionSpec("restore_volume", "volume", p.RestoreVolume, _CONTAINER | _VOLUME),
        ActionSpec("test_restore", "volume", p.TestRestore, _CONTAINER | _VOLUME),
        ActionSpec("commit_image", "image", p.CommitImage, _CONTAINER, built=True),
        ActionSpec("tag_image", "image", p.TagImage, _ANY),
        ActionSpec("push_image", "image", p.PushImage, _ANY),
        ActionSpec("pull_image", "image", p.PullImage, _ANY),
        ActionSpec("build_image", "image", p.BuildImage, _ANY),
        ActionSpec("remove_image", "image", p.RemoveImage, _ANY),
        ActionSpec("rollback_image", "image", p.RollbackImage, _CONTAINER),
        ActionSpec("collect_evidence", "evidence", p.CollectEvidence, _CONTAINER, tells=True),
        ActionSpec("restart_dependents", "group", p.RestartDependents, _CONTAINER, built=True),
        ActionSpec("compose_restart", "group", p.ComposeRestart, _CONTAINER, built=True),
        ActionSpec("compose_up", "group", p.ComposeUp, _CONTAINER, built=True),
        ActionSpec("service_update", "group", p.ServiceUpdate, _SERVICE | _CONTAINER),
        ActionSpec("service_rollback", "group", p.NoParams, _SERVICE | _CONTAINER),
        ActionSpec("service_scale", "group", p.ServiceScale, _SERVICE | _CONTAINER),
        ActionSpec("node_drain", "group", p.NoParams, frozenset({"node"})),
        ActionSpec("notify", "tell", p.Notify, _ANY, built=True, tells=True),
        ActionSpec("publish", "tell", p.Publish, _ANY, built=True, tells=True),
        ActionSpec("webhook", "tell", p.Webhook, _ANY, tells=True),
        ActionSpec("wait", "tell", p.WaitParams, _ANY, built=True),
        ActionSpec("prune", "tell", p.Prune, _ANY),
    )


ACTIONS: Final[Mapping[str, ActionSpec]] = {spec.name: spec for spec in _specs()}
"""Every action by its name."""
