"""Operations: the routes that no dialect has: health, metrics, and what an administrator of a tenant asks for.

    GET    /healthz              it answers; no key
    GET    /readyz               the store can be reached, runs of dead processes were gone on with; no key
    GET    /metrics              Prometheus; admin, and the operator's alone: it counts what all tenants do
    GET    /admin/audit          the audit log of the tenant; admin
    GET    /admin/keys           its keys, without the keys; admin
    POST   /admin/keys           a new key, shown this once; admin
    DELETE /admin/keys/{id}      take a key back; admin

A key without a tenant is the operator's: it makes keys for every tenant, and lists those of one with `?tenant=`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope as ASGIScope, Send

from ...core.errors import DocumentNotFound, GodwitError, InvalidArgument, NotFound, PermissionDenied
from ...core.principal import Principal, Scope
from .body import bounded
from .errors import plain
from .exchange import exchange_of
from .login_pages import LOGIN_PATH, came_back
from .metrics import CONTENT_TYPE
from .rule import ADMIN, Rule
from .service import principal_of

if TYPE_CHECKING:
    from ...host.api_keys import ApiKey
    from .front import Front

MAX_PAGE = 1000
MAX_EXPIRES_S = 100 * 365 * 86_400
_ADMIN_READ = Rule("admin", False)
_encoder = msgspec.json.Encoder()


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tenant`: only from the operator. `expires_in_s`: seconds; None for never."""

    name: str
    scopes: tuple[Scope, ...] = ("operate",)
    tenant: str | None = None
    expires_in_s: float | None = None


def operations(front: Front, ready: Callable[[], bool]) -> ASGIApp:
    """The app; `ready`: whether the server has come up."""

    def admin(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def admitted(request: Request) -> Response:
            exchange = exchange_of(request.scope)
            assert exchange is not None
            exchange.rule = _ADMIN_READ if request.method in ("GET", "HEAD") else ADMIN
            await front.admit(request, exchange)
            if exchange.rule.writes:
                await front.audit.begin(exchange, front.service.now_ms())
            return await answer(request)

        return admitted

    async def healthy(_: Request) -> Response:
        return _json({"status": "ok"})

    async def is_ready(_: Request) -> Response:
        if front.service.tenants.ending or not ready():
            return _json({"status": "not ready", "why": "it ends" if front.service.tenants.ending else "it starts"}, 503)
        try:
            await front.service.store.documents("ready", tenant=None, limit=1)
        except GodwitError as error:
            return _json({"status": "not ready", "why": error.code}, 503)
        return _json({"status": "ok"})

    async def login(request: Request) -> Response:
        return await came_back(front.service.runtime, request)

    async def metrics(request: Request) -> Response:
        if principal_of(request).tenant is not None:
            raise PermissionDenied("what all tenants do is for a key without a tenant")
        return Response(await front.metrics.text(front.service), media_type=CONTENT_TYPE)

    async def audit(request: Request) -> Response:
        principal = principal_of(request)
        limit = _number(request, "limit", 100, MAX_PAGE)
        after = _page(request.query_params.get("page"))
        entries, following = await front.audit.entries(
            _tenant(principal, request.query_params.get("tenant")),
            principal=request.query_params.get("principal"),
            limit=limit or 100,
            after=after,
            from_ms=_number(request, "from_ms", None, 1 << 53),
            to_ms=_number(request, "to_ms", None, 1 << 53),
        )
        return _json({"data": entries, "next_page": None if following is None else f"{following[0]}.{following[1]}"})

    async def keys(request: Request) -> Response:
        return await (create_key if request.method == "POST" else list_keys)(request)

    async def list_keys(request: Request) -> Response:
        tenant = _tenant(principal_of(request), request.query_params.get("tenant"))
        return _json(
            {"data": [_shown(key, front.service.now_ms()) for key in await front.callers.keys.list(tenants=[tenant])]}
        )

    async def create_key(request: Request) -> Response:
        principal = principal_of(request)
        receive = bounded(request, request.receive, ADMIN, front.service.settings)
        try:
            wanted = msgspec.json.decode(await Request(request.scope, receive).body(), type=NewKey)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"the body says no new key: {error}") from None
        now, expires = front.service.now_ms(), None
        if wanted.expires_in_s is not None:
            if not 0 < wanted.expires_in_s <= MAX_EXPIRES_S:
                raise InvalidArgument(
                    f"expires_in_s has to be greater than 0 and at most {MAX_EXPIRES_S}; leave it out for never"
                )
            expires = now + int(wanted.expires_in_s * 1000)
        key, made = await front.callers.keys.create(
            wanted.name, tenant=_tenant(principal, wanted.tenant), scopes=wanted.scopes, expires_ms=expires
        )
        return _json({**_shown(made, now), "key": key}, 201)

    async def revoke_key(request: Request) -> Response:
        principal, key_id = principal_of(request), request.path_params["id"]
        found = await front.callers.keys.get(key_id)
        if principal.tenant is not None and found.tenant != principal.tenant:
            raise DocumentNotFound(f"there is no api_key {key_id!r}", kind="api_key", id=key_id)
        return _json(_shown(await front.callers.keys.revoke(key_id), front.service.now_ms()))

    return Router(
        routes=[
            _Route("/healthz", healthy),
            _Route("/readyz", is_ready),
            _Route("/metrics", admin(metrics)),
            _Route(LOGIN_PATH, login),
            _Route("/admin/audit", admin(audit)),
            _Route("/admin/keys", admin(keys), methods=["GET", "POST"]),
            _Route("/admin/keys/{id}", admin(revoke_key), methods=["DELETE"]),
        ],
        redirect_slashes=False,
        default=_nothing,
    )


class _Route(Route):
    async def handle(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        assert self.methods is not None
        if scope["method"] in self.methods:
            await self.app(scope, receive, send)
            return
        error = NotFound(f"{scope['path']} takes {', '.join(sorted(self.methods))} alone")
        response = plain(error, 405)
        response.headers["allow"] = ", ".join(sorted(self.methods))
        await response(scope, receive, send)


async def _nothing(scope: ASGIScope, _: Receive, __: Send) -> None:
    raise NotFound(f"there is nothing at {scope['path']}")


def _tenant(principal: Principal, wanted: str | None) -> str | None:
    if wanted is None or wanted == principal.tenant:
        return principal.tenant
    if principal.tenant is not None:
        raise PermissionDenied("this is another tenant's")
    return wanted


def _number(request: Request, name: str, default: int | None, most: int) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return default
    number = int(given) if len(given) <= 16 and given.isascii() and given.isdigit() else 0
    if not 0 < number <= most:
        raise InvalidArgument(f"{name} {given[:40]!r} is no number from 1 to {most}")
    return number


def _page(given: str | None) -> tuple[int, str] | None:
    if given is None:
        return None
    at, _, document = given.partition(".")
    if not at.isascii() or not at.isdigit() or len(at) > 16 or not document:
        raise InvalidArgument("this page was not given by this route")
    return int(at), document


def _shown(key: ApiKey, now_ms: int) -> dict[str, Any]:
    return {**msgspec.to_builtins(key), "state": key.state(now_ms)}


def _json(content: Any, status: int = 200) -> Response:
    return Response(_encoder.encode(content), status, media_type="application/json")
