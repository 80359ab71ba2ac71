"""`godwit verify`: the checks of a session, recorded there as a report; or those of a folder, which are only run.

Which checks: those named, else those of the agent's policy, else the required ones that fit the folder's files. Rules: with
a session the commands take its own way (hooks, budgets, sandbox) and what came of them stands in its log; without one
nothing is recorded, and that is said. The exit code is 0 only when all passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import GodwitError
from ..core.verification import (
    VerificationCommand,
    VerificationPolicy,
    VerificationPreset,
    VerificationReport,
    summarize,
    summary_text,
)
from .cli_exit import DONE, FAILED, CliError
from .cli_place import Where, find
from .cli_view import REPORTED, JsonView, ScreenView, View, write_json
from .cli_words import clean, seconds

if TYPE_CHECKING:
    from ..contracts import SessionHandle, SessionRow


class Wanted(msgspec.Struct, frozen=True):
    """What was asked for: presets by name, commands as texts, only a list. Without any of them the default applies."""

    presets: Sequence[str] = ()
    commands: Sequence[str] = ()
    listed: bool = False

    def chosen(
        self, presets: Sequence[VerificationPreset], policy: VerificationPolicy | None = None
    ) -> tuple[VerificationCommand, ...]:
        """The commands to run where these presets were found. CliError when there are none."""
        named = {p.name: p for p in presets}
        known = ", ".join(named) or "none"
        if unknown := [name for name in self.presets if name not in named]:
            raise CliError(f"no preset {', '.join(map(repr, unknown))} fits this folder; those that do: {known}")
        if self.presets or self.commands:
            of_presets = (c for name in dict.fromkeys(self.presets) for c in named[name].commands)
            own = (VerificationCommand(text, text) for text in dict.fromkeys(self.commands))
            return (*of_presets, *own)
        commands = (policy or VerificationPolicy(presets=True)).chosen(presets)
        if not commands:
            found = f"; presets with commands that are not required: {known}" if named else ""
            raise CliError(
                f"no checks are known for this folder{found}", hint='name one: --command "make test", or --preset NAME'
            )
        return commands


async def of_session(place: Where, typed: str, wanted: Wanted, subject: str, *, as_json: bool) -> int:
    """Run the checks on the session and record the report in it."""
    async with place.reach() as runtime:
        row = await find(runtime, typed)
        handle = await runtime.open_session(row.id, drive=False)
        presets = await handle.verification_presets()
        if wanted.listed:
            return _list(presets, as_json=as_json)
        commands = wanted.chosen(presets, handle.config.spec.verification)
        view: View = JsonView() if as_json else ScreenView()
        showing = asyncio.ensure_future(_show(handle, row, view)) if not as_json else None
        try:
            report = await handle.verify_commands(subject, commands)
        finally:
            if showing is not None:
                with contextlib.suppress(asyncio.CancelledError, GodwitError):
                    await _done(showing)
            view.settle()
        if as_json:
            write_json({"session": handle.id, **_facts(report)})
        else:
            _say(view, report)
            view.say(f"recorded in session {handle.id}")
        return DONE if report.status == "passed" else FAILED


async def _show(handle: SessionHandle, row: SessionRow, view: View) -> None:
    """The commands as they run, until the report is there."""
    async for item in handle.watch(row.head):
        kind = getattr(item, "type", "")
        if kind == "verification.reported":
            return
        if (
            getattr(item, "kind", "") == "tool_output"
            or getattr(getattr(item, "data", None), "origin", "") == "verification"
        ):
            view.show(item)


async def _done(showing: asyncio.Future[None]) -> None:
    await asyncio.wait([showing], timeout=1.0)
    showing.cancel()
    await showing


async def of_folder(folder: Path, wanted: Wanted, subject: str, *, as_json: bool) -> int:
    """Run the checks in the folder, as a person would; nothing is recorded."""
    from ..engine.checks import Ran, find_presets, judged
    from ..workspaces.local import LocalWorkspace

    if not folder.is_dir():
        raise CliError(f"the workspace {os.fspath(folder)!r} is not a folder")
    workspace = LocalWorkspace(folder)
    presets = await find_presets(workspace)
    if wanted.listed:
        return _list(presets, as_json=as_json)
    view: View = JsonView() if as_json else ScreenView()
    loop = asyncio.get_running_loop()
    checks = []
    for command in wanted.chosen(presets):
        view.say(f"→ {command.command}", "")
        began = loop.time()
        ended = await workspace.execute(
            command.command, output=_through if not as_json else _nowhere, timeout_s=command.timeout_s
        )
        metadata: dict[str, Any] = {"exit_code": ended.exit_code, "timed_out": ended.timed_out, "cancelled": ended.cancelled}
        check = judged(command, Ran("ok" if ended.exit_code == 0 else "error", "", metadata))
        checks.append(check)
        mark, style = REPORTED[check.status]
        view.say(f"{mark} {check.id}  ({seconds(loop.time() - began)})", style)
    report = VerificationReport(subject, tuple(checks))
    if as_json:
        write_json(_facts(report))
    else:
        _say(view, report)
        view.say("nothing is recorded: no session was named")
    return DONE if report.status == "passed" else FAILED


def _through(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _nowhere(chunk: bytes) -> None:
    pass


def _facts(report: VerificationReport) -> dict[str, Any]:
    return {"status": report.status, **msgspec.to_builtins(report), "summary": summary_text(summarize([report]))}


def _say(view: View, report: VerificationReport) -> None:
    for check in report.checks:
        if check.residual_risk is not None:
            mark, style = REPORTED[check.status]
            shown = f"  [{', '.join(check.evidence)}]" if check.evidence else ""
            view.say(f"{mark} {check.id}: {clean(check.residual_risk)}{shown}", style)
    style = "green" if report.status == "passed" else "red" if report.status == "failed" else "yellow"
    view.say(clean(summary_text(summarize([report]))), style)


def _list(presets: Sequence[VerificationPreset], *, as_json: bool) -> int:
    """What would fit, one preset after the other; nothing is run."""
    for preset in presets:
        if as_json:
            write_json(preset)
            continue
        print(f"{preset.name}: {preset.description} ({', '.join(preset.found)})")
        for command in preset.commands:
            print(f"  {command.id:<16} {command.command}{'' if command.required else '   (not required)'}")
    if not presets and not as_json:
        print("no preset fits this folder", file=sys.stderr)
    return DONE
