"""godwit's own API: everything a session's handle and a runtime offer that makes sense over a wire, under the same names.

Its types are those of the handle (`contracts.SessionHandle`), as JSON. The client is `godwit.client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import Api

__all__ = ["Api"]


def __getattr__(name: str) -> Any:
    if name != "Api":
        raise AttributeError(name)
    from .app import Api

    return Api
