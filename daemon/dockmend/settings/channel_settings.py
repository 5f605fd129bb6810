"""The section `notify` of the settings file: channels by name."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from dockmend.rules.language_error import did_you_mean
from dockmend.settings.channels import AT_ONCE, DIGEST, LISTED, MOST_LINES, Channel, Kind, Severity
from dockmend.settings.secrets import Secret
from dockmend.settings.section_base import File, SettingLists

MOST_CHANNELS: Final = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_QUIET = re.compile(r"([0-9:]+)\s*-\s*([0-9:]+)")


def _kind(value: Any) -> Any:
    known = ", ".join(LISTED)
    if not isinstance(value, str):
        raise ValueError(f"expected kinds of messages ({known})")  # noqa: TRY004 - pydantic's word for it
    if value not in LISTED:
        near = did_you_mean(value, LISTED)
        raise ValueError(f"unknown kind{_named(value)}{near}: expected one of {known}")
    return Kind(value)


def _named(value: str) -> str:
    """What stands there, in an error; a URL is a secret wherever it stands."""
    return f" {value[:40]!r}" if "://" not in value else ""


def _severity(value: Any) -> Any:
    names = {each.name.lower(): each for each in Severity}
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"expected one of {', '.join(names)}")
    return names[value]


def minutes(value: Any) -> Any:
    """A time of day such as 08:00 as minutes. Raises ValueError."""
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('expected a time of day such as "08:00"')
    return int(found[1]) * 60 + int(found[2])


def _quiet(value: Any) -> Any:
    found = _QUIET.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('expected hours such as "22:00-07:00"')
    start, end = minutes(found[1]), minutes(found[2])
    if start == end:
        raise ValueError(
            "begins when it ends: that is never, or always; leave it out, or name a severity"
        )
    return start, end


def _names(value: Any) -> Any:
    """Checks names of channels: labels and rules name them, and metrics show them."""
    if not isinstance(value, dict):
        return value
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "none":
            raise ValueError(
                f"{_named(str(name)).strip() or 'a URL'} is no name for a channel: expected up to "
                "32 letters, digits, `-` and `_`, not none"
            )
    if len(value) > MOST_CHANNELS:
        raise ValueError(f"has more than {MOST_CHANNELS} channels")
    return value


KindName = Annotated[Kind, BeforeValidator(_kind), WithJsonSchema({"enum": list(LISTED)})]
SeverityName = Annotated[
    Severity,
    BeforeValidator(_severity),
    WithJsonSchema({"enum": [each.name.lower() for each in Severity]}),
]
Minutes = Annotated[
    int, BeforeValidator(minutes), WithJsonSchema({"type": "string", "examples": ["08:00"]})
]
Quiet = Annotated[
    tuple[int, int],
    BeforeValidator(_quiet),
    WithJsonSchema({"type": "string", "examples": ["22:00-07:00"]}),
]


class NotifyChannel(SettingLists):
    """One channel as the file has it; `at_once` and `digest` None: as if nothing was said. See
    `Channel`."""

    url_file: File | None = None
    at_once: tuple[KindName, ...] | None = None
    digest: tuple[KindName, ...] | None = None
    severity: SeverityName = Severity.INFO
    quiet: Quiet | None = None
    logs: int = Field(default=5, ge=0, le=MOST_LINES, strict=True)
    digest_at: Minutes = 8 * 60

    @model_validator(mode="after")
    def _one_place(self) -> NotifyChannel:
        if both := sorted(set(self.at_once or ()) & set(self.digest or ())):
            raise ValueError(f"{', '.join(both)} stands in at_once and in digest: keep one of them")
        return self

    def channel(self, name: str, urls: tuple[Secret, ...]) -> Channel:
        """With what was left out filled in: what one list names is not in the default of the
        other."""
        at_once = (
            AT_ONCE - set(self.digest or ()) if self.at_once is None else frozenset(self.at_once)
        )
        digest = DIGEST - at_once if self.digest is None else frozenset(self.digest)
        return Channel(
            name, urls, at_once, digest, self.severity, self.quiet, self.logs, self.digest_at
        )


Channels = Annotated[dict[str, NotifyChannel], BeforeValidator(_names)]
