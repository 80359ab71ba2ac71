"""Shell: a shell command as the simple commands it would run. `Shell` reads one; it implements `contracts.ShellParser`.

`parser` puts together what the `grammar` reads and what `programs` do with their words, and asks for a second opinion.
"""

from __future__ import annotations

from .parser import MAX_COMMAND, Shell

__all__ = ["MAX_COMMAND", "Shell"]
