"""The settings: `dockmend.yaml` under the environment under the flags, checked as a whole before
anything starts."""

from __future__ import annotations

from dockmend.settings.load import check_file, find_paths, load, policy_again
from dockmend.settings.parsed_values import Address
from dockmend.settings.secrets import Secret
from dockmend.settings.sections import (
    EngineFound,
    HostLimits,
    HttpSettings,
    Mqtt,
    MqttTls,
    Paths,
    Policy,
    Protect,
    Settings,
    Snapshots,
    schema,
)

__all__ = [
    "Address",
    "EngineFound",
    "HostLimits",
    "HttpSettings",
    "Mqtt",
    "MqttTls",
    "Paths",
    "Policy",
    "Protect",
    "Secret",
    "Settings",
    "Snapshots",
    "check_file",
    "find_paths",
    "load",
    "policy_again",
    "schema",
]  # fmt: skip
