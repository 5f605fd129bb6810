"""Actions: one module per family, one function per action, registered by name."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

_FAMILIES = ("containers", "networks", "images", "telling", "volumes")
_loaded: set[str] = set()


def load() -> None:
    """Register every action of this version in base.REGISTRY; a second call changes nothing."""
    for family in _FAMILIES:
        module = f"{__name__}.{family}"
        if family in _loaded or find_spec(module) is None:
            continue
        import_module(module).register_all()
        _loaded.add(family)
