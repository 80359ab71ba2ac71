"""How a command ends: its exit code, and an error as one line with a hint below it.

    0  done                     5  not found
    1  failed                   6  a conflict: legal in itself, but not now
    2  usage or bad input     130  interrupted
    3  limited
    4  parked: it waits for an answer, or it was paused and there is no terminal

Rules: the codes are stable, scripts depend on them. An error goes to stderr and never as a traceback, unless GODWIT_DEBUG is
set: then the traceback comes first.
"""

from __future__ import annotations

import os
import sys
import traceback

from ..core.errors import (
    ArtifactNotFound,
    AuthenticationFailed,
    Conflict,
    GodwitError,
    InvalidArgument,
    ModelNotFound,
    NotFound,
    ReplayMismatch,
    RewindConflict,
    SessionBusy,
    SessionNotFound,
    SessionOwned,
    SessionPaused,
    ToolNotFound,
    Unreachable,
)
from ..core.events import RunOutcome

DONE, FAILED, USAGE, LIMITED, PARKED, NOT_FOUND, CONFLICT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130

OUTCOMES: dict[RunOutcome, int] = {"done": DONE, "failed": FAILED, "limited": LIMITED, "interrupted": INTERRUPTED}

_HINTS: tuple[tuple[type[GodwitError], str], ...] = (
    (AuthenticationFailed, "godwit auth status shows which providers have a key, and from where"),
    (ModelNotFound, "name it as provider:model; godwit doctor lists the providers"),
    (ToolNotFound, "the tool sets are files and web, and bash is a tool"),
    (ArtifactNotFound, "godwit artifacts ID lists what is kept"),
    (SessionNotFound, "godwit ls --all lists the sessions there are; --db and --server say where to look"),
    (SessionOwned, "godwit log ID --follow shows what it does"),
    (RewindConflict, "--keep leaves theirs, --overwrite puts it back all the same; --preview shows both"),
    (SessionBusy, "put a message into the open run with godwit steer, or queue it with godwit send --follow-up"),
    (SessionPaused, "godwit resume ID lets it go on"),
    (Unreachable, "is it running there? godwit serve starts one; --server and GODWIT_SERVER say where it is"),
    (ReplayMismatch, "give the flags the recording was made with, or record it anew with --record"),
)


class CliError(Exception):
    """An error of the command line itself. `code`: the word in brackets; `exit_code`: see above."""

    def __init__(self, message: str, *, hint: str = "", code: str = "usage", exit_code: int = USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.exit_code = exit_code


def code_of(error: GodwitError) -> int:
    """The exit code for an error of the core."""
    match error:
        case InvalidArgument() | ModelNotFound() | ToolNotFound() | AuthenticationFailed():
            return USAGE
        case NotFound():
            return NOT_FOUND
        case Conflict():
            return CONFLICT
        case _:
            return FAILED


def report(error: BaseException) -> int:
    """Write the error to stderr and return the exit code."""
    if os.environ.get("GODWIT_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    match error:
        case CliError():
            return complain(error.code, error.message, error.hint, error.exit_code)
        case GodwitError():
            hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
            return complain(error.code, error.message, hint, code_of(error))
        case OSError():
            return complain("system", str(error), "", FAILED)
        case _:
            hint = "this is a defect of godwit; GODWIT_DEBUG=1 shows where it happened"
            return complain("internal", f"{type(error).__name__}: {error}", hint, FAILED)


def complain(code: str, message: str, hint: str, exit_code: int) -> int:
    """The two lines themselves."""
    print(f"error[{code}]: {' '.join(message.split())}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return exit_code
