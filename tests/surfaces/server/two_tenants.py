"""Two tenants with keys, and every route of every dialect: what one of them has made, the other does not find.

`walk` is for tests of dialects: it asks for each route of an app, with the ids of the first tenant wherever the path has a
place for one, as the second tenant, and looks at what comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

import godwit
from godwit.host.api_keys import ApiKeys
from godwit.surfaces.server import ServerSettings
from tests.patience import PATIENCE_S

from .running import RunningServer, running

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")
_OF_THE_SERVER = ("/godwit/v1/models/{model:path}",)
"""Places that name nothing of a tenant's: models are the server's, and every name may stand for one."""
_FORGETS = (("DELETE", "/godwit/v1/memories/{memory}"),)


@dataclass(frozen=True)
class TwoTenants:
    """`one`, `two`: clients with an administrator's key of each."""

    server: RunningServer
    one: httpx2.Client
    two: httpx2.Client
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Route:
    """A method and the template of a path of a dialect."""

    dialect: str
    method: str
    template: str

    def __str__(self) -> str:
        return f"{self.dialect}: {self.method} {self.template}"


@dataclass
class Walked:
    """What came of a walk: the status of each request, by its route."""

    statuses: dict[Route, list[int]] = field(default_factory=dict)


@contextmanager
def two_tenants(database: Path, **options: Any) -> Iterator[TwoTenants]:
    """A server and two tenants, who know nothing of each other. `options` as for `running`."""
    keys: dict[str, str] = {}

    async def prepare(runtime: godwit.Runtime) -> None:
        made = ApiKeys(runtime.store, runtime.clock, runtime.ids)
        for tenant in ("one", "two"):
            keys[tenant] = (await made.create(tenant, tenant=tenant, scopes=["admin"]))[0]

    settings = options.pop("settings", None) or ServerSettings(keys=True, models={"*": "scripted:any"})
    with running(database, settings=settings, prepare=prepare, **options) as server:
        one, two = (
            httpx2.Client(base_url=server.url, headers={"x-api-key": key}, timeout=PATIENCE_S) for key in keys.values()
        )
        with one, two:
            yield TwoTenants(server, one, two, keys)


def routes_of(server: RunningServer) -> list[Route]:
    """Every route of every dialect, and of none."""
    found = []
    for dialect in server.app.dialects:
        found += [Route(dialect.name, *one) for one in sorted(set(_routes(dialect.app)))]
    return found


def _routes(app: Any) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        parts = route.effective_route_contexts() if hasattr(route, "effective_route_contexts") else (route,)
        for part in parts:
            for method in sorted(part.methods or ()):
                if method in METHODS:
                    yield method, part.path


def filled(template: str, ids: Mapping[str, str], other: str) -> str:
    """The path with an id at each place; `other` where the place has none of its own."""
    return _PLACE.sub(lambda place: ids.get(place[1], other), template)


def walk(
    tenants: TwoTenants,
    ids: Mapping[str, str],
    *,
    marks: Sequence[str] = (),
    bodies: Sequence[Any] = (),
    headers: Mapping[str, Mapping[str, str]] | None = None,
) -> Walked:
    """As the second tenant, ask for every route with ids of the first.

    `ids`: by the names of places in paths. `marks`: texts of the first tenant's that nobody else may read; its ids are
    among them. `bodies`: what to send beside `{}`. `headers`: what requests to a dialect carry, by its name. Asserts that
    nothing of the first tenant comes back, and that nothing is done to it.
    """
    walked = Walked()
    secret = [*marks, *ids.values()]
    any_id = next(iter(ids.values()))
    for route in routes_of(tenants.server):
        path = filled(route.template, ids, any_id)
        own = dict((headers or {}).get(route.dialect, {}))
        for body in ({}, *bodies) if route.method != "GET" else (None,):
            answer = tenants.two.request(route.method, path, json=body, headers=own)
            walked.statuses.setdefault(route, []).append(answer.status_code)
            what = f"{route}: {answer.status_code} {answer.text[:300]}"
            if (route.method, route.template) in _FORGETS:
                # What is not there needs no forgetting: the same answer as for what nobody has.
                assert answer.status_code >= 400 or answer.json() == {"changed": False}, what
            elif _PLACE.search(route.template) and route.template not in _OF_THE_SERVER:
                assert 400 <= answer.status_code < 500 or answer.status_code == 501, what
            else:
                assert answer.status_code < 500 or answer.status_code == 501, what
            # What was asked for may be said again, as in "there is no session ...": that tells nothing.
            asked = path + (str(body) if body else "")
            leaked = [text for text in secret if text in answer.text and text not in asked]
            assert not leaked, what
    return walked


def refused_without_a_key(tenants: TwoTenants, headers: Mapping[str, Mapping[str, str]] | None = None) -> None:
    """No route answers somebody who has no key, or one that may not."""
    with httpx2.Client(base_url=tenants.server.url) as nobody:
        for route in routes_of(tenants.server):
            path = filled(route.template, {}, "nothing")
            answer = nobody.request(route.method, path, headers=dict((headers or {}).get(route.dialect, {})))
            assert answer.status_code == 401, f"{route}: {answer.status_code} {answer.text[:300]}"
