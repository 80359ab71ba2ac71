"""Config: what a person sets once, in files, for all sessions or for those of one folder.

    ~/.config/godwit/config.toml       the person's own (XDG_CONFIG_HOME is heeded; GODWIT_CONFIG names another)
    <workspace>/.godwit/config.toml    the folder's
    <workspace>/.mcp.json              its MCP servers, as other tools have them

Owns where the files are, whom a folder's file is trusted by, and what both say together. Leaves out what a section means
and what a folder's may do. To add one: an entry in `SECTIONS` (`config_sections`), and fields in `Config`:
`user_<section>` and `project_<section>` for each file's, `set_<section>` for what stands above them (`config_layers`).

Rules a change must keep: an agent can write in its folder, so the folder's file may only make things stricter unless the
person's own file trusts the folder; what it may not do is told, not done and not hidden; an error names file and line, and
nothing of a wrong file is used. The library reads no file by itself; the command line does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from ..core.hooks import HookSpec
from ..core.lanes import LaneSettings
from ..core.mcp import McpServer
from ..core.rules import Verdict
from ..core.sandbox import SandboxPolicy, combined
from ..engine.permissions import Layer, Standing
from ..models.entry import ModelEntry, ProviderEntry
from .config_file import File, read
from .config_layers import Layer as Layers, layers_of, together
from .config_sections import SECTIONS, AttachmentSection, Left, McpSection, PermissionSection
from .config_servers import FILE as MCP_FILE, McpFile, Servers, WrongServer, apart, laid_open, read_mcp_file
from .config_settings import OUTSIDE, variables
from .search import SearchSettings
from .server_settings import ServerSettings
from .terms import BudgetSection, CheckpointTerms, ContextTerms, MemoryTerms, NudgeTerms, Terms, ToolSearchTerms, over
from .trust import state_of

USER_FILE = os.path.join("godwit", "config.toml")
PROJECT_FILE = os.path.join(".godwit", "config.toml")
_KEYS = (*(name for name in SECTIONS if "." not in name), *OUTSIDE)
_STRICTNESS: tuple[Verdict, ...] = ("allow", "ask", "deny")


class Notice(msgspec.Struct, frozen=True):
    """Something of a file that is not used, and why."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class SetSandbox(msgspec.Struct, frozen=True):
    """`[sandbox]` as it is set above the files. `given`: its single values, which count in place of the files'."""

    policy: SandboxPolicy = SandboxPolicy()
    given: dict[str, Any] = {}

    def over(self, files: SandboxPolicy) -> SandboxPolicy:
        """With the files', to whose lists its own are added. ConfigurationError when they contradict each other."""
        if self == SetSandbox():
            return files
        laid = combined(self.policy, files)
        if self.given.get("network") and not self.policy.allowed_hosts:
            laid = msgspec.structs.replace(laid, allowed_hosts=(), denied_hosts=self.policy.denied_hosts)
        return msgspec.structs.replace(laid, **self.given)


class Config(msgspec.Struct, frozen=True):
    """What the files say together. `user` and `project`: the files that were read. `trusted`: the folder's file counts as
    the person's own. `notices`: what of it is not used."""

    user: str | None = None
    project: str | None = None
    trusted: bool = False
    notices: tuple[Notice, ...] = ()
    user_permissions: PermissionSection = PermissionSection()
    project_permissions: PermissionSection = PermissionSection()
    user_hooks: tuple[HookSpec, ...] = ()
    project_hooks: tuple[HookSpec, ...] = ()
    user_sandbox: SandboxPolicy = SandboxPolicy()
    project_sandbox: SandboxPolicy = SandboxPolicy()
    user_budget: BudgetSection = BudgetSection()
    project_budget: BudgetSection = BudgetSection()
    user_checkpoints: CheckpointTerms = CheckpointTerms()
    project_checkpoints: CheckpointTerms = CheckpointTerms()
    user_web_search: SearchSettings | None = None
    project_web_search: SearchSettings | None = None
    user_models: dict[str, ModelEntry] = {}
    project_models: dict[str, ModelEntry] = {}
    user_providers: dict[str, ProviderEntry] = {}
    project_providers: dict[str, ProviderEntry] = {}
    user_server: ServerSettings | None = None
    project_server: ServerSettings | None = None
    user_context: ContextTerms = ContextTerms()
    project_context: ContextTerms = ContextTerms()
    user_nudges: NudgeTerms = NudgeTerms()
    project_nudges: NudgeTerms = NudgeTerms()
    user_tool_search: ToolSearchTerms = ToolSearchTerms()
    project_tool_search: ToolSearchTerms = ToolSearchTerms()
    user_memory: MemoryTerms = MemoryTerms()
    project_memory: MemoryTerms = MemoryTerms()
    user_mcp: McpSection | None = None
    user_mcp_servers: Servers = {}
    project_mcp: McpSection | None = None
    project_mcp_servers: Servers = {}
    user_attachments: AttachmentSection | None = None
    project_attachments: AttachmentSection | None = None
    user_lanes: LaneSettings | None = None
    project_lanes: LaneSettings | None = None
    set_permissions: PermissionSection = PermissionSection()
    set_hooks: tuple[HookSpec, ...] = ()
    set_sandbox: SetSandbox = SetSandbox()
    set_budget: BudgetSection = BudgetSection()
    set_checkpoints: CheckpointTerms = CheckpointTerms()
    set_context: ContextTerms = ContextTerms()
    set_nudges: NudgeTerms = NudgeTerms()
    set_tool_search: ToolSearchTerms = ToolSearchTerms()
    set_memory: MemoryTerms = MemoryTerms()
    set_web_search: SearchSettings | None = None
    set_models: dict[str, ModelEntry] = {}
    set_providers: dict[str, ProviderEntry] = {}
    set_server: ServerSettings | None = None
    set_mcp: McpSection | None = None
    set_mcp_servers: Servers = {}
    set_attachments: AttachmentSection | None = None
    set_lanes: LaneSettings | None = None

    @property
    def sandbox(self) -> SandboxPolicy:
        """What is added to the sandbox of each agent; of a folder that is not trusted only what confines more."""
        return self.set_sandbox.over(combined(self.project_sandbox, self.user_sandbox))

    @property
    def terms(self) -> Terms:
        """What each agent is held to; the folder's in place of the person's, where it may say anything."""
        budget = BudgetSection()
        for said in (self.user_budget, self.project_budget, self.set_budget):
            budget = BudgetSection(over(said.session, budget.session), over(said.tree, budget.tree))
        checkpoints = over(self.set_checkpoints, over(self.project_checkpoints, self.user_checkpoints))
        return Terms(budget, checkpoints, self.context, self.memory, self.nudges, self.tool_search)

    @property
    def web_search(self) -> SearchSettings | None:
        """The service that is chosen for web_search."""
        return self.set_web_search or self.project_web_search or self.user_web_search

    @property
    def models(self) -> dict[str, ModelEntry]:
        """What is said of models, by name; the folder's in place of the person's of the same name."""
        return {**self.user_models, **self.project_models, **self.set_models}

    @property
    def providers(self) -> dict[str, ProviderEntry]:
        """Whom models are asked of beside the known ones, likewise."""
        return {**self.user_providers, **self.project_providers, **self.set_providers}

    @property
    def server(self) -> ServerSettings | None:
        """How `godwit serve` runs here."""
        return self.set_server or self.project_server or self.user_server

    @property
    def mcp(self) -> McpSection | None:
        """Which MCP servers a process that is started here connects to, and how."""
        return self.set_mcp or self.project_mcp or self.user_mcp

    @property
    def mcp_servers(self) -> tuple[McpServer, ...]:
        """The MCP servers of sessions here; the folder's in place of the person's of the same name."""
        named = {**self.user_mcp_servers, **self.project_mcp_servers, **self.set_mcp_servers}
        return tuple(server for server in named.values() if isinstance(server, McpServer))

    @property
    def attachments(self) -> AttachmentSection | None:
        """What a process that is started here fetches for messages."""
        return self.set_attachments or self.project_attachments or self.user_attachments

    @property
    def context(self) -> ContextTerms:
        """What sessions here are told of files."""
        return over(self.set_context, over(self.project_context, self.user_context))

    @property
    def nudges(self) -> NudgeTerms:
        """When a model that has stopped is told to go on here."""
        return over(self.set_nudges, over(self.project_nudges, self.user_nudges))

    @property
    def tool_search(self) -> ToolSearchTerms:
        """Whether models here look for the tools of MCP servers."""
        return over(self.set_tool_search, over(self.project_tool_search, self.user_tool_search))

    @property
    def memory(self) -> MemoryTerms:
        """What agents do with memory here."""
        return over(self.set_memory, over(self.project_memory, self.user_memory))

    @property
    def lanes(self) -> LaneSettings | None:
        """What a process that is started here has room for; a trusted folder's in place of the person's."""
        return self.set_lanes or self.project_lanes or self.user_lanes

    @property
    def default(self) -> Verdict | None:
        """What is set above the files, else the stricter one of their defaults; of a trusted folder its own."""
        if self.set_permissions.default is not None:
            return self.set_permissions.default
        own, user = self.project_permissions.default, self.user_permissions.default
        if own is None or user is None:
            return own if user is None else user
        return own if self.trusted else stricter(own, user)

    @property
    def hooks(self) -> tuple[HookSpec, ...]:
        """The person's, then the folder's; one of the same id takes the place of the one before."""
        return tuple({spec.id: spec for spec in (*self.user_hooks, *self.project_hooks, *self.set_hooks)}.values())

    @property
    def standing(self) -> Standing:
        """Its rules, as the engine takes them: the person's as `config`, the folder's as `project`, what stands above both
        as `set`."""
        sections = (
            ("config", self.user_permissions),
            ("project", self.project_permissions),
            ("set", self.set_permissions),
        )
        return Standing(tuple(Layer(name, section.rules) for name, section in sections), self.default)


def stricter(one: Verdict, other: Verdict) -> Verdict:
    return max(one, other, key=_STRICTNESS.index)


# --- files --------------------------------------------------------------------------------------------------------------


def user_file(environment: Mapping[str, str] | None = None) -> str | None:
    """Where the person's own file is or would be; None when GODWIT_CONFIG is set and empty."""
    known = os.environ if environment is None else environment
    named = known.get("GODWIT_CONFIG")
    if named is not None:
        return os.path.expanduser(named) or None
    base = known.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(known.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(base, USER_FILE)


class Part(msgspec.Struct, frozen=True):
    """One section of one file. `found`: what counts of it. `left`: what does not, by key, and why. `whose`: the person's own
    file or the folder's."""

    whose: Literal["user", "project"]
    file: File
    section: str
    found: Any
    left: Left


class Reading(msgspec.Struct, frozen=True):
    """The files as they were read. `layers`: what stands above them, the lower one first.
    `within`: the person's own lies in the workspace, where an agent can write. `servers`: the folder's `.mcp.json`, or what
    is wrong with it as a whole."""

    user: File | None
    project: File | None
    trusted: bool
    within: bool
    parts: tuple[Part, ...]
    layers: tuple[Layers, ...] = ()
    servers: McpFile | Notice | None = None


def read_files(
    workspace: str | os.PathLike[str] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Reading:
    """The files for sessions in this folder, and what stands above them. ConfigurationError, beginning with file and line,
    or with the variable or option."""
    known = os.environ if environment is None else environment
    layers = layers_of(known, options, _KEYS, variables())
    path = user_file(known)
    user = None if path is None else apart(read(path, _KEYS, required="GODWIT_CONFIG" in known))
    root = None if workspace is None else os.path.realpath(workspace)
    project = None if root is None else apart(read(os.path.join(root, PROJECT_FILE), _KEYS, required=False))
    servers = None if root is None else _mcp_file(os.path.join(root, MCP_FILE), known)
    if project is not None and user is not None and os.path.samefile(project.path, user.path):
        project = None
    within = user is not None and root is not None and _lies_in(os.path.realpath(user.path), root)
    trusted = root is not None and root in _trusted_folders(None if within else user, layers)
    trusted = trusted or (not within and state_of(root, environment=known) == "trusted")
    parts: list[Part] = []
    own: dict[str, Any] = {}
    files: tuple[tuple[Literal["user", "project"], File | None, bool], ...] = (
        ("user", user, not within),
        ("project", servers if isinstance(servers, McpFile) else None, trusted),
        ("project", project, trusted),
    )
    for whose, file, free in files:
        for name, section in SECTIONS.items():
            if file is None or name not in file.content:
                continue
            found = section.read(file, file.content[name])
            left: Left = []
            if not free:
                found, left = section.untrusted(found, own.get(name))
            if whose == "user":
                own[name] = found
            parts.append(Part(whose, file, name, found, left))
    return Reading(user, project, trusted, within, tuple(parts), layers, servers)


def _mcp_file(path: str, environment: Mapping[str, str]) -> McpFile | Notice | None:
    """A file of other tools: one that cannot be read is told, and keeps nobody from working here."""
    found = read_mcp_file(path, environment)
    return Notice(path, found.line, f"it is not used: {found.problem}") if isinstance(found, WrongServer) else found


def lists(
    workspace: str | os.PathLike[str],
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> bool:
    """Whether the person lists this folder under `trusted`: in their own file, or above it. ConfigurationError."""
    known = os.environ if environment is None else environment
    path = user_file(known)
    user = None if path is None else read(path, _KEYS, required="GODWIT_CONFIG" in known)
    root = os.path.realpath(workspace)
    within = user is not None and _lies_in(os.path.realpath(user.path), root)
    return root in _trusted_folders(None if within else user, layers_of(known, options, _KEYS, variables()))


def load(
    workspace: str | os.PathLike[str] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """What holds for sessions in this folder. `options`: settings that count before all else, such as `{"budget.usd": 5}`.
    ConfigurationError, beginning with file and line, or with the variable or option."""
    reading = read_files(workspace, environment=environment, options=options)
    user, project = reading.user, reading.project
    notices: list[Notice] = []
    servers = reading.servers
    if isinstance(servers, Notice):
        notices.append(servers)
    for file in (user, servers, project):
        unused: list[Notice] = []
        for part in reading.parts:
            if part.file is not file:
                continue
            for key, value, text in part.left:
                table, _, last = f"{part.section}.{key}".rpartition(".") if key else ("", "", part.section)
                unused.append(Notice(part.file.path, part.file.line(table, last, value), text))
            if part.section == "mcp.servers":
                wrong = [one for one in part.found.values() if isinstance(one, WrongServer)]
                unused += [Notice(part.file.path, one.line, f"it is not used: {one.problem}") for one in wrong]
        notices += sorted(unused, key=lambda notice: notice.line)
    if reading.within and user is not None and notices:
        notices.insert(
            0, Notice(user.path, 1, "this file lies in the workspace, where an agent can write: it is not trusted")
        )
    if project is not None and "trusted" in project.content:
        notices.append(Notice(project.path, project.line("", "trusted"), "trusted is read from your own file only"))
    kept: dict[str, Any] = {}
    for part in reading.parts:
        name = f"{part.whose}_{part.section.replace('.', '_')}"
        kept[name] = {**kept[name], **part.found} if name in kept else part.found
    kept |= {f"set_{name.replace('.', '_')}": found for name, found in _set(reading).items()}
    own, folder = (None if file is None else file.path for file in (user, project))
    return Config(own, folder, reading.trusted, tuple(notices), **kept)


def _lies_in(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _set(reading: Reading) -> dict[str, Any]:
    """What is set above the files, by section; of one that counts as a whole, or name by name, with what the files say of
    it below."""
    layer = together(reading.layers)
    if layer is not None:
        split = apart(layer)
        assert isinstance(split, Layers)
        layer = split
    found: dict[str, Any] = {}
    for name in [] if layer is None else [name for name in layer.content if name in SECTIONS]:
        assert layer is not None
        section, said = SECTIONS[name], layer
        parts = [part for part in reading.parts if part.section == name and part.found]
        if section.meets == "whole" and parts:
            said = layer.over(name, parts[-1].file.content[name], parts[-1].file)
        elif section.meets == "named" and isinstance(layer.content[name], dict):
            below = {
                key: (laid_open(part.file, key) if name == "mcp.servers" else said, part.file)
                for part in parts
                for key, said in part.file.content[name].items()
            }
            for key in layer.content[name]:
                one = Layers(layer.path, "", {name: {key: layer.content[name][key]}}, layer.origins)
                if key in below:
                    one = one.over(name, {key: below[key][0]}, below[key][1])
                found[name] = {**found.get(name, {}), **section.read(one, one.content[name])}
            continue
        found[name] = section.read(said, said.content[name])
        if name == "sandbox":
            given = {key: value for key, value in said.content[name].items() if not isinstance(value, list)}
            found[name] = SetSandbox(found[name], {key: getattr(found[name], key) for key in given})
    return found


def _trusted_folders(user: File | None, layers: Sequence[Layers] = ()) -> list[str]:
    """The folders of the highest that lists any."""
    for file in (*reversed(layers), user):
        if file is not None and "trusted" in file.content:
            return _folders(file)
    return []


def _folders(file: File) -> list[str]:
    given = file.content["trusted"]
    if not isinstance(given, list) or not all(isinstance(folder, str) for folder in given):
        raise file.error("", "trusted", "trusted has to be a list of folders")
    found = []
    for folder in given:
        full = os.path.expanduser(folder)
        if not os.path.isabs(full):
            raise file.error("", "trusted", f"trusted folder {folder!r} is not absolute", folder)
        found.append(os.path.realpath(full))
    return found
