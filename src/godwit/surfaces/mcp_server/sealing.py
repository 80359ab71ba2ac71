"""Sealing: the state that clients of the newer protocol hold while they ask a person, to be read and made by us alone.

The SDK seals and opens it, bound to the tool, its arguments and the caller. Owns the key: one for all servers on a database,
kept among its secrets, so that a state is good after a restart and with another server.
"""

from __future__ import annotations

import json
import os
from typing import Any, Protocol

from mcp.server.context import ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

from ...core.errors import DocumentExists, DocumentNotFound, RevisionConflict
from ...core.principal import Principal
from ...host.runtime import Runtime

KIND, NAME = "mcp_server", "request_state"
"""Where the key is, among the secrets."""
TTL_S = 30 * 86_400.0
"""How long a person may take. It only says which run a call waits for; whether the caller may see that is asked anew."""
_BYTES = 32


class PrincipalOf(Protocol):
    """Who sends a request."""

    def __call__(self, ctx: ServerRequestContext[Any, Any]) -> Principal: ...


async def sealing(runtime: Runtime, principal_of: PrincipalOf) -> RequestStateBoundary:
    """The middleware that does it. SecretUnreadable, StoreError, ConfigurationError (the file of keys)."""

    def bound(ctx: ServerRequestContext[Any, Any]) -> str:
        principal = principal_of(ctx)
        return json.dumps([principal.tenant, principal.id])

    security = RequestStateSecurity(keys=[await _key(runtime)], ttl=TTL_S, bind_principal=bound)
    return RequestStateBoundary(security, default_audience="godwit")


async def _key(runtime: Runtime) -> bytes:
    while True:
        try:
            return await runtime.secrets.get(KIND, NAME, tenant=None)
        except DocumentNotFound:
            pass
        made = await runtime.secrets.seal(KIND, NAME, os.urandom(_BYTES), tenant=None)
        try:
            await runtime.store.put_documents([made])
        except (DocumentExists, RevisionConflict):
            continue  # another server was first
