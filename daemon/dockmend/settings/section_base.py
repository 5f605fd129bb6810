"""What the parts of the settings file have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema


def _path(value: Any) -> Any:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("expected the path of a file")
    if "://" in str(value):  # it may hold a secret: it is not shown
        raise ValueError(
            "expected the path of a file, found a URL: write that into a file of mode 0600, and "
            "name it here"
        )
    return Path(value)


File = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]


class SectionBase(BaseModel):
    """Unknown keys are errors, and nothing can be changed."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True
    )


class SettingLists(SectionBase):
    """Lists come as lists from YAML: strict mode would want tuples."""

    model_config = ConfigDict(strict=False)
