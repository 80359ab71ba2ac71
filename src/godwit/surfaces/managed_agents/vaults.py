"""Routes of vaults: `/v1/vaults`, but for their credentials."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Depends
from starlette.requests import Request

from ...core.principal import Principal
from ...host.vaults import Vault
from ..server.service import Service
from .body import body
from .caller import Operator, Reader, id_of
from .paging import paged
from .patching import patch
from .query import Query, moment, moment_or_none
from .shapes import Shape, metadata_of, patched

MOST_PER_PAGE = 100

Name = Annotated[str, pydantic.Field(min_length=1, max_length=255)]


class VaultCreate(Shape):
    display_name: Name
    metadata: dict[str, str] = pydantic.Field(default_factory=dict)


class VaultUpdate(Shape):
    """What is left out stays as it is."""

    display_name: Name | None = None
    metadata: dict[str, str | None] | None = None


async def check_vaults(service: Service, principal: Principal, vault_ids: list[str]) -> None:
    """Whether a session may be made with these vaults: NotFound, also for another tenant's; InvalidArgument."""
    await service.vaults.check(vault_ids, tenant=principal.tenant)


def vault_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/vaults")
    vaults = service.vaults

    @routes.post("")
    async def create(
        principal: Operator, request: Request, given: Annotated[VaultCreate, Depends(body(VaultCreate))]
    ) -> dict[str, Any]:
        metadata = metadata_of(given.metadata)
        await service.tenants.room(principal, "documents")
        made = await vaults.create(given.display_name, metadata, tenant=principal.tenant, vault=id_of(request, "vlt"))
        return _shown(made)

    @routes.get("")
    async def listed(principal: Reader, request: Request) -> dict[str, Any]:
        query = Query(request)
        archived = None if query.flag("include_archived") else False

        async def fetch(limit: int, after: tuple[int, str] | None, ascending: bool) -> list[Vault]:
            return await vaults.page(
                tenant=principal.tenant, limit=limit, after=after, ascending=ascending, archived=archived
            )

        page = await paged(query, "vaults", fetch, lambda one: (one.created_ms, one.id), most=MOST_PER_PAGE)
        return page.body([_shown(one) for one in page.rows])

    @routes.get("/{vault}")
    async def get(principal: Reader, vault: str) -> dict[str, Any]:
        return _shown(await vaults.get(vault, tenant=principal.tenant))

    @routes.post("/{vault}")
    async def update(
        principal: Operator, vault: str, given: Annotated[VaultUpdate, Depends(body(VaultUpdate))]
    ) -> dict[str, Any]:
        async def change() -> Vault:
            old = await vaults.get(vault, tenant=principal.tenant)
            title, metadata = given.display_name or old.title, patched(old.metadata, given.metadata)
            return await vaults.update(vault, title, metadata, tenant=principal.tenant, expect=old.revision)

        return _shown(await patch(change))

    @routes.delete("/{vault}")
    async def delete(principal: Operator, vault: str) -> dict[str, Any]:
        await vaults.delete(vault, tenant=principal.tenant)
        return {"id": vault, "type": "vault_deleted"}

    @routes.post("/{vault}/archive")
    async def archive(principal: Operator, vault: str) -> dict[str, Any]:
        return _shown(await patch(lambda: vaults.archive(vault, tenant=principal.tenant)))

    return routes


def _shown(vault: Vault) -> dict[str, Any]:
    return {
        "type": "vault",
        "id": vault.id,
        "display_name": vault.title,
        "metadata": vault.metadata,
        "created_at": moment(vault.created_ms),
        "updated_at": moment(vault.updated_ms),
        "archived_at": moment_or_none(vault.archived_ms),
    }
