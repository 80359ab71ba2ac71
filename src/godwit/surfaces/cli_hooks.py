"""`godwit hooks`: what stands in files of hooks, and which of them a call would meet. Runs nothing unless asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.hooks import GATING, HookMatcher, HookPoint, HookResult, HookSpec, point_named
from ..core.ids import SessionId
from .cli_control import json_object
from .cli_exit import DONE, CliError
from .cli_view import write_json
from .cli_words import one_line

if TYPE_CHECKING:
    from ..engine.hooks import Hooks


@dataclass(frozen=True)
class Asked:
    """What is to happen, as the flags say it."""

    point: str
    tool: str | None
    arguments: str | None
    command: str | None
    prompt: str | None

    def told(self) -> tuple[HookPoint, dict[str, Any]]:
        """The point, and what its hooks would be told, as far as the flags say."""
        if self.prompt is not None:
            if self.tool or self.arguments or self.command:
                raise CliError("--prompt asks about a prompt, the other flags about a call")
            return "before_prompt", {"prompt": self.prompt, "content": [{"type": "text", "text": self.prompt}]}
        point = point_named(self.point)
        arguments = json_object(self.arguments) if self.arguments is not None else {}
        if self.command is not None:
            arguments["command"] = self.command
        tool = self.tool or ("bash" if self.command is not None else None)
        if tool is None:
            if point.endswith("_tool"):
                raise CliError("which call? name a tool with --tool, or a shell command with --command")
            return point, arguments
        payload: dict[str, Any] = {"tool": tool, "call": "call_test", "arguments": arguments, "origin": "model"}
        return point, {**payload, "status": "ok", "result": "", "content": []} if point == "after_tool" else payload


async def show(what: str, files: Sequence[Path], asked: Asked, workspace: Path, *, execute: bool, as_json: bool) -> int:
    """`list` or `test`."""
    from ..engine.hooks import Hooks
    from ..host.hook_settings import read_hooks
    from ..host.hooks import HOOK_KIT

    if what not in ("list", "test"):
        raise CliError(f"godwit hooks {what!r}: it is list or test", hint="godwit hooks list FILE")
    if not files:
        raise CliError("which hooks? name their files, or set GODWIT_HOOKS", hint="godwit hooks list .claude/settings.json")
    hooks = Hooks(SessionId("ses_test"), HOOK_KIT)
    hooks.workspace = str(workspace.resolve())
    for spec in read_hooks(files):
        hooks.register(spec)
    if what == "list":
        for spec in hooks.list():
            write_json(msgspec.to_builtins(spec)) if as_json else print(_line(spec))
        return DONE
    return await _test(hooks, asked, execute=execute, as_json=as_json)


async def _test(hooks: Hooks, asked: Asked, *, execute: bool, as_json: bool) -> int:
    point, payload = asked.told()
    called = hooks.matching(point, payload)
    result = await hooks.fire(point, payload) if execute else None
    if as_json:
        came_to = {} if result is None else {"result": msgspec.to_builtins(result)}
        write_json({"point": point, "payload": payload, "called": [spec.id for spec in called], **came_to})
        return DONE
    print(f"{point} {one_line(msgspec.json.encode(payload).decode(), 90)}")
    for spec in called:
        print(f"  {_line(spec)}")
    if not called:
        print("  no hook is called")
    if result is not None:
        print(f"→ {_came_to(result)}")
    for report in hooks.take_reports():
        print(f"  {report.hook}{' failed' if report.failed else ''}: {one_line(report.text)}")
    return DONE


def _line(spec: HookSpec) -> str:
    gate = "" if spec.point in GATING else " (does not decide)"
    return f"{spec.id}  {spec.point}{gate}  {_for(spec.matcher)}  {one_line(spec.command or '', 60)}".rstrip()


def _for(matcher: HookMatcher) -> str:
    """What a hook is called for, in a few words."""
    said = [f"{key}={value}" for key, value in msgspec.to_builtins(matcher).items() if key != "when"]
    said += [f"{key}={value}" for key, value in matcher.when.items()]
    return " ".join(said) or "always"


def _came_to(result: HookResult) -> str:
    words = [result.action if not result.failed else f"{result.action}, since a hook failed"]
    words += [f"by {result.hook}"] if result.hook else []
    words += [one_line(f"{key}: {value}") for key in ("reason", "note", "message") if (value := getattr(result, key))]
    words += [f"changed to {msgspec.json.encode(result.modified).decode()}"] if result.modified is not None else []
    return "; ".join(words)
