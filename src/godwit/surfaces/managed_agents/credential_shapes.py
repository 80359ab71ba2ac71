"""Credentials as this protocol writes them: what is secret comes in and never goes out.

What authenticates stands in `server.credential_shapes`. A credential for a variable of a sandbox answers 501.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from ...core.errors import NotSupported
from ...host.credentials import Credential
from ..server.credential_shapes import Bearer, OAuth, OAuthUpdate, Token, Variable, shown_auth
from .query import moment, moment_or_none
from .shapes import Shape

Name = Annotated[str, pydantic.Field(min_length=1, max_length=255)]


class CredentialCreate(Shape):
    auth: Annotated[OAuth | Bearer | Variable, pydantic.Field(discriminator="type")]
    display_name: str | None = pydantic.Field(None, max_length=255)
    metadata: dict[str, str] = pydantic.Field(default_factory=dict)


class BearerUpdate(Shape):
    type: Literal["static_bearer"]
    token: Token | None = None


class CredentialUpdate(Shape):
    """What is left out stays as it is."""

    auth: Annotated[OAuthUpdate | BearerUpdate | Variable, pydantic.Field(discriminator="type")] | None = None
    display_name: Name | None = None
    metadata: dict[str, str | None] | None = None


def no_variable() -> NotSupported:
    return NotSupported(
        "auth.type: godwit puts no secrets into what leaves a sandbox, so a credential for an environment variable would do "
        "nothing; take static_bearer or mcp_oauth"
    )


def shown_credential(credential: Credential) -> dict[str, Any]:
    return {
        "type": "vault_credential",
        "id": credential.id,
        "vault_id": credential.vault,
        "display_name": credential.title,
        "auth": shown_auth(credential, moment),
        "metadata": credential.metadata,
        "created_at": moment(credential.created_ms),
        "updated_at": moment(credential.updated_ms),
        "archived_at": moment_or_none(credential.archived_ms),
    }
