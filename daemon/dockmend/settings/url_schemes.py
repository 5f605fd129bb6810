"""URLs for messages: what is wrong with one, without showing it."""

from __future__ import annotations

import re
from typing import Final

from dockmend.message_schemes import SCHEMES
from dockmend.rules.language_error import did_you_mean

ON_THE_HOST: Final = frozenset({
    "blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows", "file",
    "exec",
})  # fmt: skip
LACKING: Final = frozenset({
    "fcm", "growl", "session", "sessions", "smpp", "smpps", "sogs", "vapid", "xmpp", "xmpps",
})  # fmt: skip
"""Schemes of apprise that need a further library."""
_EXAMPLE: Final = re.compile(r"(^|/)(…|\.\.\.)/?$")
"""Behind `://`, where documents leave out the rest: `ntfy://…`, as the README has it."""
LONGEST: Final = 4096
"""Characters of a URL."""


def check_url(url: str) -> None:
    """Raises ValueError with what is wrong with a URL for messages, which it does not show: it is a
    secret."""
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if len(url) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    if _EXAMPLE.search(rest):
        raise ValueError(
            "is an example's, which leaves the address out: write the whole URL of your own channel"
        )
    if not mark or not rest or not url.isprintable() or " " in url:
        raise ValueError("is no URL of a service such as ntfys://HOST/TOPIC")
    if scheme in ("http", "https"):
        raise ValueError(
            "is the address of a page: write it as apprise has it, such as discord://ID/TOKEN or "
            "ntfys://HOST/TOPIC, and jsons://HOST/PATH for a webhook of your own"
        )
    if scheme in ON_THE_HOST:
        raise ValueError(
            f"has the scheme {scheme}, which stays on this host: expected a service in the network"
        )
    if scheme in LACKING:
        raise ValueError(
            f"has the scheme {scheme}, which needs a library that dockmend does not come with"
        )
    if scheme not in SCHEMES:
        known = scheme if scheme.isalnum() and scheme.isascii() and len(scheme) <= 20 else ""
        named = f" {known}{did_you_mean(known, SCHEMES)}" if known else ""
        raise ValueError(f"has an unknown scheme{named}")


def service_of(url: str) -> str:
    """The scheme of a URL, which may be shown; of one that is no URL of a service, `unknown`."""
    scheme = url.partition("://")[0].lower()
    return scheme if scheme in SCHEMES else "unknown"


def check_heartbeat(url: str) -> None:
    """Raises ValueError with what is wrong with the URL of the heartbeat, which it does not
    show."""
    scheme, mark, rest = url.partition("://")
    if _EXAMPLE.search(rest):
        raise ValueError(
            "is an example's, which leaves the address out: write the whole URL of your own monitor"
        )
    if (
        not mark
        or not rest
        or scheme.lower() not in ("http", "https")
        or not url.isprintable()
        or " " in url
    ):
        raise ValueError("is no URL that begins with https:// or http://")
    if len(url) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
