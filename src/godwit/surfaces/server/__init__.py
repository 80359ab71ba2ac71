"""The HTTP server: one front for all dialects. `serve` runs it, `create_app` gives the ASGI app to embed.

A dialect is one wire protocol in a package of its own beside this one; none knows another's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app
    from .listening import serve, serving
    from .settings import ServerSettings

__all__ = ["ServerSettings", "create_app", "serve", "serving"]

_MODULES = {"ServerSettings": ".settings", "create_app": ".app", "serve": ".listening", "serving": ".listening"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(_MODULES[name], __name__), name)
