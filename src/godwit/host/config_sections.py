"""The sections of configuration files: which settings each has, how it is read, and what is left of it in a folder that is
not trusted.

Leaves out what a section does once it is read: that is the business of what its struct belongs to. Rules a change must
keep: a setting is a field of a struct in `Section.tables`, from which its variable and its entry in the manual follow; an
error names the line of the key it is about; a folder that is not trusted may deny, ask, confine, limit and keep more, and
nothing else; what of its file is not used is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ..core.addresses import place
from ..core.budget import budget_from_table
from ..core.errors import ConfigurationError, InvalidArgument
from ..core.hooks import HookSpec
from ..core.lanes import LaneConfig, LaneSettings
from ..core.mcp import McpServer
from ..core.rules import Permissions, Verdict
from ..core.sandbox import SandboxPolicy, only_stricter
from ..models.entry import ModelEntry, ProviderEntry
from ..models.registry import Registry
from .config_file import File, table_of
from .config_lanes import lanes_from
from .config_layers import Layer
from .config_servers import Servers, servers_from
from .mcp.settings import McpSettings
from .search import SearchSettings
from .server_settings import ServerSettings
from .terms import (
    BudgetSection,
    BudgetTerms,
    CheckpointTerms,
    ContextTerms,
    MemoryTerms,
    NudgeTerms,
    ToolSearchTerms,
    given as set_in,
)


class PermissionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[permissions]`: rules, and the verdict where none matches; None leaves that to the agent."""

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    default: Verdict | None = None

    @property
    def rules(self) -> Permissions:
        return Permissions(self.allow, self.ask, self.deny)


Left = list[tuple[str, Any, str]]
"""What is not used: its key (of a table within, with the name of it and a dot), its value, and what is said of it."""


Meets = Literal["added", "each", "whole", "named"]


@dataclass(frozen=True)
class Section:
    """A section of the files. `read`: the file's, from what TOML made of it; its errors name file and line. `untrusted`:
    what is left of a folder's that is not trusted, beside what the person's own file says in this section, if anything; with
    what is not used. `tables`: its tables and their settings, `NAME` for one by any name. `meets`: what becomes of two files
    that say something of it: they are added up, or of each setting, of the whole or of each name the folder's counts."""

    read: Callable[[File, Any], Any]
    untrusted: Callable[[Any, Any], tuple[Any, Left]]
    tables: Mapping[str, type[msgspec.Struct]]
    meets: Meets


def _unless_trusted(may: str) -> str:
    return f"is not used: this folder may {may}, unless you trust it"


_NOT_TRUSTED = _unless_trusted("only deny and ask")


def _permissions(file: File, given: Any) -> PermissionSection:
    found = file.table("permissions", given, PermissionSection)
    for key in ("allow", "ask", "deny"):
        for rule in getattr(found, key):
            try:
                Permissions(deny=(rule,))
            except ConfigurationError as error:
                raise file.error("permissions", key, error.message, rule) from None
    return found


def _only_stricter(given: PermissionSection, _: object) -> tuple[PermissionSection, Left]:
    left: Left = [("allow", rule, f"allow {rule!r} {_NOT_TRUSTED}") for rule in given.allow]
    default = given.default
    if default == "allow":
        left.append(("default", default, f"default 'allow' {_NOT_TRUSTED}"))
        default = None
    return PermissionSection((), given.ask, given.deny, default), left


def _hooks(file: File, given: Any) -> tuple[HookSpec, ...]:
    if not isinstance(given, list):
        raise file.error("", "hooks", "hooks are written as [[hooks]] tables")
    from .hook_settings import hooks_from_tables, hooks_from_toml

    if isinstance(file, Layer):
        if not all(isinstance(table, dict) for table in given):
            raise file.error("", "hooks", "hooks are a list of tables")
        return tuple(hooks_from_tables(given, [file.origins.get("hooks", file.path)] * len(given), source="set"))
    return tuple(hooks_from_toml(file.text, file.path, source="config"))


def _no_hooks(given: tuple[HookSpec, ...], _: object) -> tuple[tuple[HookSpec, ...], Left]:
    return (), [("", None, f"its {len(given)} hook(s) are not called: they run commands, and this folder is not trusted")]


def _sandbox(file: File, given: Any) -> SandboxPolicy:
    return file.table("sandbox", given, SandboxPolicy)


def _only_confining(given: SandboxPolicy, _: object) -> tuple[SandboxPolicy, Left]:
    kept, left_out = only_stricter(given)
    return kept, [(name, None, f"{name} {_unless_trusted('only confine more')}") for name in left_out]


def _budget(file: File, given: Any) -> BudgetSection:
    if not isinstance(given, dict):
        raise file.error("", "budget", "[budget] has to be a table")
    own = {key: value for key, value in given.items() if key != "tree"}
    return BudgetSection(_limits(file, "budget", own, "tree"), _limits(file, "budget.tree", given.get("tree", {})))


def _limits(file: File, name: str, given: Any, *beside: str) -> BudgetTerms:
    """One table of limits. `beside`: tables that it may hold as well."""
    if not isinstance(given, dict):
        raise file.error("budget", "tree", "[budget.tree] has to be a table")
    file.check_keys(name, given, [*BudgetTerms.__struct_fields__, *beside])
    for key, value in given.items():
        try:
            budget_from_table({key: value}, where=f"[{name}]")
        except ConfigurationError as error:
            raise file.error(name, key, error.message) from None
    made = budget_from_table(given)
    return BudgetTerms(**{key: getattr(made, key) for key in given})


def _only_lower(given: BudgetSection, own: BudgetSection | None) -> tuple[BudgetSection, Left]:
    left: Left = []
    kept = [
        _lower(getattr(given, scope), getattr(own or BudgetSection(), scope), prefix, left)
        for scope, prefix in (("session", ""), ("tree", "tree."))
    ]
    return BudgetSection(*kept), left


def _lower(given: BudgetTerms, own: BudgetTerms, prefix: str, left: Left) -> BudgetTerms:
    kept: dict[str, Any] = {}
    for key, value in set_in(given).items():
        if key in given.limits:
            most = own.limits.get(key)
            if most is None or value <= most:
                kept[key] = value
            else:
                left.append((prefix + key, None, f"{key} {value:g} {_unless_trusted(f'spend {most:g} at most')}"))
        elif (key, value) == ("unpriced", "deny"):
            kept[key] = value
        else:
            left.append((prefix + key, None, f"{key} {_unless_trusted('only lower limits')}"))
    return BudgetTerms(**kept)


def _checkpoints(file: File, given: Any) -> CheckpointTerms:
    return file.table("checkpoints", given, CheckpointTerms)


def _only_keeping(given: CheckpointTerms, _: object) -> tuple[CheckpointTerms, Left]:
    kept = {key: value for key, value in set_in(given).items() if (key, value) in _KEEPING}
    why = _unless_trusted("only turn checkpoints on, and block where they fail")
    return CheckpointTerms(**kept), [(key, None, f"{key} {why}") for key in set_in(given) if key not in kept]


# What else can be set keeps less of the files, or takes more of the disk.
_KEEPING: tuple[tuple[str, Any], ...] = (("enabled", True), ("on_failure", "block"))


def _context(file: File, given: Any) -> ContextTerms:
    return file.table("context", given, ContextTerms)


def _only_less(given: ContextTerms, _: object) -> tuple[ContextTerms, Left]:
    kept = {key: value for key, value in set_in(given).items() if key in ("files", "skills") and value is False}
    why = _unless_trusted("only turn off what is read")
    return ContextTerms(**kept), [(key, None, f"{key} {why}") for key in set_in(given) if key not in kept]


def _nudges(file: File, given: Any) -> NudgeTerms:
    return file.table("nudges", given, NudgeTerms)


def _only_quieter(given: NudgeTerms, _: object) -> tuple[NudgeTerms, Left]:
    kept: dict[str, Any] = {k: v for k, v in set_in(given).items() if not v}
    why = _unless_trusted("only turn nudges off")
    return NudgeTerms(**kept), [(key, None, f"{key} {why}") for key in set_in(given) if key not in kept]


def _tool_search(file: File, given: Any) -> ToolSearchTerms:
    return file.table("tool_search", given, ToolSearchTerms)


def _only_more_search(given: ToolSearchTerms, _: object) -> tuple[ToolSearchTerms, Left]:
    kept: dict[str, Any] = {k: v for k, v in set_in(given).items() if (k, v) == ("mode", "always")}
    why = _unless_trusted('only say mode = "always"')
    return ToolSearchTerms(**kept), [(key, None, f"{key} {why}") for key in set_in(given) if key not in kept]


def _memory(file: File, given: Any) -> MemoryTerms:
    return file.table("memory", given, MemoryTerms)


def _only_forgetting(given: MemoryTerms, _: object) -> tuple[MemoryTerms, Left]:
    kept: dict[str, Any] = {k: v for k, v in set_in(given).items() if k in ("enabled", "recall") and v is False}
    why = _unless_trusted("only turn memory off")
    return MemoryTerms(**kept), [(key, None, f"{key} {why}") for key in set_in(given) if key not in kept]


class McpSection(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[mcp]`: what is set of `McpSettings`, in its units; None is not set. ConfigurationError for what that refuses."""

    reach: tuple[str, ...] | None = None
    max_connections: int | None = None
    max_connections_per_tenant: int | None = None
    connect_s: float | None = None
    wait_s: float | None = None
    idle_s: float | None = None

    def __post_init__(self) -> None:
        for key, value in set_in(self).items():
            try:
                McpSettings(**{key: value})
            except ConfigurationError as error:
                raise ConfigurationError(error.message.removeprefix("McpSettings "), field=key) from None

    @property
    def settings(self) -> McpSettings:
        return McpSettings(**set_in(self))


def _mcp(file: File, given: Any) -> McpSection:
    if isinstance(given, dict) and "tokens" in given:
        raise file.error("mcp", "tokens", "[mcp] tokens: a token is never in a file: a program gives it to McpSettings")
    return file.table("mcp", given, McpSection)


def _no_mcp(_: McpSection, __: object) -> tuple[None, Left]:
    return None, [("", None, f"[mcp] {_unless_trusted('not say which servers of tools are reached')}")]


def _no_servers(given: Servers, _: object) -> tuple[Servers, Left]:
    why = _unless_trusted("not say which MCP servers there are")
    return {}, [(name, None, f"the MCP server {name!r} {why}") for name in given]


class AttachmentSection(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[attachments]`: `reach`: hosts and networks beside public ones that addresses of attachments may lead to; None is not
    set. ConfigurationError."""

    reach: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for entry in self.reach or ():
            try:
                place(entry)
            except ConfigurationError as error:
                raise ConfigurationError(error.message, field="reach") from None


def _attachments(file: File, given: Any) -> AttachmentSection:
    return file.table("attachments", given, AttachmentSection)


def _no_attachments(_: AttachmentSection, __: object) -> tuple[None, Left]:
    return None, [("", None, f"[attachments] {_unless_trusted('not say what is reached for files')}")]


def _web_search(file: File, given: Any) -> SearchSettings:
    if isinstance(given, dict):
        for key in ("key", "api_key", "token"):
            if key in given:
                raise file.error(
                    "web_search", key, f"[web_search] {key}: a key is never in a file: name its variable with key_env"
                )
        if "backend" not in given:
            raise file.error("", "web_search", "[web_search] chooses no backend: searxng, brave or tavily")
    return file.table("web_search", given, SearchSettings)


def _no_search(given: SearchSettings, _: object) -> tuple[None, Left]:
    why = _unless_trusted("not choose who is told what is searched for")
    return None, [("backend", None, f"backend {given.backend!r} {why}")]


def _models(file: File, given: Any) -> dict[str, ModelEntry]:
    found: dict[str, ModelEntry] = {}
    for name, table, said in _tables(file, "models", given):
        found[name] = file.table(table, said, ModelEntry)
    return found


def _providers(file: File, given: Any) -> dict[str, ProviderEntry]:
    found: dict[str, ProviderEntry] = {}
    for name, table, said in _tables(file, "providers", given):
        for key in ("key", "api_key", "token"):
            if isinstance(said, dict) and key in said:
                what = f"[{table}] {key}: a key is never in a file: name its variable with key_env"
                raise file.error(table, key, what)
        found[name] = file.table(table, said, ProviderEntry)
        try:
            Registry(environment={}).register_provider(
                name, kind=found[name].kind, base_url=found[name].base_url, api_key_env=found[name].key_env
            )
        except InvalidArgument as error:
            raise file.error("providers", name, f"[{table}] {error.message}") from None
    return found


def _tables(file: File, section: str, given: Any) -> Iterator[tuple[str, str, Any]]:
    """The tables within a section of names: the name, the table as the file writes it, and what stands in it."""
    if not isinstance(given, dict):
        raise file.error("", section, f"[{section}] has to be a table of tables, as in [{section}.NAME]")
    for name, said in given.items():
        if not name.strip():
            raise file.error("", section, f"[{section}] has a table without a name")
        yield name, table_of(section, name), said


def _no_models(given: Any, _: object) -> tuple[dict[str, Any], Left]:
    why = _unless_trusted("not say what a model's name means")
    return {}, [(name, None, f"{name} {why}") for name in given]


def _no_providers(given: Any, _: object) -> tuple[dict[str, Any], Left]:
    why = _unless_trusted("not say who is asked")
    return {}, [(name, None, f"{name} {why}") for name in given]


def _server(file: File, given: Any) -> ServerSettings:
    return file.table("server", given, ServerSettings)


def _no_server(_: ServerSettings, __: object) -> tuple[None, Left]:
    return None, [("", None, f"[server] {_unless_trusted('not say how a server is run')}")]


def _no_lanes(_: LaneSettings, __: object) -> tuple[None, Left]:
    return None, [("", None, f"[lanes] {_unless_trusted('not say what this process has room for')}")]


SECTIONS: dict[str, Section] = {
    "permissions": Section(_permissions, _only_stricter, {"permissions": PermissionSection}, "added"),
    "hooks": Section(_hooks, _no_hooks, {}, "added"),
    "sandbox": Section(_sandbox, _only_confining, {"sandbox": SandboxPolicy}, "added"),
    "budget": Section(_budget, _only_lower, {"budget": BudgetTerms, "budget.tree": BudgetTerms}, "each"),
    "checkpoints": Section(_checkpoints, _only_keeping, {"checkpoints": CheckpointTerms}, "each"),
    "context": Section(_context, _only_less, {"context": ContextTerms}, "each"),
    "nudges": Section(_nudges, _only_quieter, {"nudges": NudgeTerms}, "each"),
    "tool_search": Section(_tool_search, _only_more_search, {"tool_search": ToolSearchTerms}, "each"),
    "memory": Section(_memory, _only_forgetting, {"memory": MemoryTerms}, "each"),
    "web_search": Section(_web_search, _no_search, {"web_search": SearchSettings}, "whole"),
    "models": Section(_models, _no_models, {"models.NAME": ModelEntry}, "named"),
    "providers": Section(_providers, _no_providers, {"providers.NAME": ProviderEntry}, "named"),
    "server": Section(_server, _no_server, {"server": ServerSettings}, "whole"),
    "mcp": Section(_mcp, _no_mcp, {"mcp": McpSection}, "whole"),
    "mcp.servers": Section(servers_from, _no_servers, {"mcp.servers.NAME": McpServer}, "named"),
    "attachments": Section(_attachments, _no_attachments, {"attachments": AttachmentSection}, "whole"),
    "lanes": Section(lanes_from, _no_lanes, {"lanes": LaneSettings, "lanes.NAME": LaneConfig}, "whole"),
}
