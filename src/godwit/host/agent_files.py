"""Agent files: agents written down as Markdown or YAML, one file each, found in folders.

    .godwit/agents, .claude/agents     of the session's folder
    ~/.config/godwit/agents            the person's own (XDG_CONFIG_HOME is heeded)

Owns how such a file is read; the keys are those of Claude Code as well. Leaves out what a kind of worker may do
(`core.worker_agents`) and where agents are registered (`registered_agents`). Rules a change must keep: a file grants
nothing, since its agent may do no more than those it works for; a list of tools is a list of what is allowed, and all else
is denied; what is not understood of a rule makes the file wrong, never wider; a wrong file hides no other one and is told
with its line.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import msgspec

from ..core.agent import AgentSpec, ContextPolicy
from ..core.errors import ConfigurationError, ToolNotFound
from ..core.file_problem import FileProblem
from ..core.rules import ConfirmationInheritance, Permissions, Verdict, parse
from ..core.worker_agents import WorkerAgentSpec, checked_name, definition, kind_of, permissions_of_kind
from .found_files import Bad, Entry, Found, FoundFiles, entries, front_matter, text_of

FOLDERS = (".godwit/agents", ".claude/agents", "~/.config/godwit/agents")
"""Where the command line looks for agent files: relative ones in the session's folder. The first one of a name counts."""

TOOLS = ("files", "bash")
"""What an agent has whose file names no tools."""

ToolNames = Callable[[str], Sequence[str]]
"""The tools that a name stands for, one or a set; none when there is none of that name."""

_ENDINGS = (".md", ".yaml", ".yml")
_CLAUDE_CODE = {
    "multiedit": "edit",
    "webfetch": "web_fetch",
    "websearch": "web_search",
    "agent": "task",
}
"""Tools that are called otherwise there; apart from upper case, the others are called the same."""
_TEXTS = (
    "name",
    "description",
    "model",
    "tools",
    "allowedTools",
    "allowed-tools",
    "disallowedTools",
    "disallowed-tools",
    "skills",
)
"""Keys whose value people write as a plain text, whatever YAML makes of it."""
_KEYS = {
    "allowedtools": "tools",
    "maxsteps": "max_steps",
    "maxturns": "max_steps",
    "confirmationinheritance": "confirmation_inheritance",
    "disallowedtools": "disallowed_tools",
    "contextfiles": "context_files",
    **{
        key: key
        for key in ("context", "skills", "name", "description", "tools", "model", "prompt", "permissions", "hidden", "kind")
    },
}


@dataclass(frozen=True)
class AgentProblem(FileProblem):
    """What is wrong with an agent file. `line` counts from 1. `fatal`: there is no such agent because of it; otherwise
    something of the file has no effect."""

    name: str | None = None


class AgentFile(NamedTuple):
    """An agent that a file describes. `worker`: the same as it stands there, when the file names a kind."""

    spec: AgentSpec
    file: str
    worker: WorkerAgentSpec | None = None


class AgentFiles(NamedTuple):
    """The agents of one folder or several, by name, and what is wrong with the files."""

    agents: dict[str, AgentFile]
    problems: tuple[AgentProblem, ...]

    @property
    def specs(self) -> list[AgentSpec]:
        return [one.spec for one in self.agents.values()]


def load(folder: str | os.PathLike[str], workspace: str | None = None, *, tools: ToolNames | None = None) -> AgentFiles:
    """The agents of a folder and those below it; a folder that is not there holds none. Blocking.

    A relative folder lies in `workspace`. `tools`: which there are, by default those that come with godwit; an agent whose
    file names others does without them.
    """
    names = tools or tool_names()
    files = FoundFiles(folder, workspace, _ENDINGS, "agents")
    found, unread = files.look()
    agents: dict[str, AgentFile] = {}
    problems = [AgentProblem(one.shown, None, one.message) for one in unread]
    for file in found:
        try:
            read, notes = _read(file, files.content(file), names)
        except Bad as bad:
            problems.append(AgentProblem(file.shown, bad.line, bad.message))
            continue
        name = read.spec.name
        if name in agents:
            problems.append(AgentProblem(file.shown, None, f"agent {name!r} is {agents[name].file} already", name=name))
            continue
        agents[name] = read
        problems += [AgentProblem(file.shown, line, message, fatal=False, name=name) for line, message in notes]
    return AgentFiles(agents, tuple(problems))


def load_all(
    workspace: str | None, folders: Sequence[str | os.PathLike[str]] = FOLDERS, *, tools: ToolNames | None = None
) -> AgentFiles:
    """The agents of all these folders; of those of one name the first counts. Blocking."""
    agents: dict[str, AgentFile] = {}
    problems: list[AgentProblem] = []
    for folder in folders:
        loaded = load(folder, workspace, tools=tools)
        problems += loaded.problems
        for name, one in loaded.agents.items():
            agents.setdefault(name, one)
    return AgentFiles(agents, tuple(problems))


def as_ours(rule: str) -> str:
    """A rule in which a tool may be called as Claude Code calls it."""
    name, opened, rest = rule.partition("(")
    return _CLAUDE_CODE.get(name.lower(), name.lower() if name[:1].isupper() else name) + opened + rest


def tool_names() -> ToolNames:
    """Those of the tools that come with godwit."""
    from ..tools.toolbox import default_toolbox

    toolbox = default_toolbox()

    def names(name: str) -> Sequence[str]:
        try:
            return [tool.definition.name for tool in toolbox.select([name])]
        except ToolNotFound:
            return ()

    return names


# --- reading ----------------------------------------------------------------------------------------------------------

Notes = list[tuple[int, str]]


def _read(file: Found, content: bytes, tools: ToolNames) -> tuple[AgentFile, Notes]:
    """Bad."""
    text = text_of(content)
    if "\0" in text:
        raise Bad(text.count("\n", 0, text.index("\0")) + 1, "holds a NUL character")
    if file.relative.endswith(".md"):
        source, body, _ = front_matter(text)
        if source is None:
            raise Bad(1, "has no front matter: lines of --- with name and description between them")
        reading = _Reading(tools, entries(source, _TEXTS, line=2, what="the front matter"), body.strip("\n"))
    else:
        reading = _Reading(tools, entries(text, _TEXTS, line=1, what="the file"), "")
    try:
        spec, worker = reading.agent()
    except ConfigurationError as error:
        raise Bad(None, error.message) from None
    return AgentFile(spec, file.shown, worker), reading.notes


class _Reading:
    """One file, as its agent is put together. `body`: what stands below the front matter."""

    def __init__(self, tools: ToolNames, found: Iterator[Entry], body: str) -> None:
        self._tools = tools
        self._body = body
        self.notes: Notes = []
        self._entries: dict[str, Entry] = {}
        for entry in found:
            key = _KEYS.get(entry.key.replace("-", "").replace("_", "").lower())
            if key is None:
                self.notes.append((entry.line, f"{entry.key!r} has no meaning here"))
            elif key in self._entries:
                raise Bad(entry.line, f"{entry.key!r} stands there twice, also as {self._entries[key].key!r}")
            else:
                self._entries[key] = entry

    def agent(self) -> tuple[AgentSpec, WorkerAgentSpec | None]:
        name = unicodedata.normalize("NFC", self._text("name") or "")
        if not name:
            raise Bad(self._line("name"), "the agent needs a name")
        self._told("name", checked_name, name)
        prompt = self._text("prompt", lines=True) or self._body
        description = self._text("description") or _first_line(prompt)
        if not description:
            raise Bad(self._line("name"), "the agent needs a description: it says to others what to ask it for")
        confirming = self._one_of("confirmation_inheritance", get_args(ConfirmationInheritance))
        model, hidden, max_steps = self._model(), self._yes("hidden"), self._count("max_steps")
        kind = self._text("kind")
        if kind is None:
            tools, permissions = self._allowed(Permissions())
            inherited = confirming or ("auto_approve" if permissions.allow else "inherit_parent")
            spec = definition(
                name,
                description,
                prompt=prompt,
                model=model,
                tools=TOOLS if tools is None else tools,
                permissions=permissions,
                max_steps=max_steps,
                hidden=hidden,
                confirmation=inherited,  # type: ignore[arg-type]  # one of them, as was looked at
            )
            return self._told_more(spec), None
        self._told("kind", kind_of, kind)
        _, permissions = self._allowed(permissions_of_kind(kind))
        worker = WorkerAgentSpec(
            name,
            description,
            kind,
            hidden,
            permissions if {"tools", "disallowed_tools", "permissions"} & self._entries.keys() else None,
            model,
            prompt or None,
            max_steps,
            confirming,  # type: ignore[arg-type]  # one of them, as was looked at
        )
        return self._told_more(worker.agent()), worker

    def _told_more(self, spec: AgentSpec) -> AgentSpec:
        """The agent with what the file says of its conversations and of what it is told of other files."""
        if "context" in self._entries:
            spec = msgspec.structs.replace(spec, context=self._context(self._entries["context"]))
        if (entry := self._entries.get("skills")) is not None and not _is_null(entry):
            spec = msgspec.structs.replace(spec, skills=tuple(self._texts(entry)))
        if "context_files" in self._entries:
            spec = msgspec.structs.replace(spec, context_files=self._yes("context_files"))
        return spec

    def _context(self, entry: Entry) -> ContextPolicy:
        """The mapping `context`."""
        import yaml

        fields = ContextPolicy.__struct_fields__
        if not isinstance(entry.node, yaml.MappingNode):
            raise Bad(entry.line, f"'context' is a mapping with keys of {', '.join(fields)}")
        found: dict[str, object] = {}
        for key, node in entry.node.value:
            line = entry.first + key.start_mark.line
            if key.value not in fields or not isinstance(node, yaml.ScalarNode):
                raise Bad(line, f"'context' has no {key.value!r}: it takes {', '.join(fields)}")
            found[key.value] = node.value
            try:
                msgspec.convert({key.value: node.value}, ContextPolicy, strict=False)
            except (msgspec.ValidationError, ConfigurationError) as error:
                raise Bad(line, f"'context' {key.value}: {error}") from None
        return msgspec.convert(found, ContextPolicy, strict=False)

    def _texts(self, entry: Entry) -> list[str]:
        """Words, as a list or with commas. Bad."""
        import yaml

        node = entry.node
        if isinstance(node, yaml.SequenceNode) and all(isinstance(one, yaml.ScalarNode) for one in node.value):
            return [one.value.strip() for one in node.value]
        if isinstance(node, yaml.ScalarNode) or entry.plain is not None:
            return _split(entry.plain if entry.plain is not None else node.value)
        raise Bad(entry.line, f"{entry.key!r} is a list of names")

    def _allowed(self, usual: Permissions) -> tuple[tuple[str, ...] | None, Permissions]:
        """The tools that are named, if any are, and the rules. `usual`: those that hold where the file has none."""
        rules = self._rules() if "permissions" in self._entries else usual
        deny = rules.deny
        if "disallowed_tools" in self._entries:
            deny = (*deny, *(rule for _, rule in self._list(self._entries["disallowed_tools"])))
        entry = self._entries.get("tools")
        listed = None if entry is None else self._list(entry)
        if listed is None or any(rule == "*" for _, rule in listed) or _is_null(entry):
            return None, Permissions(rules.allow, rules.ask, deny, rules.default)
        tools: dict[str, None] = {}
        allow: list[str] = []
        for line, rule in listed:
            name = rule.partition("(")[0]
            if not self._tools(name):
                self.notes.append((line, f"there is no tool {name!r} here: the agent does without it"))
                continue
            tools[name] = None
            allow.append(rule)
        if "permissions" in self._entries:
            allow += rules.allow
        return tuple(tools), Permissions(tuple(dict.fromkeys(allow)), rules.ask, deny, "deny")

    def _rules(self) -> Permissions:
        """The mapping `permissions`."""
        import yaml

        entry = self._entries["permissions"]
        if not isinstance(entry.node, yaml.MappingNode):
            raise Bad(entry.line, "'permissions' has rules below allow, ask and deny, and a default")
        found: dict[str, tuple[str, ...]] = {}
        default: Verdict | None = None
        for key, node in entry.node.value:
            line = entry.first + key.start_mark.line
            verdicts: dict[str, Verdict] = {"allow": "allow", "ask": "ask", "deny": "deny"}
            if key.value in verdicts:
                below = Entry(key.value, line, node, None, entry.first)
                found[key.value] = tuple(rule for _, rule in self._list(below))
            elif key.value == "default" and isinstance(node, yaml.ScalarNode) and node.value in verdicts:
                default = verdicts[node.value]
            else:
                raise Bad(line, "'permissions' has rules below allow, ask and deny, and a default that is one of these")
        usual: Verdict = "deny" if found.get("allow") else "allow"
        return Permissions(found.get("allow", ()), found.get("ask", ()), found.get("deny", ()), default or usual)

    # --- values -------------------------------------------------------------------------------------------------------

    def _list(self, entry: Entry) -> list[tuple[int, str]]:
        """Rules, each with its line, by the names that tools have here."""
        import yaml

        node = entry.node
        if isinstance(node, yaml.SequenceNode) and all(isinstance(one, yaml.ScalarNode) for one in node.value):
            given = [(entry.first + one.start_mark.line, one.value.strip()) for one in node.value]
        elif isinstance(node, yaml.ScalarNode):
            given = [] if _is_null(entry) else [(entry.line, text) for text in _split(node.value)]
        elif entry.plain is not None:
            given = [(entry.line, text) for text in _split(entry.plain)]
        else:
            raise Bad(entry.line, f"{entry.key!r} is a list of tools")
        found = []
        for line, text in given:
            try:
                parse(text)
            except ConfigurationError as error:
                raise Bad(line, error.message) from None
            name, opened, rest = text.partition("(")
            name = _CLAUDE_CODE.get(name.lower().replace("_", ""), name)
            members = self._tools(name) or self._tools(name.lower()) or (name,)
            found += [(line, f"{member}{opened}{rest}") for member in members]
        return found

    def _text(self, key: str, *, lines: bool = False) -> str | None:
        import yaml

        entry = self._entries.get(key)
        if entry is None or _is_null(entry):
            return None
        text: str
        if isinstance(entry.node, yaml.ScalarNode):
            text = entry.node.value
        elif entry.plain is not None:
            text = entry.plain
        else:
            raise Bad(entry.line, f"{entry.key!r} is a text")
        return (text.strip("\n") if lines else " ".join(text.split())) or None

    def _model(self) -> str | None:
        """None: the models of whoever it works for."""
        import yaml

        entry = self._entries.get("model")
        if entry is None:
            return None
        if isinstance(entry.node, yaml.MappingNode):
            parts = {key.value: value.value for key, value in entry.node.value if isinstance(value, yaml.ScalarNode)}
            name = f"{parts['provider']}:{parts['model']}" if parts.keys() == {"provider", "model"} else parts.get("model")
        else:
            name = self._text("model")
        if name is None or name == "inherit":
            return None
        if ":" not in name:
            self.notes.append((entry.line, f"model {name!r} is not used: it is no provider:model"))
            return None
        return name

    def _yes(self, key: str) -> bool:
        return self._one_of(key, ("true", "false", "yes", "no")) in ("true", "yes")

    def _count(self, key: str) -> int | None:
        text = self._text(key)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:10]) < 1_000_000):
            raise Bad(self._line(key), f"{self._entries[key].key!r} is a number from 1 on, not {text!r}")
        return int(text)

    def _one_of(self, key: str, words: Sequence[str]) -> str | None:
        text = self._text(key)
        if text is None:
            return None
        found = text.lower().replace("-", "_")
        if found not in words:
            raise Bad(self._line(key), f"{self._entries[key].key!r} is one of {', '.join(words)}, not {text!r}")
        return found

    def _told(self, key: str, check: Callable[[str], object], value: str) -> None:
        """What `check` refuses, with the line of the key."""
        try:
            check(value)
        except ConfigurationError as error:
            raise Bad(self._line(key), error.message) from None

    def _line(self, key: str) -> int:
        return self._entries[key].line if key in self._entries else 1


def _is_null(entry: Entry | None) -> bool:
    return entry is not None and entry.node.tag == "tag:yaml.org,2002:null"


def _first_line(text: str) -> str:
    found = (line.strip().lstrip("#").strip() for line in text.splitlines())
    line = next(filter(None, found), "")
    return line if len(line) <= 80 else f"{line[:79]}…"


def _split(text: str) -> list[str]:
    """At the commas outside parentheses."""
    parts, depth = [""], 0
    for c in text:
        depth = max(0, depth + (c == "(") - (c == ")"))
        if c == "," and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts if part.strip()]


__all__ = ["FOLDERS", "AgentFile", "AgentFiles", "AgentProblem", "ToolNames", "as_ours", "load", "load_all", "tool_names"]
