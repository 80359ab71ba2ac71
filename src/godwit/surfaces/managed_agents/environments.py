"""Environments: where sessions run. A document each; a session keeps the configuration it began with."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic
from fastapi import APIRouter, Depends
from starlette.requests import Request

from ...core.document import Document, encode_body
from ...core.errors import (
    ConfigurationError,
    Conflict,
    DocumentExists,
    DocumentNotFound,
    InvalidArgument,
    NotFound,
    RevisionConflict,
)
from ...core.packages import MANAGERS, MOST, Manager, package
from ...core.principal import Principal
from ..server.hosts import hosts_of
from ..server.service import Service
from .body import body
from .caller import Operator, Reader, id_of
from .paging import paged
from .query import Query, moment, moment_or_none
from .shapes import Shape, metadata_of, patched

KIND = "managed_agents.environment"
_TRIES = 20

Name = Annotated[str, pydantic.Field(min_length=1, max_length=256)]
Description = Annotated[str, pydantic.Field(max_length=2048)]
Visible = Literal["organization", "account"]


class Networking(Shape):
    type: Literal["unrestricted", "limited"]
    allow_mcp_servers: bool | None = None
    allow_package_managers: bool | None = None
    allowed_hosts: list[str] | None = None


class Packages(Shape):
    type: Literal["packages"] | None = None
    apt: list[str] | None = None
    cargo: list[str] | None = None
    gem: list[str] | None = None
    go: list[str] | None = None
    npm: list[str] | None = None
    pip: list[str] | None = None


class Cloud(Shape):
    type: Literal["cloud"]
    networking: Networking | None = None
    packages: Packages | None = None


class SelfHosted(Shape):
    type: Literal["self_hosted"]


Config = Annotated[Cloud | SelfHosted, pydantic.Field(discriminator="type")]


class EnvironmentCreate(Shape):
    name: Name
    config: Config | None = None
    description: Description | None = None
    metadata: dict[str, str] = pydantic.Field(default_factory=dict)
    scope: Visible | None = None


class EnvironmentUpdate(Shape):
    """What is left out stays as it is."""

    name: Name | None = None
    config: Config | None = None
    description: Description | None = None
    metadata: dict[str, str | None] | None = None
    scope: Visible | None = None


async def environment_of(service: Service, principal: Principal, environment: str) -> Document:
    """NotFound, also for one of another tenant."""
    try:
        return await service.store.get_document(KIND, environment, tenant=principal.tenant)
    except DocumentNotFound:
        raise NotFound(f"there is no environment {environment!r}", error_code="environment_not_found") from None


def environment_routes(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/environments")
    store = service.store

    async def put(document: Document, name: str) -> Document:
        try:
            return (await store.put_documents([document]))[0]
        except DocumentExists as error:
            if error.details["id"] == document.id:
                return await store.get_document(KIND, document.id, tenant=document.tenant)  # this is done again
            raise Conflict(f"name: there is an environment named {name!r} already", name=name) from None

    @routes.post("")
    async def create(
        principal: Operator, request: Request, given: Annotated[EnvironmentCreate, Depends(body(EnvironmentCreate))]
    ) -> dict[str, Any]:
        data = {
            "name": given.name,
            "description": given.description or "",
            "config": _shown_config(given.config or Cloud(type="cloud"), None, service.settings.reach),
            "metadata": metadata_of(given.metadata, code="invalid_metadata"),
            "scope": given.scope or "organization",
        }
        await service.tenants.room(principal, "documents")
        name = id_of(request, "env") or service.new_id("env")
        return _shown(
            await put(Document(KIND, name, encode_body(data), principal.tenant, unique={"name": given.name}), given.name)
        )

    @routes.get("")
    async def listed(principal: Reader, request: Request) -> dict[str, Any]:
        query = Query(request)
        archived = None if query.flag("include_archived") else False

        async def fetch(limit: int, after: tuple[int, str] | None, ascending: bool) -> list[Document]:
            return await store.documents(
                KIND, tenant=principal.tenant, limit=limit, after=after, ascending=ascending, archived=archived
            )

        page = await paged(query, "environments", fetch, lambda one: (one.created_ms, one.id))
        return page.body([_shown(one) for one in page.rows])

    @routes.get("/{environment}")
    async def get(principal: Reader, environment: str) -> dict[str, Any]:
        return _shown(await environment_of(service, principal, environment))

    @routes.post("/{environment}")
    async def update(
        principal: Operator, environment: str, given: Annotated[EnvironmentUpdate, Depends(body(EnvironmentUpdate))]
    ) -> dict[str, Any]:
        for _ in range(_TRIES):
            old = await environment_of(service, principal, environment)
            data = _changed(old, given, service.settings.reach)
            if data == old.data():
                return _shown(old)
            try:
                return _shown(await put(old.changed(data, unique={"name": data["name"]}), data["name"]))
            except RevisionConflict:
                continue  # on what somebody else has made of it
        raise RevisionConflict(f"environment {environment!r} is being changed by others all the time")

    @routes.delete("/{environment}")
    async def delete(principal: Operator, environment: str) -> dict[str, Any]:
        await environment_of(service, principal, environment)
        await store.delete_document(KIND, environment, tenant=principal.tenant)
        return {"id": environment, "type": "environment_deleted"}

    @routes.post("/{environment}/archive")
    async def archive(principal: Operator, environment: str) -> dict[str, Any]:
        for _ in range(_TRIES):
            old = await environment_of(service, principal, environment)
            if old.archived_ms is not None:
                return _shown(old)
            with contextlib.suppress(RevisionConflict):
                return _shown((await store.put_documents([old.changed(old.data(), archived_ms=service.now_ms())]))[0])
        raise RevisionConflict(f"environment {environment!r} is being changed by others all the time")

    return routes


def _changed(old: Document, given: EnvironmentUpdate, reach: Sequence[str]) -> dict[str, Any]:
    """What the environment says with what was given in its place. InvalidArgument."""
    if old.archived_ms is not None:
        raise InvalidArgument(f"environment {old.id!r} is archived", error_code="environment_archived")
    data = old.data()
    if given.name is not None:
        data["name"] = given.name
    if given.has("description"):
        data["description"] = given.description or ""
    if given.config is not None:
        if given.config.type != data["config"]["type"]:
            raise InvalidArgument(
                f"config.type: it is {data['config']['type']} and stays so: make another environment",
                error_code="invalid_config_type_change",
            )
        data["config"] = _shown_config(given.config, data["config"], reach)
    data["metadata"] = patched(data["metadata"], given.metadata, code="invalid_metadata")
    data["scope"] = given.scope or data["scope"]
    return data


def _shown(document: Document) -> dict[str, Any]:
    return {
        "type": "environment",
        "id": document.id,
        **document.data(),
        "created_at": moment(document.created_ms),
        "updated_at": moment(document.updated_ms),
        "archived_at": moment_or_none(document.archived_ms),
    }


def _shown_config(given: Cloud | SelfHosted, old: dict[str, Any] | None, reach: Sequence[str]) -> dict[str, Any]:
    """The configuration with its defaults written out; a part that was left out of an update stays. InvalidArgument."""
    if isinstance(given, SelfHosted):
        return {"type": "self_hosted"}
    networking: dict[str, Any] = {"type": "unrestricted"} if old is None else old["networking"]
    if given.networking is not None:
        networking = _shown_networking(given.networking, networking, reach)
    packages: dict[str, Any] = {"type": "packages", **{manager: [] for manager in MANAGERS}}
    packages |= {} if old is None else old["packages"]
    for manager in MANAGERS if given.packages is not None else ():
        specs: list[str] | None = getattr(given.packages, manager)
        if specs is not None:
            _check_packages(manager, specs)
            packages[manager] = specs
    if networking["type"] == "limited" and not networking["allow_package_managers"] and any(map(packages.get, MANAGERS)):
        raise InvalidArgument(
            "config.packages: packages under a limited network need networking.allow_package_managers to be true"
        )
    return {"type": "cloud", "networking": networking, "packages": packages}


def _check_packages(manager: Manager, specs: list[str]) -> None:
    where = f"config.packages.{manager}"
    if len(specs) > MOST:
        raise InvalidArgument(f"{where}: it names more than {MOST} packages")
    for number, spec in enumerate(specs):
        try:
            package(f"{manager}:{spec}")
        except ConfigurationError as error:
            raise InvalidArgument(f"{where}.{number}: {error.message}") from None


def _shown_networking(given: Networking, old: dict[str, Any], reach: Sequence[str]) -> dict[str, Any]:
    if given.type == "unrestricted":
        if given.allowed_hosts or given.allow_package_managers or given.allow_mcp_servers:
            raise InvalidArgument("config.networking: what is unrestricted has no exceptions; take the type limited")
        return {"type": "unrestricted"}
    hosts_of(given.allowed_hosts or (), reach=reach, param="config.networking.allowed_hosts")
    before = old if old["type"] == "limited" else {}

    def stays(name: str, otherwise: Any) -> Any:
        said = getattr(given, name)
        return before.get(name, otherwise) if said is None else said

    return {
        "type": "limited",
        "allowed_hosts": stays("allowed_hosts", []),
        "allow_mcp_servers": stays("allow_mcp_servers", False),
        "allow_package_managers": stays("allow_package_managers", False),
    }
