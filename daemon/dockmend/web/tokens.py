"""The bearer tokens of the HTTP server: what each may do, and where a person finds it.

They come from the files or credentials that the settings name; a token that they do not name lies
in the state folder, where the first start makes it.
"""

from __future__ import annotations

import enum
import hmac
from dataclasses import dataclass
from pathlib import Path

from dockmend.file_trust import Untrusted
from dockmend.settings import Secret, Settings
from dockmend.settings.secrets import own_secret


class Right(enum.IntEnum):
    """What a token may do; a greater one includes the smaller."""

    READ = 1
    FULL = 2


@dataclass(frozen=True, slots=True)
class Token:
    secret: Secret
    right: Right


@dataclass(frozen=True, slots=True)
class Tokens:
    """`problems`: why tokens are missing, a sentence for each."""

    known: tuple[Token, ...] = ()
    problems: tuple[str, ...] = ()

    def right_of(self, authorization: str | None) -> Right | None:
        """What the bearer of an Authorization header may do; None: nothing.

        It compares all tokens in constant time, whichever matches, so that the time tells nothing.
        """
        scheme, _, given = (authorization or "").partition(" ")
        presented = given.strip().encode("utf-8", "surrogateescape")
        rights = [
            token.right
            for token in self.known
            if hmac.compare_digest(presented, token.secret.reveal().encode())
        ]  # fmt: skip
        return max(rights) if rights and scheme.lower() == "bearer" else None

    def places(self, right: Right) -> str:
        """Where the tokens with a right are, for a person who has none of them; never the
        tokens."""
        found = (
            token
            for token in sorted(self.known, key=lambda each: each.right)
            if token.right >= right
        )
        return " or ".join(
            str(token.secret.source) for token in found if token.secret.source is not None
        )


def own_files(settings: Settings) -> list[Path]:
    """The files in the state folder that are used; of tokens that the settings name there are
    none."""
    return [path for secret, path, _ in _wanted(settings) if secret is None]


def tokens_of(settings: Settings) -> Tokens:
    """The tokens that are in force; makes those that neither settings nor credentials name.

    It reads and writes files. A token that cannot be read or made is missing, and `problems` says
    why.
    """
    known, problems = [], []
    for secret, path, right in _wanted(settings):
        try:
            known.append(Token(secret or own_secret(path), right))
        except OSError as error:
            problems.append(f"the token {path} cannot be read or made: {error.strerror or error}")
        except Untrusted as error:
            problems.append(f"the token {path} is not taken: {error.place} {error}")
        except ValueError as error:
            problems.append(f"the token {path} {error}")
    return Tokens(tuple(known), tuple(problems))


def _wanted(settings: Settings) -> list[tuple[Secret | None, Path, Right]]:
    """What the settings name, or else the file that is used."""
    state = settings.paths.state
    return [
        (settings.http_read_token, state / "http.read.token", Right.READ),
        (settings.http_token, state / "http.token", Right.FULL),
    ]
