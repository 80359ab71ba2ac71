"""Agents of files on the command line: listed for a folder, taken with `run --agent`, and given to others as subagents.

Owns how such an agent is held to what the flags say when it works for nobody, and how a session follows its files from
prompt to prompt. How files are found and read is `host.agent_files`'s.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..core.agent import AgentSpec, variant_of, with_subagents
from ..core.errors import AgentNotFound, GodwitError
from ..core.rules import Permissions, covers, parse
from .cli_exit import DONE, NOT_FOUND, USAGE, CliError
from .cli_trust import note
from .cli_view import write_json
from .cli_words import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..contracts import EventStore, SessionHandle
    from ..host.agent_files import AgentFiles


def files_of(folder: Path | None) -> AgentFiles:
    """The agent files for a session that works in this folder."""
    from ..host.agent_files import load_all

    return load_all(os.fspath((folder or Path(".")).resolve()))


def counting(folder: Path | None) -> AgentFiles:
    """Those of them that count: of a folder that is not trusted only the person's own."""
    from ..host.agent_files import FOLDERS, load_all
    from ..host.trust import own_only
    from .cli_settings import trusts

    root = os.fspath((folder or Path(".")).resolve())
    return load_all(root, FOLDERS if trusts(root) else own_only(FOLDERS))


def listing(folder: Path, *, as_json: bool) -> int:
    """Every agent and where it comes from, and on stderr what is wrong with files; the code of bad input when one cannot be
    used."""
    from ..host.builtin_agents import BUILTIN_AGENTS

    if not folder.is_dir():
        raise CliError(f"the workspace {os.fspath(folder)!r} is not a folder")
    found = files_of(folder)
    builtin = {name: (spec, "built in") for name, spec in BUILTIN_AGENTS.items()}
    agents = {**builtin, **{name: (one.spec, one.file) for name, one in found.agents.items()}}
    width = min(24, max(len(name) for name in agents))
    for name, (spec, source) in sorted(agents.items()):
        if as_json:
            shown = {"name": name, "description": spec.description, "model": spec.models[0], "tools": spec.tools}
            write_json({**shown, "max_turns": spec.limits.max_turns, "hidden": spec.hidden, "source": source})
        else:
            hidden = ", hidden" if spec.hidden else ""
            print(clean(f"{name:<{width}}  {spec.description}  ({source}{hidden})"))
    for problem in found.problems:
        print(clean(f"{'error' if problem.fatal else 'note'}: {problem}"), file=sys.stderr)
    note(folder)
    return USAGE if any(p.fatal for p in found.problems) else DONE


def named(name: str, folder: Path | None) -> AgentSpec:
    """The agent of a file, or a built-in one. CliError."""
    from ..host.builtin_agents import ALIASES, BUILTIN_AGENTS

    found = counting(folder)
    if name in found.agents:
        return found.agents[name].spec
    if (builtin := BUILTIN_AGENTS.get(ALIASES.get(name, name))) is not None:
        return builtin
    wrong = next((str(p) for p in found.problems if p.fatal and Path(p.file).stem == name), None)
    hint = wrong or "godwit agents lists those there are"
    if name in files_of(folder).agents:
        hint = "the folder it belongs to is not trusted: godwit trust lets it count"
    raise CliError(f"there is no agent {name!r}", hint=hint, code=AgentNotFound.code, exit_code=NOT_FOUND)


def subagents_of(folder: Path | None, check: Callable[[str], object]) -> list[AgentSpec]:
    """The agents of files that one in this folder may hand tasks to: those whose models can be asked."""

    def usable(spec: AgentSpec) -> bool:
        try:
            return spec.models == ("inherit",) or all(check(model) is not False for model in spec.models)
        except GodwitError:
            return False

    return [spec for spec in counting(folder).specs if usable(spec)]


class FolderAgents:
    """The agents of files as a session knows them, read again before each prompt.

    `read`: the agent of a session that was begun here, as its flags and the files say now. Of one that was begun elsewhere
    the flags are not known: `others` are the agents that it may hand tasks to, and the rest stays as it is.
    """

    def __init__(self, read: Callable[[], AgentSpec] | None, others: Callable[[], list[AgentSpec]]) -> None:
        self._read = read
        self._others = others
        self._whole = None if read is None else read()
        self._known: list[AgentSpec] = [] if read is None else others()

    async def renew(self, store: EventStore, session: SessionHandle) -> str | None:
        """Have the session's next run know what changed; in words what that is, None for nothing. What is wrong with a file
        is told, and the agent stays as it was."""
        from ..engine.session import Session

        try:
            whole, known = None if self._read is None else self._read(), self._others()
        except (CliError, GodwitError) as error:
            return f"the agent stays as it was: {error}"
        if (whole, known) == (self._whole, self._known):
            return None
        ref = (await session.state()).agent
        if ref is None:
            return None
        assert isinstance(session, Session)
        _, spec = await store.get_agent(ref.name, ref.version)
        wanted = whole
        if whole is None:
            gone = {one.name for one in self._known} - {one.name for one in known}
            kept = {name: one for name, one in spec.subagent_specs.items() if name not in gone}
            told = {name: text for name, text in spec.subagents.items() if name not in gone}
            wanted = with_subagents(msgspec.structs.replace(spec, subagents=told, subagent_specs=kept), known)
        assert wanted is not None
        variant = variant_of(ref, wanted)
        if variant != variant_of(ref, spec):
            await session.configure(agent=await store.put_agent(variant))
        changed = sorted({one.name for one in (*self._known, *known) if (one in self._known) != (one in known)})
        own = self._whole is not None and whole is not None and self._whole.instructions != whole.instructions
        self._whole, self._known = whole, known
        if variant == variant_of(ref, spec):
            return None
        return f"agents of files changed: {', '.join([*([str(spec.name).partition('@')[0]] if own else []), *changed])}"


def held(agent: AgentSpec, flags: Permissions, guarded: tuple[str, ...]) -> AgentSpec:
    """The agent, which may do no more unasked than one of the flags: what these ask about is asked, whatever the agent's own
    rules allow. `guarded`: rules of the flags that deny instead, where a question would have to be one about every call."""
    own = agent.permissions
    asked = [parse(rule) for rule in flags.ask]
    allow, ask, deny = [], list(own.ask), [*own.deny, *flags.deny]
    for text in own.allow:
        rule = parse(text)
        over = [one for one in asked if covers(one, rule.tool) or covers(rule, one.tool)]
        if all(one.text in guarded for one in over):
            allow.append(text)
            deny += [one.text for one in over]
        else:
            ask.append(text)
    if own.default != "deny":
        allow += flags.allow
        ask += flags.ask
    allow, ask, deny = (list(dict.fromkeys(rules)) for rules in (allow, ask, deny))
    return msgspec.structs.replace(agent, permissions=Permissions(tuple(allow), tuple(ask), tuple(deny), own.default))
