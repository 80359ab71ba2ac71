"""Options and arguments that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="Session id, the beginning of one, or `last`.")]
Folder = Annotated[Path, typer.Option("--workspace", "-w", metavar="DIR", help="The folder to work in.")]
Attach = Annotated[
    list[str] | None, typer.Option("--attach", metavar="PATH|URL", help="Send this image, PDF or text with it; repeatable.")
]
Ask = Annotated[list[str] | None, typer.Option("--ask", metavar="RULE", help="Ask before this runs; bash is asked anyway.")]
Deny = Annotated[list[str] | None, typer.Option("--deny", metavar="RULE", help="Never run this: `TOOL` or `TOOL(PATTERN)`.")]
Allow = Annotated[list[str] | None, typer.Option("--allow", metavar="RULE", help="Run this without asking.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Approve everything that is asked.")]
Replay = Annotated[
    Path | None, typer.Option("--replay", metavar="FILE", help="Let this recording answer: no key, no network.")
]
