"""FileProblem: what is wrong with a file that a person wrote for godwit: a command, an agent, a skill."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileProblem:
    """`line` counts from 1. `fatal`: what the file describes is not there because of it; otherwise something of it has no
    effect."""

    file: str
    line: int | None
    message: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"
