"""The configuration as a command sees it: the files, the environment, and what was typed with `godwit --set`.

Rule: whatever of the command line reads the configuration does so here, or a setting that was typed counts in some verbs and
not in others. What was typed is the process's: one process carries out one command.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .cli_exit import CliError

if TYPE_CHECKING:
    from ..host.config import Config

_typed: dict[str, Any] = {}


def take(given: Sequence[str]) -> None:
    """Let these count from now on, each `section.key=value`. CliError for what is none."""
    from ..host.config_layers import value_of

    found: dict[str, Any] = {}
    for text in given:
        key, value = _split(text)
        if not value.strip():
            raise CliError(f'--set {text!r} gives no value: write {key}=VALUE; the empty text is ""')
        if key in found:
            raise CliError(f"--set {key} is given twice")
        found[key] = value_of(value.strip())
    _typed.clear()
    _typed.update(found)


def also(key: str, value: Any) -> None:
    """A flag that says the same as a setting: it counts as if it had been typed as one, which counts before it."""
    _typed.setdefault(key, value)


def typed() -> dict[str, Any]:
    """The settings that were typed, by their keys."""
    return dict(_typed)


def load(folder: str | os.PathLike[str] | None = None) -> Config:
    """What holds for sessions in this folder. ConfigurationError."""
    from ..host.config import load as read

    return read(folder, options=_typed)


def trusts(folder: str | os.PathLike[str] | None) -> bool:
    """Whether what a folder brings counts. ConfigurationError."""
    from ..host.brought import trusts as asked

    return asked(folder, options=_typed)


def _split(text: str) -> tuple[str, str]:
    """The key and the value; a name in quotes may have a `=` in it."""
    for at, letter in enumerate(text):
        if letter == "=":
            try:
                tomllib.loads(f"{text[:at]} = 0")
            except tomllib.TOMLDecodeError:
                continue
            return text[:at].strip(), text[at + 1 :]
    raise CliError(f"--set {text!r} is no setting", hint="write section.key=value, as in --set budget.usd=5")
