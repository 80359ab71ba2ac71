"""The grammar of bash, as far as it decides which commands a text would run: simple commands, their words and redirections.

Owns reading. Leaves out what programs do with their words (`programs`) and the second opinion (`parser`). It reads as
bash does with `-c`: no history, no aliases, no extended globs. It runs and expands nothing: a word with an expansion in it
is kept as written and known to be uncertain.

Rules a change must keep: what is not understood for sure is a problem, never a guess; every substitution in every place
(strings, here-documents, defaults of variables, tests, patterns) is read as commands; time grows with the text, and nesting
is limited.
"""

from __future__ import annotations

from .reader import Reader

__all__ = ["Reader"]
