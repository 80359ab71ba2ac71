"""Routes of vaults: `/v1/vaults`, but for their credentials. They are the tenant's, whichever protocol they were made in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from starlette.requests import Request

from ...core.errors import InvalidArgument, RevisionConflict
from ...core.ids import derived_id
from ...host.credentials import Credential
from ...host.vaults import Vault
from ..server.service import Service, key_of, principal_of
from .body import Shape, body, metadata_of
from .pages import asked, page, pairs_asked

NAME_BYTES = 256
_TRIES = 20

R = TypeVar("R", Vault, Credential)


class VaultCreate(Shape):
    name: str | None = None
    metadata: dict[str, str] | None = None


class VaultUpdate(Shape):
    """What is left out stays as it is."""

    name: str | None = None
    metadata: dict[str, str] | None = None


def vault_routes(service: Service) -> APIRouter:
    """`/vaults` and one of them."""
    router = APIRouter(prefix="/v1")
    vaults = service.vaults

    @router.post("/vaults")
    async def create(request: Request, given: Annotated[VaultCreate, Depends(body(VaultCreate))]) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        metadata = metadata_of(given.metadata)
        name = "" if given.name is None else name_of(given.name)
        await service.tenants.room(principal, "documents")
        return _shown(await vaults.create(name, metadata, tenant=principal.tenant, vault=own_id(request, "vlt")))

    @router.get("/vaults")
    async def every(request: Request) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        tenant = principal.tenant
        wanted, archived = asked(request, "metadata", "status"), archived_asked(request)
        after = None
        if wanted.after is not None:
            last = await vaults.get(wanted.after, tenant=tenant)
            after = (last.created_ms, last.id)

        async def fetch(limit: int, after: tuple[int, str] | None) -> list[Vault]:
            return await vaults.page(tenant=tenant, limit=limit, after=after, ascending=wanted.ascending, archived=archived)

        return await matching(fetch, wanted.limit, after, pairs_asked(request), _shown)

    @router.get("/vaults/{vault_id}")
    async def retrieve(request: Request, vault_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("read")
        return _shown(await vaults.get(vault_id, tenant=principal.tenant))

    @router.post("/vaults/{vault_id}")
    async def update(
        request: Request, vault_id: str, given: Annotated[VaultUpdate, Depends(body(VaultUpdate))]
    ) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        metadata = metadata_of(given.metadata) if given.has("metadata") else None
        name = None if not given.has("name") else "" if given.name is None else name_of(given.name)
        for last in (*[False] * _TRIES, True):
            old = await vaults.get(vault_id, tenant=principal.tenant)
            title = old.title if name is None else name
            kept = old.metadata if metadata is None else metadata
            try:
                made = await vaults.update(vault_id, title, kept, tenant=principal.tenant, expect=old.revision)
            except RevisionConflict:
                if last:
                    raise
            else:
                return _shown(made)
        raise AssertionError

    @router.delete("/vaults/{vault_id}")
    async def delete(request: Request, vault_id: str) -> dict[str, Any]:
        principal = principal_of(request)
        principal.require("operate")
        await vaults.delete(vault_id, tenant=principal.tenant)
        return {"id": vault_id, "object": "vault.deleted", "deleted": True}

    return router


def name_of(given: str) -> str:
    """A name, trimmed. InvalidArgument."""
    name = given.strip()
    if not 0 < len(name.encode("utf-8", "replace")) <= NAME_BYTES:
        raise InvalidArgument(f"name: it takes 1 to {NAME_BYTES} bytes after trimming", param="name")
    return name


def own_id(request: Request, kind: str) -> str | None:
    """The id of what this request makes, the same when its client sends it again; None when it cannot be sent again."""
    key = key_of(request)
    return None if key is None else derived_id(kind, principal_of(request).tenant or "", key)


def archived_asked(request: Request) -> bool | None:
    """Of the `status` asked for: only what is archived, or what is not; None for both. InvalidArgument."""
    query = request.query_params
    wanted = {value for name, value in query.multi_items() if name.partition("[")[0] == "status"}
    if not wanted <= {"active", "archived"}:
        raise InvalidArgument(f"status {sorted(wanted)[0][:20]!r} is neither active nor archived", param="status")
    return None if len(wanted) != 1 else wanted == {"archived"}


async def matching(
    fetch: Callable[[int, tuple[int, str] | None], Any],
    limit: int,
    after: tuple[int, str] | None,
    pairs: Mapping[str, str],
    show: Callable[[R], dict[str, Any]],
) -> dict[str, Any]:
    """A page of those whose metadata has all of these pairs."""
    found: list[R] = []
    while len(found) <= limit:
        rows: Sequence[R] = await fetch(limit + 1, after)
        found += [row for row in rows if all(row.metadata.get(key) == value for key, value in pairs.items())]
        if len(rows) <= limit:
            break
        after = (rows[-1].created_ms, rows[-1].id)
    return page([show(one) for one in found[:limit]], more=len(found) > limit)


def _shown(vault: Vault) -> dict[str, Any]:
    return {
        "id": vault.id,
        "object": "vault",
        "name": vault.title or None,
        "metadata": vault.metadata,
        "created_at": vault.created_ms // 1000,
    }
