"""LateShell: the parser of shell commands, which is loaded when the first one is judged."""

from __future__ import annotations

from ..contracts import ShellCommand, ShellParser


class LateShell:
    """The parser of shell commands, made when the first one is judged."""

    def __init__(self) -> None:
        self._shell: ShellParser | None = None

    def parse(self, command: str) -> ShellCommand:
        if self._shell is None:
            from ..workspaces.shell import Shell

            self._shell = Shell()
        return self._shell.parse(command)
