"""Turns whatever aiodocker, aiohttp or the socket raised into dockmend's own errors, at this one
place.

What decides is whether another try can help: a passing state, an engine that is busy or away is
Temporary; an engine that understood and refused is Permanent. The engine's own sentence is kept, on
one line and cut short, since it is the best explanation there is; its text is never trusted beyond
being shown.
"""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aiohttp
import msgspec
from aiodocker.exceptions import DockerError

from dockmend import redaction
from dockmend.errors import EngineAway, EngineError, NotFound, Permanent, Temporary

NO_CONNECTION = 900
"""aiodocker's own "status" where there was no connection at all."""

LONGEST = 300  # characters of the engine's sentence that are kept

_NEVER_PASSES = re.compile(
    r"marked for removal|dead container|invalid symlink|is already in use|is not running|already "
    r"paused|not paused"
    r"|cannot remove|unable to remove|unable to delete|must be forced|no such image|not "
    r"supported|is not implemented"
    r"|not connected to|archive/tar:|endpoint with name|network with name|sharing network "
    r"namespace",
    re.IGNORECASE,
)
"""Refusals with a status (409, 500) that also stands for passing states, but which no waiting mends
(moby's texts)."""

_REASONS = {
    errno.ENOENT: "no such socket: is the engine running?",
    errno.ECONNREFUSED: "connection refused: is the engine running?",
    errno.EACCES: "permission denied: run as root or as a member of the socket's group",
    errno.EMFILE: "no file descriptor is free in this process: raise its limit (LimitNOFILE)",
    errno.ENFILE: "no file descriptor is free on this host",
    errno.EPERM: "permission denied: run as root or as a member of the socket's group",
}
# what OpenSSL adds around its sentence
_OPENSSL = re.compile(r"\[SSL:[^\]]*\]|\(_ssl\.c:\d+\)|^\[Errno[^\]]*\]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def tidy(text: str) -> str:
    """One line of printable text without secrets, at most LONGEST characters: fit for a log and a
    record.

    An engine repeats what it was asked for, such as a command that it could not run.
    """
    line = redaction.text(" ".join(_UNPRINTABLE.sub(" ", text).split()))
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


@contextmanager
def translated(what: str, url: str) -> Iterator[None]:
    """Within it, every error of a call becomes an EngineError whose text begins with `what`
    ("restart web")."""
    try:
        yield
    except DockerError as error:
        if error.status == NO_CONNECTION:
            raise away(url, error.__context__ or error) from None
        raise refused(what, error.status, error.message) from None
    except TimeoutError:
        raise Temporary(f"{what}: the engine did not answer in time") from None
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
        raise away(url, error) from None
    except (msgspec.MsgspecError, aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
        # aiodocker decodes the bodies of errors itself and raises whatever that raises
        raise Temporary(
            f"{what}: the engine's answer was not understood: {tidy(str(error))}"
        ) from None


def refused(what: str, status: int, message: object) -> EngineError:
    """The error for an answer with a status of 400 or more."""
    said = tidy(_message(message)) or f"status {status}"
    text = f"{what}: {said}"
    if status == 404:
        return NotFound(text, status)
    passing = status in (408, 409, 425, 429) or (status >= 500 and status != 501)
    if passing and not (status != 429 and _NEVER_PASSES.search(said)):
        return Temporary(text, status)
    return Permanent(text, status)


def _message(message: object) -> str:
    """The engine's sentence; where a proxy changed the content type, aiodocker leaves it in its
    JSON."""
    text = str(message)
    if text.startswith("{"):
        with suppress(msgspec.MsgspecError, KeyError, ValueError, RecursionError):
            text = msgspec.json.decode(text, type=dict[str, str])["message"]
    return text


def away(url: str, error: BaseException) -> EngineAway:
    """The error for an engine that nobody answers for, with what a person can do about it."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError) or "[SSL:" in str(cause):
        why = (
            f"TLS failed ({_OPENSSL.sub('', tidy(_sentence(cause))).strip()}): check the "
            "certificates"
        )
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        why = "the host's name does not resolve"
    elif isinstance(cause, OSError) and cause.errno in _REASONS:
        why = _REASONS[cause.errno]
    else:
        why = f"connection lost ({tidy(_sentence(cause))})"
    return EngineAway(f"cannot reach the engine at {url.removeprefix('unix://')}: {why}")


def _cause(error: BaseException) -> BaseException:
    """The operating system's or OpenSSL's own error, under what aiohttp wrapped around it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error


def _sentence(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def only_for(error: NotFound, missing: str) -> EngineError:
    """The same error, but NotFound only where the engine misses a `missing` ("container"), else
    Permanent.

    A start that fails for want of a network answers 404 as well: the container is there all the
    same.
    """
    if f"no such {missing}" in str(error).lower():
        return error
    return Permanent(str(error), error.status)
