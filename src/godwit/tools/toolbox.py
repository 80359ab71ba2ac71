"""The tools an agent can name: single ones, and sets of them under one name.

Holds names and nothing else. Rules: `select` gives the same tools in the same order for the same names, because definitions
are part of the prompt prefix that providers cache; a name means one thing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from ..contracts import Tool
from ..core.errors import ConfigurationError, ToolNotFound
from ..core.shared_state import STATE_TOOLS
from .ask_user import AskUser
from .bash import Bash
from .files import Edit, Glob, Grep, Ls, Patch, Read, Write
from .function import tool as function_tool
from .memory import Forget, Recall, Remember
from .state import UpdateState
from .todo import EndGoal, TodoList
from .verify import Verify
from .web import WebFetch
from .web_search import WebSearch, backend_of


class Toolbox:
    """Implements `godwit.contracts.Toolbox`."""

    def __init__(self, tools: Iterable[Tool | Callable[..., Any]] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        self._sets: dict[str, tuple[str, ...]] = {}
        self._absent: dict[str, str] = {}
        for one in tools:
            self.register(one)

    @property
    def names(self) -> list[str]:
        """Every tool and toolset that can be selected."""
        return [*self._tools, *self._sets]

    def register(self, tool: Tool | Callable[..., Any], *, replace: bool = False) -> Tool:
        """Add a tool, or a function as one, and give it back. ConfigurationError when the name is taken and not
        `replace`."""
        made = _as_tool(tool)
        name = _name(made)
        if name in self._sets or (name in self._tools and self._tools[name] is not made and not replace):
            raise ConfigurationError(f"there is a tool or toolset named {name!r} already", tool=name)
        self._tools[name] = made
        return made

    def explain_absence(self, name: str, why: str) -> None:
        """Say what is missing for a tool that could be here, in the error for those who name it."""
        self._absent[name] = why

    def extended(self, name: str, tool: Tool) -> Toolbox:
        """Another toolbox: this one, and the tool, which is also in the toolset `name`. ConfigurationError when there is one
        of its name."""
        made = self._copy()
        made._sets[name] = (*made._sets.get(name, ()), _name(made.register(tool)))
        return made

    def without(self, name: str, why: str) -> Toolbox:
        """Another toolbox: this one, whose error for those who name the tool says what is missing for it."""
        made = self._copy()
        made.explain_absence(name, why)
        return made

    def _copy(self) -> Toolbox:
        made = Toolbox()
        made._tools, made._sets, made._absent = dict(self._tools), dict(self._sets), dict(self._absent)
        return made

    def register_set(self, name: str, tools: Iterable[Tool | Callable[..., Any] | str]) -> None:
        """Add a toolset: tools, which are registered with it, or names of registered ones. ToolNotFound,
        ConfigurationError."""
        if name in self._tools or name in self._sets:
            raise ConfigurationError(f"there is a tool or toolset named {name!r} already", tool=name)
        members = []
        for one in tools:
            if isinstance(one, str):
                self.select([one])
                members.append(one)
            else:
                made = self.register(one)
                members.append(_name(made))
        self._sets[name] = tuple(members)

    def select(self, names: Sequence[str]) -> list[Tool]:
        """The tools in the order they are first named, each once; a toolset stands for its tools in its own order."""
        unknown = [name for name in names if name not in self._tools and name not in self._sets]
        if unknown:
            raise ToolNotFound(
                f"there is no tool or toolset named {', '.join(map(repr, unknown))}; "
                f"there are the tools {', '.join(self._tools) or '(none)'} "
                f"and the toolsets {', '.join(self._sets) or '(none)'}"
                + "".join(f"; {name} is absent since {self._absent[name]}" for name in unknown if name in self._absent),
                unknown=unknown,
            )
        wanted: dict[str, Tool] = {}
        for name in names:
            for member in self._sets.get(name, (name,)):
                for one in [self._tools[member]] if member in self._tools else self.select([member]):
                    wanted.setdefault(_name(one), one)
        return list(wanted.values())


def _as_tool(given: Tool | Callable[..., Any]) -> Tool:
    # By its traits and not its definition, which for a function would load pydantic.
    made: Any = given if hasattr(given, "traits") else function_tool(given)
    return cast("Tool", made)


def _name(tool: Tool) -> str:
    return getattr(tool, "name", None) or tool.definition.name


def default_toolbox(environment: Mapping[str, str] | None = None, own: Iterable[Tool | Callable[..., Any]] = ()) -> Toolbox:
    """A new toolbox with what comes with godwit: the toolsets `files`, `memory` and `state`, the tools
    `bash`, `verify`, `todo`, `goal` and `ask_user`, and the toolset `web` with `web_fetch` and, when `environment` (the
    process's own by default) chooses a service, `web_search`.

    `own`: further tools. One that is of godwit's own class, as a `WebFetch` with other settings, takes the place of the one
    of its name, in its toolset too; any other of a name that is taken is a ConfigurationError.
    """
    toolbox = Toolbox()
    toolbox.register_set("files", [Read(), Write(), Edit(), Patch(), Ls(), Glob(), Grep()])
    toolbox.register(Bash())
    toolbox.register(Verify())
    toolbox.register(TodoList())
    toolbox.register(EndGoal())
    toolbox.register(AskUser())
    toolbox.register_set("memory", [Remember(), Recall(), Forget()])
    toolbox.register_set(STATE_TOOLS, [UpdateState()])
    made = [_as_tool(one) for one in own]
    search: Any = next((one for one in made if isinstance(one, WebSearch)), None)
    if search is None:
        search = backend_of(os.environ if environment is None else environment)
        if not isinstance(search, str):
            search = WebSearch(search)
    if isinstance(search, str):
        toolbox.explain_absence("web_search", search)
    toolbox.register_set("web", [WebFetch(), *([] if isinstance(search, str) else [search])])
    built_in = {name: there for name, there in toolbox._tools.items() if there not in made}
    for one in made:
        there = built_in.pop(_name(one), None)
        toolbox.register(one, replace=there is not None and isinstance(one, type(there)))
    return toolbox
