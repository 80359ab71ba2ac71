"""Search: which service web_search asks, where a configuration file chooses it, and the toolbox that has the tool then.

Leaves out how a service is asked (`tools.web_search`). Rules a change must keep: a key is never in a file, which names the
variable that holds it; what is nearer to the process counts, a tool of the program before `GODWIT_SEARCH` before a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

from ..core.errors import ConfigurationError, ToolFailed

if TYPE_CHECKING:
    from ..tools.toolbox import Toolbox

TOOL = "web_search"
TOOLSET = "web"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class SearchSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[web_search]`. `backend`: the service. `key_env`: the name of the variable that holds its key, in capitals, None for
    the service's usual one. `url`: of the SearXNG instance, which has no key. ConfigurationError."""

    backend: Literal["searxng", "brave", "tavily"]
    key_env: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.backend == "searxng":
            if self.key_env is not None:
                raise ConfigurationError("searxng takes no key: leave out key_env", field="key_env")
            if self.url is None:
                raise ConfigurationError('searxng needs the address of the instance: url = "http://..."', field="backend")
        elif self.url is not None:
            raise ConfigurationError(f"url is the address of a SearXNG, and {self.backend} has its own", field="url")
        # The value is not shown: it may be the key itself.
        if self.key_env is not None and not _VARIABLE.fullmatch(self.key_env):
            raise ConfigurationError(
                "key_env is no name of a variable in capitals: name the one that holds the key, never the key itself",
                field="key_env",
            )
        if self.url is not None:
            from ..tools import url

            try:
                url.parse(self.url)
            except ToolFailed as error:
                raise ConfigurationError(f"url: {error.message}", field="url") from None


class Searching:
    """The toolbox of a folder. `settings`: what the files of a folder choose, None for nothing."""

    def __init__(self, toolbox: Toolbox, settings: Callable[[str | None], SearchSettings | None]) -> None:
        self._toolbox = toolbox
        self._settings = settings
        self._made: dict[SearchSettings, Toolbox] = {}

    def toolbox(self, names: Iterable[str], folder: str | None) -> Toolbox:
        """The one that these tools are selected from. What gives the settings may raise ConfigurationError."""
        if not {TOOL, TOOLSET}.intersection(names):
            return self._toolbox  # files are read only for who asks
        if TOOL in self._toolbox.names or os.environ.get("GODWIT_SEARCH", "").strip():
            return self._toolbox
        settings = self._settings(folder)
        if settings is None:
            return self._toolbox
        if settings not in self._made:
            from ..tools.web_search import WebSearch, named_backend

            backend = named_backend(settings.backend, os.environ, variable=settings.key_env, address=settings.url)
            if isinstance(backend, str):
                # Not kept: the variable may be set by the time somebody asks again.
                return self._toolbox.without(TOOL, backend)
            self._made[settings] = self._toolbox.extended(TOOLSET, WebSearch(backend))
        return self._made[settings]
