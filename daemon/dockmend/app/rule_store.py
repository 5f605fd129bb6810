"""The rules in force: loaded all or nothing, kept as the last good set in the state folder,
reloaded on a change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import structlog
from watchfiles import awatch

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


async def watch_folder(folder: Path, changed: Callable[[], None]) -> None:
    """Calls `changed` after every change of the folder's files; waits for the folder where it does
    not exist."""
    while not await asyncio.to_thread(folder.is_dir):  # noqa: ASYNC110 - nothing tells of a folder before it exists
        await asyncio.sleep(10.0)
    async for _ in awatch(folder, debounce=200, step=50, recursive=True):
        changed()
