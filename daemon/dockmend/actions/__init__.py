"""Actions: one module per family, one function per action, registered by name."""

from __future__ import annotations

from importlib import import_module

_FAMILIES = (
    "containers",
    "set_limits",
    "exec_command",
    "run_job",
    "copy_files",
    "restart_dependents",
    "compose",
    "compose_up",
    "networks",
    "images",
    "notify_publish_wait",
    "volumes",
    "recreate",
)
_loaded: set[str] = set()


def load() -> None:
    """Register every action of this version in base.REGISTRY; a second call changes nothing."""
    for family in _FAMILIES:
        if family not in _loaded:
            import_module(f"{__name__}.{family}").register_all()
            _loaded.add(family)
