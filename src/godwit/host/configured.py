"""Configured: what a runtime takes from configuration files, for all folders alike or for each.

Leaves out how files are read and what they say together (`config.py`). What asks the configuration of a folder may raise
ConfigurationError: a file may have become wrong since it was read last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from ..contracts import Embedder, ModelRegistry
from ..core.agent import AgentSpec
from ..core.budget import Price
from ..core.errors import ConfigurationError
from ..core.hooks import HookSpec
from ..core.lanes import LaneConfig, LaneSettings
from ..core.mcp import McpServer
from ..core.sandbox import SandboxPolicy
from ..engine.permissions import Standing
from ..models.embedder import LiveEmbedder
from ..models.registry import Registry
from .auth_store import AuthStore
from .config import Config
from .folder_context import FolderFiles
from .mcp.settings import McpSettings
from .search import SearchSettings

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


def servers_of(config: Configs) -> Callable[[str | None], tuple[McpServer, ...]]:
    """The MCP servers of sessions in a folder. What it gives may raise ConfigurationError."""
    if config is None:
        return lambda _: ()
    if isinstance(config, Config):
        one = config.mcp_servers
        return lambda _: one
    return lambda workspace: config(workspace).mcp_servers


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


def process_of(config: Configs) -> Config:
    """What holds for a process, in no folder. What is wrong in a file is told when it is asked for a session: who only looks
    need not be told."""
    try:
        found = config if isinstance(config, Config) or config is None else config(None)
    except ConfigurationError:
        found = None
    return found or Config()


def mcp_of(config: Configs) -> McpSettings | None:
    """How the process connects to MCP servers, where a file says so."""
    said = process_of(config).mcp
    return None if said is None else said.settings


def link_reach_of(config: Configs) -> tuple[str, ...]:
    """Which hosts beside public ones the process fetches attachments from, where a file says so."""
    said = process_of(config).attachments
    return () if said is None else said.reach or ()


def memory_file_of(config: Configs) -> str | Literal[False] | None:
    """Where the process has its memories: a file's path, None for the store of its sessions, False for nowhere."""
    said = process_of(config).memory
    if said.enabled is False:
        return False
    return None if said.file is None else os.path.expanduser(said.file)


def embedder_of(given: Embedder | str | None, config: Configs, registry: ModelRegistry) -> Embedder | None:
    """Who makes vectors of memories: what is given, else what a file says. Of a name the registry's provider does, and who
    has a registry of another kind has no providers."""
    name = process_of(config).memory.embedder if given is None else given
    if not isinstance(name, str):
        return name
    return LiveEmbedder(name, registry) if isinstance(registry, Registry) else None


def lanes_of(config: Configs, given: LaneSettings | Sequence[LaneConfig] | None) -> LaneSettings | None:
    """The lanes of a process: those that are given, else of what gives the configuration of each folder, what it says of
    none. It may raise ConfigurationError."""
    if given is not None:
        return given if isinstance(given, LaneSettings) else LaneSettings(tuple(given))
    if config is None:
        return None
    return (config if isinstance(config, Config) else config(None)).lanes


def registry_of(config: Configs, *, prices: Mapping[str, Price] | None = None) -> Registry:
    """The providers and models that the files tell of, beside the known ones: the person's own file alone, where `config` is
    asked for each folder. What is wrong in that is told when it is asked for a session: who only looks need not be told."""
    found = process_of(config)
    registry = Registry(prices=prices, entries=found.models, keys=AuthStore())
    for name, entry in found.providers.items():
        registry.register_provider(
            name, kind=entry.kind, base_url=entry.base_url, api_key_env=entry.key_env, oauth=entry.oauth
        )
    return registry
