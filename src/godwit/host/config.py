"""Config: what a person sets once, in files, for all sessions or for those of one folder.

    ~/.config/godwit/config.toml       the person's own (XDG_CONFIG_HOME is heeded; GODWIT_CONFIG names another)
    <workspace>/.godwit/config.toml    the folder's

Owns where the files are, whom a folder's file is trusted by, and what both say together. Leaves out what a section means
and what a folder's may do. To add one: an entry in `SECTIONS` (`config_sections`), and a field for each file's in `Config`,
`user_<section>` and `project_<section>`. What stands above the files (`config_layers`) is in `set_<section>`.

Rules a change must keep: an agent can write in its folder, so the folder's file may only make things stricter unless the
person's own file trusts the folder; what it may not do is told, not done and not hidden; an error names file and line, and
nothing of a wrong file is used. The library reads no file by itself; the command line does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from ..core.agent import AgentSpec
from ..core.budget import Price
from ..core.errors import ConfigurationError
from ..core.hooks import HookSpec
from ..core.lanes import LaneSettings
from ..core.rules import Verdict
from ..core.sandbox import SandboxPolicy, combined
from ..engine.permissions import Layer, Standing
from ..models.entry import ModelEntry, ProviderEntry
from ..models.registry import Registry
from .auth_store import AuthStore
from .config_file import File, read
from .config_layers import Layer as Layers, of_environment, of_options
from .config_sections import SECTIONS, Left, PermissionSection
from .folder_context import FolderFiles
from .search import SearchSettings
from .server_settings import ServerSettings
from .terms import BudgetSection, CheckpointTerms, ContextTerms, Terms, over
from .trust import state_of

USER_FILE = os.path.join("godwit", "config.toml")
PROJECT_FILE = os.path.join(".godwit", "config.toml")
_KEYS = (*SECTIONS, "trusted")
_STRICTNESS: tuple[Verdict, ...] = ("allow", "ask", "deny")


class Notice(msgspec.Struct, frozen=True):
    """Something of a file that is not used, and why."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


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
    set_budget: BudgetSection = BudgetSection()
    set_checkpoints: CheckpointTerms = CheckpointTerms()
    set_context: ContextTerms = ContextTerms()
    user_lanes: LaneSettings | None = None
    project_lanes: LaneSettings | None = None

    @property
    def sandbox(self) -> SandboxPolicy:
        """What is added to the sandbox of each agent; of a folder that is not trusted only what confines more."""
        return combined(self.project_sandbox, self.user_sandbox)

    @property
    def terms(self) -> Terms:
        """What each agent is held to; the folder's in place of the person's, where it may say anything."""
        budget = BudgetSection()
        for said in (self.user_budget, self.project_budget, self.set_budget):
            budget = BudgetSection(over(said.session, budget.session), over(said.tree, budget.tree))
        checkpoints = over(self.set_checkpoints, over(self.project_checkpoints, self.user_checkpoints))
        return Terms(budget, checkpoints, self.context)

    @property
    def web_search(self) -> SearchSettings | None:
        """The service that is chosen for web_search."""
        return self.project_web_search or self.user_web_search

    @property
    def models(self) -> dict[str, ModelEntry]:
        """What is said of models, by name; the folder's in place of the person's of the same name."""
        return {**self.user_models, **self.project_models}

    @property
    def providers(self) -> dict[str, ProviderEntry]:
        """Whom models are asked of beside the known ones, likewise."""
        return {**self.user_providers, **self.project_providers}

    @property
    def server(self) -> ServerSettings | None:
        """How `godwit serve` runs here."""
        return self.project_server or self.user_server

    @property
    def context(self) -> ContextTerms:
        """What sessions here are told of files."""
        return over(self.set_context, over(self.project_context, self.user_context))

    @property
    def lanes(self) -> LaneSettings | None:
        """What a process that is started here has room for; a trusted folder's in place of the person's."""
        return self.project_lanes or self.user_lanes

    @property
    def default(self) -> Verdict | None:
        """The stricter one of the files' defaults; of a trusted folder its own."""
        own, user = self.project_permissions.default, self.user_permissions.default
        if own is None or user is None:
            return own if user is None else user
        return own if self.trusted else stricter(own, user)

    @property
    def hooks(self) -> tuple[HookSpec, ...]:
        """The person's, then the folder's; one of the same id takes the place of the one before."""
        return tuple({spec.id: spec for spec in (*self.user_hooks, *self.project_hooks)}.values())

    @property
    def standing(self) -> Standing:
        """Its rules, as the engine takes them: the person's as `config`, the folder's as `project`."""
        sections = (("config", self.user_permissions), ("project", self.project_permissions))
        return Standing(tuple(Layer(name, section.rules) for name, section in sections), self.default)


Configs = Config | Callable[[str | None], Config] | None
"""One for all, or what gives that of a folder; None for none."""


def hooks_of(config: Configs, workspace: str | None) -> tuple[HookSpec, ...]:
    """What hooks are called in a folder. What gives the configuration may raise ConfigurationError."""
    if config is None:
        return ()
    return (config if isinstance(config, Config) else config(workspace)).hooks


def standing_of(config: Configs) -> Callable[[str | None], Standing]:
    """What rules hold in a folder. What it gives may raise ConfigurationError."""
    if config is None:
        return lambda _: Standing()
    if isinstance(config, Config):
        one = config.standing
        return lambda _: one
    return lambda workspace: config(workspace).standing


def sandbox_of(config: Configs) -> Callable[[str | None], SandboxPolicy]:
    """What is added to the sandboxes of sessions in a folder. What it gives may raise ConfigurationError."""
    if config is None:
        return lambda _: SandboxPolicy()
    if isinstance(config, Config):
        one = config.sandbox
        return lambda _: one
    return lambda workspace: config(workspace).sandbox


def held_of(config: Configs) -> Callable[[AgentSpec, str | None], AgentSpec]:
    """An agent as it is held to what the files of a folder say. What it gives may raise ConfigurationError."""
    if config is None:
        return lambda spec, _: spec
    if isinstance(config, Config):
        one = config.terms
        return lambda spec, _: one.held(spec)
    return lambda spec, workspace: config(workspace).terms.held(spec)


def search_of(config: Configs) -> Callable[[str | None], SearchSettings | None]:
    """Which service is chosen in a folder. What it gives may raise ConfigurationError."""
    if config is None:
        return lambda _: None
    if isinstance(config, Config):
        one = config.web_search
        return lambda _: one
    return lambda workspace: config(workspace).web_search


def context_of(config: Configs, given: FolderFiles) -> Callable[[str | None], FolderFiles]:
    """What sessions in a folder are told of files: what the host says, less what the files turn off. What it gives may raise
    ConfigurationError."""
    if config is None:
        return lambda _: given

    def of(workspace: str | None) -> FolderFiles:
        said = (config if isinstance(config, Config) else config(workspace)).context
        return FolderFiles(given.context_files and said.files is not False, given.skills and said.skills is not False)

    return of


def lanes_of(config: Configs) -> LaneSettings | None:
    """The lanes of a process: of what gives the configuration of each folder, what it says of none. It may raise
    ConfigurationError."""
    if config is None:
        return None
    return (config if isinstance(config, Config) else config(None)).lanes


def registry_of(config: Configs, *, prices: Mapping[str, Price] | None = None) -> Registry:
    """The providers and models that the files tell of, beside the known ones: the person's own file alone, where `config` is
    asked for each folder. What is wrong in that is told when it is asked for a session: who only looks need not be told."""
    try:
        found = config if isinstance(config, Config) or config is None else config(None)
    except ConfigurationError:
        found = None
    registry = Registry(prices=prices, entries={} if found is None else found.models, keys=AuthStore())
    for name, entry in ({} if found is None else found.providers).items():
        registry.register_provider(
            name, kind=entry.kind, base_url=entry.base_url, api_key_env=entry.key_env, oauth=entry.oauth
        )
    return registry


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
    `within`: the person's own lies in the workspace, where an agent can write."""

    user: File | None
    project: File | None
    trusted: bool
    within: bool
    parts: tuple[Part, ...]
    layers: tuple[Layers, ...] = ()


def read_files(
    workspace: str | os.PathLike[str] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Reading:
    """The files for sessions in this folder, and what stands above them. ConfigurationError, beginning with file and line,
    or with the variable or option."""
    known = os.environ if environment is None else environment
    path = user_file(known)
    user = None if path is None else read(path, _KEYS, required="GODWIT_CONFIG" in known)
    root = None if workspace is None else os.path.realpath(workspace)
    project = None if root is None else read(os.path.join(root, PROJECT_FILE), _KEYS, required=False)
    if project is not None and user is not None and os.path.samefile(project.path, user.path):
        project = None
    within = user is not None and root is not None and _lies_in(os.path.realpath(user.path), root)
    trusted = user is not None and root is not None and not within and root in _trusted_folders(user)
    trusted = trusted or (not within and state_of(root, environment=known) == "trusted")
    parts: list[Part] = []
    own: dict[str, Any] = {}
    files: tuple[tuple[Literal["user", "project"], File | None, bool], ...] = (
        ("user", user, not within),
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
    layers = tuple(layer for layer in (of_environment(known), of_options(options)) if layer is not None)
    return Reading(user, project, trusted, within, tuple(parts), layers)


def lists(workspace: str | os.PathLike[str], *, environment: Mapping[str, str] | None = None) -> bool:
    """Whether the person's own file lists this folder under `trusted`. ConfigurationError."""
    known = os.environ if environment is None else environment
    path = user_file(known)
    user = None if path is None else read(path, _KEYS, required="GODWIT_CONFIG" in known)
    root = os.path.realpath(workspace)
    if user is None or _lies_in(os.path.realpath(user.path), root):
        return False
    return root in _trusted_folders(user)


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
    for file in (user, project):
        unused: list[Notice] = []
        for part in reading.parts:
            if part.file is not file:
                continue
            for key, value, text in part.left:
                table, _, last = f"{part.section}.{key}".rpartition(".") if key else ("", "", part.section)
                unused.append(Notice(part.file.path, part.file.line(table, last, value), text))
        notices += sorted(unused, key=lambda notice: notice.line)
    if reading.within and user is not None and notices:
        notices.insert(
            0, Notice(user.path, 1, "this file lies in the workspace, where an agent can write: it is not trusted")
        )
    if project is not None and "trusted" in project.content:
        notices.append(Notice(project.path, project.line("", "trusted"), "trusted is read from your own file only"))
    kept = {f"{part.whose}_{part.section}": part.found for part in reading.parts}
    for layer in reading.layers:
        for name in layer.content:
            found, below = SECTIONS[name].read(layer, layer.content[name]), kept.get(f"set_{name}")
            if isinstance(found, BudgetSection):
                under = below or BudgetSection()
                found = BudgetSection(over(found.session, under.session), over(found.tree, under.tree))
            elif below is not None:
                found = over(found, below)
            kept[f"set_{name}"] = found
    own, folder = (None if file is None else file.path for file in (user, project))
    return Config(own, folder, reading.trusted, tuple(notices), **kept)


def _lies_in(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _trusted_folders(user: File) -> list[str]:
    given = user.content.get("trusted", [])
    if not isinstance(given, list) or not all(isinstance(folder, str) for folder in given):
        raise user.error("", "trusted", "trusted has to be a list of folders")
    found = []
    for folder in given:
        full = os.path.expanduser(folder)
        if not os.path.isabs(full):
            raise user.error("", "trusted", f"trusted folder {folder!r} is not absolute", folder)
        found.append(os.path.realpath(full))
    return found
