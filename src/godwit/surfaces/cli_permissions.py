"""`godwit permissions`: what the rules say of a call, part by part, and the rules that were saved for a folder.

`check` changes nothing and runs nothing. Its exit code is the verdict: 0 allow, 1 deny, 3 ask.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InvalidToolArguments, ToolNotFound
from ..core.rules import Verdict, covers, parse
from .cli_agent import AgentFlags
from .cli_control import json_object
from .cli_exit import DONE, FAILED, LIMITED, NOT_FOUND, CliError
from .cli_place import Place, find
from .cli_view import write_json
from .cli_words import visible

if TYPE_CHECKING:
    from ..contracts import Tool
    from ..engine.permissions import Judgement, Policy

CODES: dict[Verdict, int] = {"allow": DONE, "deny": FAILED, "ask": LIMITED}
WHAT = ("check", "list", "allow", "ask", "deny", "remove")


async def permissions(
    place: Place,
    what: str,
    text: str | None,
    flags: AgentFlags,
    workspace: Path,
    *,
    tool: str | None,
    arguments: str | None,
    session: str | None,
    agent: str | None,
    as_json: bool,
) -> int:
    """Do what was asked for; see `WHAT`."""
    if what not in WHAT:
        raise CliError(f"godwit permissions {what!r}: it is one of {', '.join(WHAT)}")
    folder = str(workspace.resolve())
    if what == "check":
        rules = await _policy(place, flags, folder, session, agent)
        return _check(text, rules, tool, arguments, as_json=as_json)
    if what == "list":
        return await _list(place, folder, as_json=as_json)
    if text is None:
        raise CliError(
            f"which rule? godwit permissions {what} RULE", hint="such as 'bash(git status:*)' or 'write(docs/**)'"
        )
    if what == "remove":
        return await _remove(place, text, folder, as_json=as_json)
    _doubt(text)
    verdict: Verdict = "allow" if what == "allow" else "ask" if what == "ask" else "deny"
    async with place.open(make=True) as runtime:
        await runtime.store.save_rule(verdict, text, workspace=folder)
    if as_json:
        write_json({"rule": text, "verdict": verdict, "workspace": folder})
    else:
        print(f"{verdict} {visible(text)}: saved for {folder}")
    return DONE


def _check(text: str | None, rules: tuple[Policy, str], tool: str | None, arguments: str | None, *, as_json: bool) -> int:
    from ..tools.toolbox import default_toolbox

    name = tool or "bash"
    if arguments is not None:
        given = json_object(arguments)
        if text is not None:
            raise CliError("--args and a text are given; one of them says what the call is")
    elif text is not None:
        given = {_MAIN.get(name, "command"): text}
    else:
        raise CliError("which call? give the command, or --tool NAME --args JSON")
    policy, folder = rules
    try:
        found = next(t for t in default_toolbox().select([name]) if t.definition.name == name)
    except (ToolNotFound, StopIteration):
        raise CliError(f"there is no tool named {name!r}", code="tool_not_found", exit_code=NOT_FOUND) from None
    if arguments is not None:
        try:
            found.validate(given)
        except InvalidToolArguments as error:
            raise CliError(error.message) from None
    else:
        # What else the tool needs says nothing about where it would work.
        given = {**dict.fromkeys(found.definition.parameters.get("required", ()), ""), **given}
    judged = policy.judge(found, given, folder)
    return _tell(judged, policy, found, given, folder, as_json=as_json)


_MAIN = {
    "bash": "command",
    "read": "file_path",
    "write": "file_path",
    "edit": "file_path",
    "patch": "file_path",
    "ls": "path",
    "glob": "pattern",
    "grep": "pattern",
    "web_fetch": "url",
}
"""The argument that a bare text stands for."""


async def _policy(
    place: Place, flags: AgentFlags, folder: str, session: str | None, stored: str | None
) -> tuple[Policy, str]:
    """The rules that hold, and the folder: those of a session, or of a new one of a stored agent or of the flags'."""
    from ..engine.permissions import policy_of, saved_permissions
    from ..workspaces.shell import Shell
    from .cli_settings import load

    if session is not None:
        async with place.open() as runtime:
            row = await find(runtime, session)
            _, spec = await runtime.store.get_agent(row.agent.name, row.agent.version)
            state = await (await runtime.open_session(row.id, drive=False)).state()
            saved = await runtime.store.rules(workspace=row.workspace, tenant=row.labels.tenant)
            agent, own, folder = spec.permissions, state.permissions, row.workspace or folder
    else:
        agent, own, saved = flags.agent("none:none").spec.permissions, None, []
        if stored is not None or place.exists():
            async with place.open_store() as store:
                saved = await store.rules(workspace=folder)
                if stored is not None:
                    agent = (await store.get_agent(stored))[1].permissions
    return policy_of(agent, load(folder).standing, saved_permissions(saved), own, shell=Shell()), folder


def _doubt(text: str) -> None:
    """Say so when a rule is about no tool that is known here: misspelt, it would do nothing."""
    from ..tools.toolbox import default_toolbox

    toolbox, rule = default_toolbox(), parse(text)
    known = [tool.definition.name for name in toolbox.names for tool in toolbox.select([name])]
    if rule.tool.startswith("mcp__") or any(covers(rule, name) for name in (*known, "web_search")):
        return
    close = difflib.get_close_matches(rule.tool, known, n=1)
    meant = f": did you mean {close[0]!r}?" if close else "; the rule does nothing unless an agent brings one"
    print(f"note: there is no tool {rule.tool!r} here{meant}", file=sys.stderr)


def _tell(judged: Judgement, policy: Policy, tool: Tool, arguments: dict[str, Any], folder: str, *, as_json: bool) -> int:
    offered = policy.suggest(tool, arguments, folder)
    if as_json:
        parts = [
            {"text": p.text, "verdict": p.verdict, "reason": p.reason, "rule": p.rule, "layer": p.layer}
            for p in judged.parts
        ]
        facts = {"verdict": judged.verdict, "reason": judged.reason, "rule": judged.rule, "layer": judged.layer}
        write_json({**facts, "parts": parts, "offered": list(offered)})
        return CODES[judged.verdict]
    print(f"{judged.verdict}: {visible(judged.reason)}{_from(judged.rule, judged.layer)}")
    for part in judged.parts if len(judged.parts) > 1 else ():
        print(f"  {part.verdict:<5} {visible(part.text)}")
        print(f"        {visible(part.reason)}{_from(part.rule, part.layer)}")
    for rule in offered:
        print(f"  a rule that would allow it: {visible(rule)}")
    return CODES[judged.verdict]


def _from(rule: str | None, layer: str | None) -> str:
    return f" ({layer})" if rule is not None and layer is not None else ""


async def _list(place: Place, folder: str, *, as_json: bool) -> int:
    """The rules of files, of an answer for good, or saved here; not those of agents and sessions."""
    from .cli_settings import load

    config, saved = load(folder), []
    if place.exists():
        async with place.open_store() as store:
            saved = await store.rules(workspace=folder)
    found = [
        (layer.name, verdict, rule)
        for layer in config.standing.layers
        for verdict in ("deny", "allow", "ask")
        for rule in getattr(layer.permissions, verdict)
    ]
    found += [("saved", one.verdict, one.rule) for one in saved]
    for layer, verdict, rule in found:
        if as_json:
            write_json({"rule": rule, "verdict": verdict, "layer": layer, "workspace": folder})
        else:
            print(f"{verdict:<5} {layer:<7} {visible(rule)}")
    if not as_json:
        for notice in config.notices:
            print(f"note: {notice}")
        if not found:
            print(f"no rule is saved for {folder}")
    return DONE


async def _remove(place: Place, rule: str, folder: str, *, as_json: bool) -> int:
    async with place.open() as runtime:
        removed = await runtime.store.delete_rule(rule, workspace=folder)
    if not removed:
        raise CliError(
            f"no rule {rule!r} is saved for {folder}",
            hint=f"{place.command('permissions', 'list')} lists them",
            code="not_found",
            exit_code=NOT_FOUND,
        )
    if as_json:
        write_json({"rule": rule, "removed": True, "workspace": folder})
    else:
        print(f"{visible(rule)}: removed")
    return DONE
