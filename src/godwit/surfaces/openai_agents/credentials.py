"""Routes and bodies of credentials: what is secret comes in and never goes out. What authenticates stands in
`server.credential_shapes`; a credential for a variable of a sandbox is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import pydantic
from fastapi import APIRouter, Depends
from starlette.requests import Request

from ...core.errors import InvalidArgument, NotSupported, RevisionConflict
from ...host.credentials import Credential
from ..server.credential_shapes import Bearer, OAuth, OAuthUpdate, Token, Variable, parts_of, shown_auth, type_of, until
from ..server.service import Service, principal_of
from .body import Shape, body, metadata_of
from .pages import asked, pairs_asked
from .vaults import archived_asked, matching, name_of, own_id

_TRIES = 20


class CredentialCreate(Shape):
    auth: Annotated[OAuth | Bearer | Variable, pydantic.Field(discriminator="type")]
    name: str
    metadata: dict[str, str] | None = None


class BearerUpdate(Shape):
    type: Literal["static_bearer"]
    token: Token


class CredentialUpdate(Shape):
    """What is left out stays as it is."""

    auth: Annotated[OAuthUpdate | BearerUpdate | Variable, pydantic.Field(discriminator="type")] | None = None
    metadata: dict[str, str] | None = None


def credential_routes(service: Service) -> APIRouter:
    """`/vaults/{vault_id}/credentials` and one of them."""
    router = APIRouter(prefix="/v1/vaults/{vault_id}")
    vaults = service.vaults

    @router.post("/credentials")
    async def create(
        request: Request, vault_id: str, given: Annotated[CredentialCreate, Depends(body(CredentialCreate))]
    ) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        more: dict[str, Any] = {"tenant": principal.tenant, "title": name_of(given.name)}
        more.update(metadata=metadata_of(given.metadata), credential=own_id(request, "vcrd"))
        await service.tenants.room(principal, "documents")
        if isinstance(given.auth, Variable):
            raise _no_variable()
        return _shown(await vaults.add(vault_id, **parts_of(given.auth, service.now_ms()), **more))

    @router.get("/credentials")
    async def every(request: Request, vault_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        tenant = principal.tenant
        wanted, archived = asked(request, "metadata", "status"), archived_asked(request)
        after = None
        if wanted.after is not None:
            last = await vaults.credential(vault_id, wanted.after, tenant=tenant)
            after = (last.created_ms, last.id)

        async def fetch(limit: int, after: tuple[int, str] | None) -> list[Credential]:
            return await vaults.credentials(
                vault_id, tenant=tenant, limit=limit, after=after, ascending=wanted.ascending, archived=archived
            )

        return await matching(fetch, wanted.limit, after, pairs_asked(request), _shown)

    @router.get("/credentials/{credential_id}")
    async def retrieve(request: Request, vault_id: str, credential_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        return _shown(await vaults.credential(vault_id, credential_id, tenant=principal.tenant))

    @router.post("/credentials/{credential_id}")
    async def update(
        request: Request,
        vault_id: str,
        credential_id: str,
        given: Annotated[CredentialUpdate, Depends(body(CredentialUpdate))],
    ) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        metadata = metadata_of(given.metadata) if given.has("metadata") else None
        for last in (*[False] * _TRIES, True):
            old = await vaults.credential(vault_id, credential_id, tenant=principal.tenant)
            fields: dict[str, Any] = {"metadata": old.metadata if metadata is None else metadata}
            secret = _changed(service, old, given.auth, fields)
            try:
                made = await vaults.change(
                    vault_id, credential_id, secret, tenant=principal.tenant, expect=old.revision, **fields
                )
            except RevisionConflict:
                if last:
                    raise
            else:
                return _shown(made)
        raise AssertionError

    @router.delete("/credentials/{credential_id}")
    async def delete(request: Request, vault_id: str, credential_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        await vaults.delete_credential(vault_id, credential_id, tenant=principal.tenant)
        return {"id": credential_id, "object": "vault.credential.deleted", "deleted": True}

    return router


def _changed(
    service: Service, old: Credential, auth: OAuthUpdate | BearerUpdate | Variable | None, fields: dict[str, Any]
) -> dict[str, str]:
    """What is secret of an update; the rest goes into `fields`. InvalidArgument, NotSupported."""
    match auth:
        case None:
            return {}
        case BearerUpdate(token=token):
            _same(old, "bearer")
            return {"token": token}
        case OAuthUpdate():
            _same(old, "oauth")
            return _renewed(service, old, auth, fields)
        case _:
            raise _no_variable()


def _renewed(service: Service, old: Credential, auth: OAuthUpdate, fields: dict[str, Any]) -> dict[str, str]:
    secret = {} if auth.access_token is None else {"access_token": auth.access_token}
    if auth.has("expires_at") or auth.access_token is not None:
        # A new token that comes without an end has none that is known.
        fields["expires_ms"] = until(auth.expires_at, service.now_ms())
    if auth.refresh is None:
        return secret
    client = old.client
    if client is None:
        raise InvalidArgument("auth.refresh: the credential was made without one: add another", param="auth.refresh")
    if auth.refresh.refresh_token is not None:
        secret["refresh_token"] = auth.refresh.refresh_token
    if auth.refresh.has("scope"):
        fields["client"] = msgspec.structs.replace(client, scope=auth.refresh.scope or None)
    new = auth.refresh.token_endpoint_auth
    if new is not None:
        if client.authentication != new.type:
            text = f"the credential's client authenticates by {client.authentication} and goes on so"
            raise InvalidArgument(f"auth.refresh.token_endpoint_auth: {text}", param="auth.refresh")
        if new.client_secret is not None:
            secret["client_secret"] = new.client_secret
    return secret


def _same(credential: Credential, method: str) -> None:
    if credential.method != method:
        text = f"credential {credential.id!r} is of type {type_of(credential)} and stays so"
        raise InvalidArgument(f"auth.type: {text}", param="auth.type")


def _no_variable() -> NotSupported:
    text = "no secrets are put into what leaves an environment; take static_bearer or mcp_oauth"
    return NotSupported(f"auth.type: {text}", param="auth.type")


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _shown(credential: Credential) -> dict[str, Any]:
    return {
        "id": credential.id,
        "object": "vault.credential",
        "vault_id": credential.vault,
        "name": credential.title or "",
        "auth": shown_auth(credential, _moment),
        "metadata": credential.metadata,
        "created_at": credential.created_ms // 1000,
        "updated_at": credential.updated_ms // 1000,
    }
