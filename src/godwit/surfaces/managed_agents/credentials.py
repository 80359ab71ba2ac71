"""Routes of credentials: `/v1/vaults/{id}/credentials`. No answer holds anything secret of them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request

from ...core.errors import InvalidArgument
from ...core.principal import Principal
from ...host.credentials import Credential
from ...host.mcp.probe import FailedStep, probe
from ...host.oauth import RefreshFailed, ShownAnswer
from ..server.credential_shapes import OAuthUpdate, Variable, parts_of, type_of, until
from ..server.service import Service
from .body import body
from .caller import Operator, Reader, id_of
from .credential_shapes import BearerUpdate, CredentialCreate, CredentialUpdate, no_variable, shown_credential
from .paging import paged
from .patching import patch
from .query import Query, moment
from .shapes import metadata_of, patched
from .vaults import MOST_PER_PAGE


def credential_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/vaults/{vault}/credentials")
    vaults = service.vaults

    @routes.post("")
    async def create(
        principal: Operator,
        vault: str,
        request: Request,
        given: Annotated[CredentialCreate, Depends(body(CredentialCreate))],
    ) -> dict[str, Any]:
        more: dict[str, Any] = {"tenant": principal.tenant, "title": given.display_name or None}
        more.update(metadata=metadata_of(given.metadata), credential=id_of(request, "vcrd"))
        await service.tenants.room(principal, "documents")
        if isinstance(given.auth, Variable):
            raise no_variable()
        return shown_credential(await vaults.add(vault, **parts_of(given.auth, service.now_ms()), **more))

    @routes.get("")
    async def listed(principal: Reader, vault: str, request: Request) -> dict[str, Any]:
        query = Query(request)
        archived = None if query.flag("include_archived") else False

        async def fetch(limit: int, after: tuple[int, str] | None, ascending: bool) -> list[Credential]:
            return await vaults.credentials(
                vault, tenant=principal.tenant, limit=limit, after=after, ascending=ascending, archived=archived
            )

        name = f"credentials of {vault}"
        page = await paged(query, name, fetch, lambda one: (one.created_ms, one.id), most=MOST_PER_PAGE)
        return page.body([shown_credential(one) for one in page.rows])

    @routes.get("/{credential}")
    async def get(principal: Reader, vault: str, credential: str) -> dict[str, Any]:
        return shown_credential(await vaults.credential(vault, credential, tenant=principal.tenant))

    @routes.post("/{credential}")
    async def update(
        principal: Operator,
        vault: str,
        credential: str,
        given: Annotated[CredentialUpdate, Depends(body(CredentialUpdate))],
    ) -> dict[str, Any]:
        async def change() -> Credential:
            old = await vaults.credential(vault, credential, tenant=principal.tenant)
            fields: dict[str, Any] = {"metadata": patched(old.metadata, given.metadata), "expect": old.revision}
            if given.display_name is not None:
                fields["title"] = given.display_name
            secret: dict[str, str] = {}
            match given.auth:
                case None:
                    pass
                case BearerUpdate(token=token):
                    _same(old, "bearer")
                    secret = {} if token is None else {"token": token}
                case OAuthUpdate() as auth:
                    _same(old, "oauth")
                    secret = _renewed(service, old, auth, fields)
                case _:
                    raise no_variable()
            return await vaults.change(vault, credential, secret, tenant=principal.tenant, **fields)

        return shown_credential(await patch(change))

    @routes.delete("/{credential}")
    async def delete(principal: Operator, vault: str, credential: str) -> dict[str, Any]:
        await vaults.delete_credential(vault, credential, tenant=principal.tenant)
        return {"id": credential, "type": "vault_credential_deleted"}

    @routes.post("/{credential}/archive")
    async def archive(principal: Operator, vault: str, credential: str) -> dict[str, Any]:
        return shown_credential(await patch(lambda: vaults.archive_credential(vault, credential, tenant=principal.tenant)))

    @routes.post("/{credential}/mcp_oauth_validate")
    async def validate(principal: Operator, vault: str, credential: str) -> dict[str, Any]:
        found = await vaults.credential(vault, credential, tenant=principal.tenant)
        _same(found, "oauth")
        if found.archived_ms is not None:
            raise InvalidArgument(f"credential {credential!r} is archived")
        return await _validated(service, principal, found)

    return routes


def _same(credential: Credential, method: str) -> None:
    if credential.method != method:
        raise InvalidArgument(f"auth.type: credential {credential.id!r} is of type {type_of(credential)} and stays so")


def _renewed(service: Service, old: Credential, auth: OAuthUpdate, fields: dict[str, Any]) -> dict[str, str]:
    """What is secret of an update; the rest goes into `fields`."""
    secret = {} if auth.access_token is None else {"access_token": auth.access_token}
    if auth.has("expires_at"):
        fields["expires_ms"] = until(auth.expires_at, service.now_ms())
    if auth.refresh is None:
        return secret
    client = old.client
    if client is None:
        raise InvalidArgument("auth.refresh: the credential was made without one: add another")
    if auth.refresh.refresh_token is not None:
        secret["refresh_token"] = auth.refresh.refresh_token
    if auth.refresh.scope is not None:
        fields["client"] = msgspec.structs.replace(client, scope=auth.refresh.scope or None)
    new = auth.refresh.token_endpoint_auth
    if new is not None and new.client_secret is not None:
        if client.authentication == "none":
            raise InvalidArgument("auth.refresh.token_endpoint_auth: the credential was made without a client secret")
        secret["client_secret"] = new.client_secret
    return secret


async def _validated(service: Service, principal: Principal, credential: Credential) -> dict[str, Any]:
    """Ask the server with the token; when it refuses that one, renew it and ask again."""
    vaults, tenant = service.vaults, principal.tenant
    token: str | RefreshFailed | None = await vaults.token(credential.vault, credential.id, tenant=tenant)
    assert isinstance(token, str)
    failed = await probe(service.fetcher, credential.url, token)
    tried: dict[str, Any] | None = None
    if failed is not None and failed.answer is not None and failed.answer.status == 401:
        token = await vaults.renew(credential.vault, credential.id, tenant=tenant)
        tried = _shown_refresh(token)
        if isinstance(token, str):
            failed = await probe(service.fetcher, credential.url, token)
    return {
        "type": "vault_credential_validation",
        "credential_id": credential.id,
        "vault_id": credential.vault,
        "has_refresh_token": credential.client is not None,
        "status": "valid" if failed is None else "invalid" if failed.refused else "unknown",
        "mcp_probe": None if failed is None else _shown_step(failed),
        "refresh": tried,
        "validated_at": moment(service.now_ms()),
    }


def _shown_refresh(found: str | RefreshFailed | None) -> dict[str, Any]:
    match found:
        case None:
            return {"status": "no_refresh_token", "http_response": None}
        case RefreshFailed(answer=answer, reached=reached):
            return {"status": "failed" if reached else "connect_error", "http_response": _shown_answer(answer)}
        case _:
            return {"status": "succeeded", "http_response": None}


def _shown_step(failed: FailedStep) -> dict[str, Any]:
    return {"method": failed.method, "http_response": _shown_answer(failed.answer)}


def _shown_answer(answer: ShownAnswer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "status_code": answer.status,
        "content_type": answer.content_type,
        "body": answer.body,
        "body_truncated": answer.cut,
    }
