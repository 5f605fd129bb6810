"""Secrets taken out of what is written down: parameters, command lines, output, errors, labels.

Pure functions. They know three kinds of secrets: values that are known word for word (a rule gives
them as environment), values in places where secrets stand (`--password …`, `PGPASSWORD=…`,
`user:secret@host`), and texts that are keys, hashes or tokens by their form. `MARK` takes their
place.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from dockmend.message_schemes import SCHEMES

MARK = "***"
"""Stands in place of a secret."""

SHORTEST = 4
"""Characters of a known value that is looked for in texts: a shorter one is part of many words."""
CERTAIN = 6
"""Characters from which on a known value is taken out of the middle of a word too."""
LARGEST_KNOWN = 128 * 1024
"""Characters of all known values together that are looked for."""
MOST_WORK = 100_000_000
"""Known values times the characters of a text in which they are looked for: a tenth of a second."""
MOST_GAPS = 100_000
"""Known values times the gaps in a text: the same."""
MOST_HARMLESS = 4096
"""Texts in which no secret was found that are remembered: events name the same containers again."""
LONGEST_HARMLESS = 256
"""Characters of a text that is remembered: all of them together take a few megabytes at most."""

# -------------------------------------------------------------------------------------------- names
_PARTS = re.compile(r"[A-Z]*[a-z0-9]+|[A-Z0-9]+")
_ENDS = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "secrets",
    "token",
    "apikey",
    "accesskey",
)
_WORDS = frozenset({
    "pass", "pwd", "pw", "passin", "passout", "pgpass", "credential", "credentials", "cred",
    "creds", "auth", "authorization", "cookie", "dsn", "tokens", "privatekey", "passwords",
    "basicauth", "sig", "signature", "webhook", "webhooks",
})  # fmt: skip
_OF_A_KEY = frozenset({
    "api", "access", "private", "secret", "encryption", "master", "signing", "license", "app",
    "account", "auth", "hmac"
})  # fmt: skip
_FILES = frozenset({"file", "path", "stdin", "prompt", "dir"})
"""A name that ends with one of these says where a secret is, or how it is asked for."""
_IN_PROSE = frozenset(
    {
        "key",
        "auth",
        "pass",
        "token",
        "tokens",
        "cookie",
        "secret",
        "cred",
        "sig",
        "signature",
        "webhook",
    }
)
"""Words that a sentence puts before a colon although no secret follows ("unexpected token:
end")."""
_WITHOUT = frozenset({"", "true", "false", "yes", "no", "on", "off", "none", "null", MARK})


def is_secretive(name: str) -> bool:
    """Whether a name (of a variable, an option, a label, a field) says that its value is a
    secret."""
    words = [each.lower() for each in _PARTS.findall(name)]
    if not words or words[-1] in _FILES or words[0] == "no":
        return False
    if words[-1] == "key" and (len(words) == 1 or name.isupper() or words[-2] in _OF_A_KEY):
        return True
    return any(each in _WORDS or each.endswith(_ENDS) for each in words) or any(
        first in _OF_A_KEY and second in ("key", "keys")
        for first, second in itertools.pairwise(words)
    )


# -------------------------------------------------------------------------------------------- texts
_VALUE = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|[^\s"',;&|)}\]]+)""")
_NAMED = re.compile(r"""(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]{2,80})(["']?\s?[=:]\s?)""")
_OPTION = re.compile(r"(?<![A-Za-z0-9_-])(--?[A-Za-z][A-Za-z0-9-]{2,60})(\s+)")
_BY_FORM: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----).*?"
                r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|$)", re.DOTALL),
     rf"\g<1>{MARK}"),
    (re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,20}://[^\s/:@'\"]{0,200}:)"
                r"[^\s/@'\"]{1,500}(?=@)", re.IGNORECASE),
     rf"\g<1>{MARK}"),  # user:secret@host
    (re.compile(r"(https?://(?:hooks\.slack\.com/(?:services|workflows|triggers)|"
                r"(?:[a-z]+\.)?discord(?:app)?\.com/api/(?:v\d+/)?webhooks|[\w.-]+\.webhook\.office\.com|[\w.-]+\.logic\.azure\.com|"
                r"chat\.googleapis\.com/v1/spaces|api\.telegram\.org/bot|maker\.ifttt\.com/trigger|"
                r"hc-ping\.com|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot|"
                r"oapi\.dingtalk\.com/robot))"
                # webhooks: whoever has the URL may post
                r"[^\s,'\"]+", re.IGNORECASE), rf"\g<1>/{MARK}"),
    (re.compile(r"\b((?:Bearer|Basic|Digest|Negotiate)\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE),
     rf"\g<1>{MARK}"),
    (re.compile(r"(\b(?:Set-)?Cookie:\s*)(?=[^\s;'\"]{1,200}=)[^\r\n'\"]+", re.IGNORECASE),
     rf"\g<1>{MARK}"),
    (re.compile(r"(\b(?:IDENTIFIED(?:\s+WITH\s+[\w'\"]{1,40})?\s+BY|PASSWORD)\s+)'[^']+'",
                re.IGNORECASE),
     rf"\g<1>'{MARK}'"),  # SQL
    (re.compile(r"(\bsshpass\s+-p\s*)[^\s'\"]+"), rf"\g<1>{MARK}"),
    (re.compile(r"((?<!\S)(?:-u|--user|--proxy-user)[\s=]+[^\s:'\"]{1,64}:)(?!\d+(?!\S))[^\s'\"]+"),
     rf"\g<1>{MARK}"),
    (re.compile(r"\$(?:apr1|2[abxy]|1|5|6|y|argon2[a-z]{0,2}|scrypt|pbkdf2[a-z0-9-]{0,10})"
                r"\$[^\s:,\"']{8,}"), MARK),
    (re.compile(r"\{(?:S?SHA(?:256|512)?|S?MD5|CRYPT)\}[^\s:,\"']{8,}"), MARK),  # LDAP's hashes
    # JSON web tokens
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), MARK),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk-|[sr]k_live_|hvs\.|"
                r"dop_v1_|npm_|pypi-)"
                r"[A-Za-z0-9_-]{10,}|\bAGE-SECRET-KEY-[A-Z0-9]{10,}|"
                r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MARK),
)  # fmt: skip


_ADDRESS = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s,\"']+")
_SERVICES = SCHEMES - {"x", "mqtt", "mqtts", "amqp", "amqps", "irc", "ircs", "mailto", "mailtos"}
"""Schemes of message services, whose URLs hold their key anywhere. The others are protocols like
any: of these only `user:secret@` is one."""


def text(said: str, known: Iterable[str] = ()) -> str:
    """A text without secrets: those that are `known`, and those that are plain to see."""
    said = _without_known(said, known)
    if said in _harmless:
        return said
    shown = _without_plain(said)
    if shown == said and len(said) <= LONGEST_HARMLESS:
        if len(_harmless) >= MOST_HARMLESS:
            _harmless.clear()
        _harmless.add(said)
    return shown


_harmless: set[str] = set()
"""Texts in which `_without_plain` finds nothing. A text with a secret is never kept here."""


def _without_plain(said: str) -> str:
    """A text without the secrets that are plain to see."""
    for pattern, instead in _BY_FORM:
        said = pattern.sub(instead, said)
    said = _ADDRESS.sub(
        lambda url: f"{url[1]}{MARK}" if url[1][:-3].lower() in _SERVICES else url[0], said
    )
    return _without_values(_without_values(said, _NAMED), _OPTION)


def _without_values(said: str, names: re.Pattern[str]) -> str:
    """A text without the values that stand behind a secretive name."""
    kept, done = [], 0
    for found in names.finditer(said):
        name, sign = found.groups()
        if found.start() < done or not is_secretive(name) or _is_prose(name, sign):
            continue
        value = _VALUE.match(said, found.end())
        if (
            value is not None
            and _is_value(value[0])
            and not (names is _OPTION and value[0].startswith("-"))
        ):
            kept += [said[done : found.end()], MARK]
            done = value.end()
    return "".join((*kept, said[done:]))


def _is_prose(name: str, sign: str) -> bool:
    return sign.strip() == ":" and name.lower() in _IN_PROSE


_VARIABLE = re.compile(r"\$\{?\w+\}?|\{[a-z_.\[\]\"'-]+\}|%\(?\w+\)?[a-z%]?")


def _is_value(value: str) -> bool:
    """Whether it is a value itself: not the name of one that is put in later, and more than a yes
    or a no."""
    bare = value.strip("\"'")
    return bare.lower() not in _WITHOUT and not _VARIABLE.fullmatch(bare)


def _without_known(said: str, known: Iterable[str]) -> str:
    """Known values as they are, and as URLs and shells write them; also where a cut went through
    one.

    The values of a huge environment cannot be looked for in time: then the whole text is taken out.
    """
    known = tuple(known)
    if not known:
        return said
    if sum(map(len, known)) > LARGEST_KNOWN:
        return MARK if said else said
    wanted: set[str] = set()
    for value in known:
        for line in (value, *value.splitlines()):
            line = line.strip()  # noqa: PLW2901 - output is written down without what surrounds a line
            if len(line) >= SHORTEST:
                wanted |= {line, quote(line, safe=""), quote(line), line.replace('"', '\\"')}
    longest = sorted(wanted, key=len, reverse=True)
    if len(longest) * len(said) > MOST_WORK:
        return MARK
    for each in longest:
        if each not in said:
            continue
        if len(each) >= CERTAIN:
            said = said.replace(each, MARK)
        else:
            said = re.sub(rf"(?<![A-Za-z0-9]){re.escape(each)}(?![A-Za-z0-9])", MARK, said)
    return _cut(said, longest) if "…" in said else said


def _cut(said: str, values: Sequence[str]) -> str:
    """Where the middle or the end of a text was left out (…), a part of a value may stand beside
    the gap."""
    pieces = said.split("…")
    last = len(pieces) - 1
    if len(pieces) * len(values) > MOST_GAPS:
        return MARK
    for value in values:
        for number, piece in enumerate(pieces):
            if number < last and (size := _begun(bare := piece.rstrip(), value)):
                pieces[number] = bare[:-size] + MARK
            if number > 0 and (size := _ended(bare := pieces[number].lstrip(), value)):
                pieces[number] = MARK + bare[size:]
    return "…".join(pieces)


def _begun(text: str, value: str) -> int:
    """With how many characters of the begin of a value, but not with all of it, a text ends."""
    end = text[-(len(value) - 1) :]
    at = end.find(value[:SHORTEST])
    while at >= 0:
        if value.startswith(end[at:]):
            return len(end) - at
        at = end.find(value[:SHORTEST], at + 1)
    return 0


def _ended(text: str, value: str) -> int:
    """With how many characters of the end of a value, but not with all of it, a text begins."""
    begin = text[: len(value) - 1]
    at = begin.rfind(value[-SHORTEST:])
    while at >= 0:
        if value.endswith(begin[: at + SHORTEST]):
            return at + SHORTEST
        at = begin.rfind(value[-SHORTEST:], 0, at + SHORTEST - 1)
    return 0


def addresses(said: str) -> str:
    """A text whose URLs say no more than their scheme: those of message services hold their key
    anywhere."""
    return _ADDRESS.sub(rf"\g<1>{MARK}", said)


# ------------------------------------------------------------------------------------ command lines
_PASSWORD_OPTIONS = frozenset({"-p", "-P", "-pw"})
_OTHERWISE = {
    "redis-cli": ("-a",), "curl": ("-u", "-U", "--user", "--proxy-user"), "ldapsearch": ("-w",),
    "ldapmodify": ("-w",), "smbclient": ("-U",),
}  # fmt: skip
"""Further options by program."""
_NO_PASSWORD = frozenset({
    "mkdir", "cp", "tar", "ps", "install", "ssh", "scp", "sftp", "psql", "pg_dump", "pg_dumpall",
    "pg_restore", "pg_isready", "rsync", "docker", "podman", "nc", "ncat", "ping", "nmap", "xargs",
    "touch", "patch",
})  # fmt: skip
"""Programs to which -p and -P say something else (a port, parents, what is kept)."""
_OF_DATABASES = ("mysql", "mariadb", "sshpass")
_ATTACHED = re.compile(r"-p(?:[^=\s]{5,}|(?=\S*[^a-z])\S+)")
"""`-pSECRET`, as mysql takes it; a few small letters are flags (`-pxz`)."""
_SHELL_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"(?:\\.|[^"\\])*"|['"])+""")


def arguments(given: Sequence[str]) -> list[str]:
    """The arguments of a program, in order; what follows a password's option is taken out.

    An argument of several words is taken for a command line (`sh -c "…"`).
    """
    return _scanned([command_line(each) if re.search(r"\s", each) else each for each in given])


def _scanned(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    program, awaited = "", False
    for word in words:
        if awaited and _is_value(word):
            kept.append(MARK)
            awaited = False
            continue
        option = _attached_to(word, program)
        awaited = not option and _asks(word, program)
        name = word.strip("\"'").rpartition("/")[2]
        if name in _NO_PASSWORD or name in _OTHERWISE or name.startswith(_OF_DATABASES):
            program = name
        if not option and not awaited and program not in _NO_PASSWORD and _ATTACHED.fullmatch(word):
            option = "-p" if _is_value(word[2:]) else ""
        kept.append(f"{option}{MARK}" if option else text(word))
    return kept


def _attached_to(word: str, program: str) -> str:
    """The option of a password, with the password behind it in the same word; "" if it is none."""
    if program in _NO_PASSWORD or not word.startswith("-"):
        return ""
    for option in _OTHERWISE.get(program, ()):
        flags = re.match(
            rf"-[fsSkLgGvIiN]*{option[1]}" if program == "curl" else re.escape(option), word
        )
        if len(option) == 2 and flags and _is_value(word[flags.end() :]):
            return flags[0]
    of_database = (
        program.startswith(_OF_DATABASES) and word.startswith("-p") and _is_value(word[2:])
    )
    return "-p" if of_database else ""


def known_arguments(given: Sequence[str]) -> tuple[str, ...]:
    """What `arguments` takes out: secrets that a program may repeat in its output."""
    found = []
    for argument in given:
        words = _SHELL_WORD.findall(argument) if re.search(r"\s", argument) else []
        found += [*known_arguments([word.strip("\"'") for word in words])] if words else []
    for whole, kept in zip(given, _scanned(given), strict=True):
        before, mark, after = kept.partition(MARK)
        if mark and MARK not in after:
            found.append(whole[len(before) : len(whole) - len(after)].strip("\"'"))
    return tuple(found)


def _asks(option: str, program: str) -> bool:
    """Whether the value of a password is the next argument."""
    if not re.fullmatch(r"--?[A-Za-z][A-Za-z0-9_.-]*", option):
        return False
    if option in _OTHERWISE.get(program, ()):
        return True
    if option in _PASSWORD_OPTIONS:
        return program not in _NO_PASSWORD
    return is_secretive(option)


def command_line(line: str) -> str:
    """A shell's command line, or the text of a program; everything but the secrets stays as it
    is."""
    words = [_unquoted(found.group()) for found in _SHELL_WORD.finditer(line)]
    shown = iter(_scanned(words))
    return text(_SHELL_WORD.sub(lambda _: next(shown), line))


def _unquoted(word: str) -> str:
    """A word in quotes that holds several words is a command line of its own."""
    quote_mark = word[0]
    if len(word) > 2 and quote_mark in "\"'" and word[-1] == quote_mark and " " in word:
        return f"{quote_mark}{command_line(word[1:-1])}{quote_mark}"
    return word


# ------------------------------------------------------------------------------------------- labels
_NO_SECRETS = (
    "com.docker.compose.", "com.docker.stack.", "com.docker.swarm.", "org.opencontainers.image.",
    "org.label-schema.", "io.podman.", "desktop.docker.io/", "dockmend.",
)  # fmt: skip
"""Labels that programs set: the hashes in them are those of files, commits and images."""
_DENSE = re.compile(r"(?<![A-Za-z0-9+/=_.:-])[A-Za-z0-9+/_-]{20,}={0,2}(?![A-Za-z0-9+/=_.:-])")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_MIXED = re.compile(r"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])[A-Za-z0-9+]{12,}")


def label(key: str, value: str) -> str:
    """A label's value, without what looks like a hash or a token."""
    if is_secretive(key) and _is_value(value):
        return MARK
    if key.startswith(_NO_SECRETS):
        return text(value)
    return _DENSE.sub(lambda found: MARK if _is_token(found[0]) else found[0], text(value))


def labels(given: Mapping[str, str]) -> dict[str, str]:
    """The same for all of them."""
    return {key: label(key, value) for key, value in given.items()}


def _is_token(word: str) -> bool:
    return bool(_HEX.search(word)) or any(
        _MIXED.fullmatch(part) for part in re.split(r"[/_=-]+", word)
    )


# ------------------------------------------------------------------------------------------ records
_ENVIRONMENT = frozenset({"env", "environment", "args", "headers"})
_COMMANDS = frozenset({"command", "cmd", "entrypoint", "test"})
_LABELS = frozenset({"labels", "options"})


def parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a step, or another structure of the engine's, as they may be written down.

    All values of an environment are taken out, also where a command repeats them; of the rest, what
    is a secret by its place or form.
    """
    kept = {str(key): _parameter(str(key), value) for key, value in given.items()}
    known = known_in(given)
    return {
        key: [_without_known(each, known) for each in value] if _is_command(key, value) else value
        for key, value in kept.items()
    }


def known_in(given: Mapping[str, Any], shown: Iterable[str] = ()) -> tuple[str, ...]:
    """What `parameters` takes out of an environment and a command: a program may repeat it.

    `shown`: as of `known_values`.
    """
    known: list[str] = []
    for key, value in given.items():
        if key.lower() in _ENVIRONMENT and isinstance(value, Mapping):
            known += known_values({str(name): str(each) for name, each in value.items()}, shown)
        elif _is_command(key, value):
            known += known_arguments(value)
    return tuple(each for each in known if each != MARK)


def _is_command(key: str, value: Any) -> bool:
    return (
        key.lower() in _COMMANDS
        and isinstance(value, list | tuple)
        and all(isinstance(each, str) for each in value)
    )


def _parameter(key: str, value: Any) -> Any:
    name = key.lower()
    if name in _ENVIRONMENT:
        return _environment(value)
    if name in _LABELS and isinstance(value, Mapping):
        return {str(each): label(str(each), str(inner)) for each, inner in value.items()}
    if isinstance(value, Mapping):
        return parameters(value)
    if isinstance(value, str):
        if name in _COMMANDS:
            return command_line(value)
        return MARK if is_secretive(key) and _is_value(value) else text(value)
    if isinstance(value, list | tuple):
        if _is_command(name, value):
            return arguments(value)
        return [_parameter(key, each) for each in value]
    return value


def _environment(value: Any) -> Any:
    """Names stay, values go: of a mapping, and of a list of NAME=VALUE."""
    if isinstance(value, Mapping):
        return {str(key): MARK for key in value}
    if isinstance(value, list | tuple):
        return [f"{str(each).partition('=')[0]}={MARK}" for each in value]
    return value if value is None else MARK


def known_values(environment: Mapping[str, str], shown: Iterable[str] = ()) -> tuple[str, ...]:
    """The values of an environment that are secrets wherever they turn up.

    `shown`: what is told anyway (the container's name, its image): it stays readable, unless its
    variable's name says that it is a secret.
    """
    told = set(shown)
    return tuple(
        value
        for key, value in environment.items()
        if _is_value(value) and (value not in told or is_secretive(key))
    )
