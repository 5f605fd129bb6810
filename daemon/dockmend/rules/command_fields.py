"""Which arguments of a command may hold a field that strangers fill: `{container.labels[x]}`,
`{payload.text}`.

A list of arguments needs no quoting, but a program may read an argument as code: `sh -c`, `perl
-e`, `env -S`, `find -exec`, `--eval=`. Nobody can list them all, so it is said what is allowed: a
field in `env` always, and an argument of its own for a program that is not known to run what it is
given. See docs/rules.md, "Fields in commands".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dockmend.rules.fields import CATALOGUE, CONTEXTS
from dockmend.rules.templates import compile_template

_OWN: Final = frozenset({
    "rule.name", "incident.id", "trigger", "container.id", "container.image_id", "container.host",
    "network.id", "host",
})  # fmt: skip
"""Written by dockmend, the engine or whoever wrote the rule."""

PLAIN: Final = _OWN | {
    field.path
    for field in CATALOGUE.values()
    if field.type in ("number", "time", "flag") or field.choices
}
"""Fields that no stranger can fill with a text of their own."""

SHELLS: Final = frozenset(
    {
        "sh",
        "ash",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "mksh",
        "fish",
        "csh",
        "tcsh",
        "rbash",
        "yash",
        "hush",
    }
)
INTERPRETERS: Final = SHELLS | {"python", "pypy", "perl", "ruby", "node", "nodejs", "php"}
"""Programs that read their own program from a file or an option, and give it the arguments after
that as data."""

_FILE: Final = re.compile(r"(?=.*[./])[\w./][^\s:]*")
"""A file that an interpreter runs: with a dot or a slash in it, as `inspect` and `run` are commands
of `node`."""

_TAKES_CODE: Final = {
    **dict.fromkeys(SHELLS, re.compile(r"-[abefhilruvxC]*c")),
    **dict.fromkeys(("python", "pypy"), re.compile(r"-[bBEIOsSuvq]*c")),
    # Not with -n, -p or -i: then the data are names of files, and perl runs one that ends in a pipe
    # sign.
    **dict.fromkeys(("perl", "ruby"), re.compile(r"-w?[eE]")),
    **dict.fromkeys(("node", "nodejs"), re.compile(r"-[ep]")),
    "php": re.compile(r"-r"),
}
"""By interpreter, the option that takes code from the next argument. No letter in it takes an
argument of its own."""

RUNNERS: Final = frozenset({
    "busybox", "toybox", "env", "su", "sudo", "doas", "runuser", "gosu", "su-exec", "setpriv",
    "chroot", "nsenter", "unshare", "setuidgid", "chpst", "xargs", "parallel", "timeout", "nice",
    "ionice", "nohup", "setsid", "stdbuf", "flock", "script", "strace", "ltrace", "gdb", "time",
    "watch", "taskset", "tini", "dumb-init", "catatonit", "ssh", "sshpass", "dropbear", "dbclient",
    "rsh", "rsync", "docker", "podman", "nerdctl", "kubectl", "crictl", "ctr", "systemd-run", "at",
    "batch", "screen", "tmux", "expect", "make", "git", "tar", "find", "fd", "eval", "exec",
    "command", "source", "socat", "ip", "pkexec", "run0", "newgrp", "sg", "runcon", "prlimit",
    "numactl", "chrt", "cpulimit", "bwrap", "firejail", "proot", "fakeroot", "fakechroot",
    "start-stop-daemon", "run-parts", "envdir", "softlimit", "setlock", "s6-setuidgid",
    "s6-applyuidgid", "s6-envdir", "s6-softlimit", "execlineb", "with-contenv", "npx", "npm",
    "pnpm", "yarn", "uvx", "pipx", "buildah", "lxc", "lxc-attach", "incus", "machinectl",
    "systemd-nspawn", "catchsegv", "valgrind", "entr", "faketime", "unbuffer", "rlwrap", "torsocks",
    "proxychains",
})  # fmt: skip
"""Programs that begin another one which their arguments name."""

LANGUAGES: Final = frozenset({
    "awk", "gawk", "mawk", "nawk", "sed", "ed", "ex", "vi", "vim", "nvim", "emacs", "jq", "yq",
    "bc", "dc", "m4", "lua", "luajit", "tclsh", "wish", "deno", "bun", "groovy", "jshell", "scala",
    "r", "rscript", "julia", "octave", "erl", "elixir", "ghc", "guile", "osascript", "pwsh",
    "powershell", "psql", "mysql", "mariadb", "sqlite", "sqlite3", "mongo", "mongosh", "redis-cli",
    "valkey-cli", "clickhouse-client", "clickhouse", "cqlsh", "influx", "sqlplus", "sqlcmd", "isql",
    "duckdb", "rabbitmqctl", "etcdctl", "cypher-shell",
})  # fmt: skip
"""Programs with a language of their own: an operand or an option is a program or a query."""

_SHORT: Final = re.compile(r"-[A-Za-z]?[A-Za-z]?[ceE][A-Za-z]{0,2}")
_CODE: Final = frozenset({
    "exec", "execute", "execdir", "eval", "evaluate", "command", "commands", "cmd", "script",
    "code", "expr", "expression", "program", "shell", "run", "hook", "query", "sql", "ok",
})  # fmt: skip
"""Words of long options after which a program may run what it is given: `--eval`, `-exec`,
`--init-command`."""

_VERSION: Final = re.compile(r"[-.0-9]+$")


@dataclass(frozen=True, slots=True)
class Argument:
    """`text` as written; `fields`: those of strangers that it names; `whole`: it is one of them and
    nothing else."""

    text: str
    fields: frozenset[str] = frozenset()
    whole: bool = False


def argument(text: str, contexts: frozenset[str] = CONTEXTS) -> Argument:
    """An argument as it is written in a rule. Raises LanguageError."""
    if "{" not in text and "}" not in text:
        return Argument(text)
    template = compile_template(text, contexts)
    fields = template.fields - PLAIN
    return Argument(template.text, fields, bool(fields) and len(template.pieces) == 1)


def trouble(arguments: Sequence[Argument]) -> str | None:
    """Why these arguments are refused, or None; for a person."""
    program = _name(arguments[0].text) if arguments else ""
    for place, each in enumerate(arguments):
        if each.fields and (why := _refused(program, arguments, place)) is not None:
            return f"the field {{{min(each.fields)}}} {why}: pass it by `env`"
    return None


def _refused(program: str, arguments: Sequence[Argument], place: int) -> str | None:
    each = arguments[place]
    if not place:
        return "would name the program"
    if program in INTERPRETERS:
        return None if _is_data(arguments, place) else f"stands where {program} may run it"
    runner = next(
        (name for each in arguments[:place] if (name := _name(each.text)) in RUNNERS | SHELLS), None
    )
    if runner is not None or program in LANGUAGES:
        return f"stands where {runner or program} may run it"
    literal = re.sub(r"\{[^{}]*\}", "", each.text)
    if not each.whole and re.search(r"\s", literal):
        return "stands in a text with spaces, which may be a program"
    option = each.text if each.text.startswith("-") else _option_before(arguments, place)
    if _runs(option):
        return f"follows {option.partition('=')[0]}, after which a program may run it"
    return None


def _is_data(arguments: Sequence[Argument], place: int) -> bool:
    """Of an interpreter: `[PROGRAM, FILE, …, FIELD]` and `[PROGRAM, -c, CODE, --, …, FIELD]`. What
    comes after the file or the code is data. Any other option may take the next argument, and then
    the field is the file or the code."""
    if not arguments[place].whole or any(
        each.fields and not each.whole for each in arguments[:place]
    ):
        return False
    written = [each.text for each in arguments]
    if place > 1 and _FILE.fullmatch(written[1]) and not arguments[1].fields:
        return True
    takes_code = _TAKES_CODE[_name(written[0])]
    return (
        place > 3
        and takes_code.fullmatch(written[1]) is not None
        and not written[2].startswith(("-", "+"))
        and not arguments[2].fields
        and written[3] == "--"
    )


def _option_before(arguments: Sequence[Argument], place: int) -> str:
    before = arguments[place - 1].text
    if before == "--" and place > 1:
        before = arguments[place - 2].text
    return before if before.startswith("-") and "=" not in before else ""


def _runs(option: str) -> bool:
    """Whether a program may run what follows an option."""
    name = option.partition("=")[0]
    words = set(name.strip("-").lower().split("-"))
    return _SHORT.fullmatch(name) is not None or (
        name.startswith("-") and not words.isdisjoint(_CODE)
    )


def _name(text: str) -> str:
    """A program's name without its folder and its version: `/usr/bin/python3.11` is `python`."""
    name = text.rpartition("/")[2].lower()
    return _VERSION.sub("", name) or name


def like_an_option(arguments: Sequence[Argument], filled: Sequence[str]) -> str | None:
    """The first field whose text made an option of an operand, which `--` before it would have
    prevented."""
    for place, each in enumerate(arguments):
        made = bool(each.fields) and filled[place].startswith("-") and not each.text.startswith("-")
        if made and "--" not in (other.text for other in arguments[:place]):
            return min(each.fields)
    return None
