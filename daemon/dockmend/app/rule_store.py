"""The rules in force: loaded all or nothing, kept as the last good set in the state folder,
reloaded on a change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import structlog
from watchfiles import Change, awatch
from watchfiles.main import FileChange

from dockmend import folders
from dockmend.decide import looks_back
from dockmend.errors import InvalidFiles
from dockmend.file_trust import Untrusted
from dockmend.rules.label_rules import with_label_rules
from dockmend.rules.loader import load_texts
from dockmend.rules.owner_labels import LONGEST_WINDOW
from dockmend.rules.redacted_rules import without_secrets
from dockmend.rules.rule import RuleSet
from dockmend.rules.rule_files import read_files, rule_names, without_folder
from dockmend.settings import Settings

log = structlog.get_logger("dockmend.rules")

LAST_GOOD = "rules.last-good"
LOOK_AGAIN = 5.0  # seconds between two looks at the folder of the rules


@dataclass(slots=True)
class RuleStore:
    """`problems` are those of the last load; `degraded` says why the present set is not the one in
    the folder.

    `observes`: a cold start found wrong rules and no last good ones; nothing is done until they are
    mended.
    """

    settings: Settings
    host: str
    clock: Callable[[], float]
    current: RuleSet = field(default_factory=RuleSet)
    problems: tuple[str, ...] = ()
    degraded: str | None = None
    loaded_at: float = 0.0
    observes: bool = False
    # the files of `current`, by path, as they were loaded
    texts: Mapping[str, bytes] = field(default_factory=dict)
    healers: tuple[str, ...] = ()  # other healers on this host: the built-in rule then only shadows
    # how the folder looked just before it was last read
    _loaded: _Looks | None = None
    # of which `texts`
    _shown: tuple[Mapping[str, bytes] | None, Mapping[str, str]] = (None, MappingProxyType({}))

    @property
    def looks_back(self) -> float:
        """Seconds of history that the limits of the rules in force ask about, and the host's
        budget."""
        budget = self.settings.limits.rate
        asked = (
            LONGEST_WINDOW if rule.tailor else looks_back(rule.limits)
            for rule in self.current.rules
        )
        return max(budget[1] if budget else 0.0, *asked, 0.0)

    def counts(self) -> tuple[int, int, int, int]:
        """How many act, are off and only shadow, and the problems that are errors."""
        rules = self.current.rules
        shadow = sum(
            1 for rule in rules if rule.enabled and (rule.dry_run or self.settings.dry_run)
        )
        enabled = sum(1 for rule in rules if rule.enabled)
        errors = sum(1 for problem in self.problems if ": warning: " not in problem)
        return enabled - shadow, len(rules) - enabled, shadow, errors

    def _load(self, owner: str) -> tuple[RuleSet, Mapping[str, bytes]]:
        """What the folder holds, in files of `owner`, and the bytes it was loaded from, kept as the
        last good ones.

        For a thread: 8,000 rules, or a wrong file of 1 MiB, take a second of the processor. Raises
        InvalidFiles.
        """
        folder = self.settings.paths.rules
        self._loaded = _looks(folder)
        # a fresh install has no folder: the built-in rule is enough
        sources = [folder] if folder.exists() else []
        contents, problems = read_files(sources, owner)
        rules = load_texts(
            contents, host=self.host, problems=problems, channels=self.settings.notify
        )
        self._keep(contents)
        return rules, contents

    async def shown(self) -> Mapping[str, str]:
        """The files of `current` as anybody who may use the command socket may read them."""
        texts, shown = self._shown
        if texts is not self.texts:
            texts = self.texts
            shown = await asyncio.to_thread(_without_secrets, texts)
            self._shown = texts, shown
        return shown

    def use(self, files: RuleSet, contents: Mapping[str, bytes]) -> RuleSet:
        """Puts a set in force; `contents`: the files that it was read from."""
        self.texts = contents
        self.current = with_label_rules(
            files, self.settings.heal, self.healers, acts=not self.observes
        )
        self.problems = tuple(str(problem) for problem in files.warnings)
        self.degraded = None
        self.loaded_at = self.clock()
        return self.current

    def again(self) -> RuleSet:
        """The same files, with the built-in rule made anew (another healer was found)."""
        files = replace(
            self.current, rules=tuple(rule for rule in self.current.rules if not rule.builtin)
        )
        degraded, problems = self.degraded, self.problems
        rules = self.use(files, self.texts)
        self.degraded, self.problems = degraded, problems
        return rules

    async def start(self) -> RuleSet:
        """The rules of a cold start: the folder's, else the last good set, else none: then dockmend
        only observes."""
        folder = self.settings.paths.rules
        if not folder.exists():  # it is waited for, and may be one that was misspelt
            missing = f"{folder} {without_folder(self.settings.heal)}"
            log.warning(missing, id="rules_folder_missing")
        try:
            files, contents = await asyncio.to_thread(self._load, self.settings.policy.rules_owner)
        except InvalidFiles as error:
            problems = tuple(str(problem) for problem in error.problems)
            kept = await asyncio.to_thread(self._last_good)
            _tell(problems)
            self.observes = kept is None
            self.use(*(kept or (RuleSet(), {})))
            self.problems = problems
            self.degraded = "the rule files are wrong" + (
                ": the last good set is in force"
                if kept
                else " and there is no last good set: nothing is done"
            )
            return self.current
        _warn(files)
        return self.use(files, contents)

    async def reload(self, owner: str) -> RuleSet:
        """Raises InvalidFiles, and nothing has changed but `problems`."""
        try:
            files, contents = await asyncio.to_thread(self._load, owner)
        except InvalidFiles as error:
            self.problems = tuple(str(problem) for problem in error.problems)
            raise
        self.observes = False
        _warn(files)
        return self.use(files, contents)

    async def watch(self, changed: Callable[[], None]) -> None:
        """Calls `changed` after every change of the folder's files, and if the folder comes, goes
        or becomes another; until cancelled. Raises OSError if the system cannot watch it.

        What the system tells is not all: it watches the folder that it was given, and is silent if
        that one is moved away and another takes its name. So the folder is looked at too.
        """
        folder, told = self.settings.paths.rules, self._loaded
        while True:
            begun = await asyncio.to_thread(_looks, folder)
            if begun not in (self._loaded, told):
                changed()
            told = begun
            if begun is None:
                await asyncio.sleep(LOOK_AGAIN)
                continue
            with suppress(FileNotFoundError):  # it went meanwhile
                async with aclosing(_changes(folder)) as changes:
                    async for heard in changes:
                        now = await asyncio.to_thread(_looks, folder)
                        if heard or now not in (self._loaded, told):
                            changed()
                        told = now
                        if now is None or now.place != begun.place or _of_removal(heard):
                            break

    def _last_good(self) -> tuple[RuleSet, Mapping[str, bytes]] | None:
        """The set that was kept; None if there is none, or if others than dockmend could have
        written it."""
        folder = self.settings.paths.state / LAST_GOOD
        if not folder.exists():
            return None
        contents, problems = read_files(folder, owner="root")
        try:
            if not contents and not problems:
                return None
            # Not held to the channels: one that was taken out of the settings must not end all
            # healing.
            return load_texts(contents, host=self.host, problems=problems), contents
        except InvalidFiles as error:
            log.warning(
                "the last good rules cannot be used",
                id="last_good_rules_unusable",
                problems=[str(problem) for problem in error.problems],
            )
            return None

    def _keep(self, contents: Mapping[str, bytes]) -> None:
        """The very bytes that were loaded, so that a cold start with wrong files has something to
        stand on."""
        folder = self.settings.paths.state / LAST_GOOD
        if not self.settings.paths.rules.exists():
            return
        try:
            folders.made(folder, 0o700)
            for path, content in contents.items():
                folders.replace(folder / Path(path).name, content, 0o600)
            for old in set(rule_names(folder)) - {Path(path).name for path in contents}:
                (folder / old).unlink()
        except (OSError, Untrusted) as error:
            log.warning(
                "the last good rules could not be kept",
                id="last_good_rules_not_kept",
                error=str(error),
            )


def _changes(folder: Path) -> AsyncGenerator[set[FileChange]]:
    """What the system tells of a folder; an empty set after LOOK_AGAIN in which it told nothing."""
    wait = int(LOOK_AGAIN * 1000)
    return awatch(folder, debounce=200, step=50, rust_timeout=wait, yield_on_timeout=True)


def _of_removal(heard: set[FileChange]) -> bool:
    """It may be of the folder itself, and a new one may get the old one's inode."""
    return any(kind is Change.deleted for kind, _ in heard)


def _without_secrets(texts: Mapping[str, bytes]) -> dict[str, str]:
    return {
        path: without_secrets(text).decode("utf-8", "surrogateescape")
        for path, text in texts.items()
    }


def _warn(files: RuleSet) -> None:
    """Who else gives orders, at each load: nobody else would notice."""
    for problem in files.warnings:
        if problem.line == 0:
            log.warning(
                "rule files are open to others", id="rule_file_open_to_others", problem=str(problem)
            )


def _tell(problems: tuple[str, ...]) -> None:
    for problem in problems:
        log.error("rule error", id="rule_error", problem=problem)


def tell_problems(error: InvalidFiles) -> None:
    """Why a reload changed nothing."""
    for problem in error.problems:
        log.error(
            "rule error: the rules in force stay", id="rule_error_rules_stay", problem=str(problem)
        )


@dataclass(frozen=True, slots=True)
class _Looks:
    """A folder of rules as the file system shows it without reading a file: which folder it is, and
    of each file its name, its inode, its size and when it was written."""

    place: tuple[int, int]
    files: tuple[tuple[str, int, int, int], ...]


def _looks(folder: Path) -> _Looks | None:
    """None: there is no such folder, or dockmend may not look into it."""
    try:
        place = folder.stat()
        names = rule_names(folder)
    except OSError:
        return None
    files = []
    for name in names:
        try:
            seen = (folder / name).stat()
        except OSError:  # removed meanwhile, or a link to nothing
            continue
        files.append((name, seen.st_ino, seen.st_size, seen.st_mtime_ns))
    return _Looks((place.st_dev, place.st_ino), tuple(files))
