"""How the app of a dialect finds a route: the one that FastAPI would take, without trying all there are."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from godwit.surfaces.server.routing import DialectApp, Table


def answering(text: str) -> Any:
    async def answer(request: Request) -> Response:
        return PlainTextResponse(f"{text} {sorted(request.path_params.items())} {request.scope['route'].path}")

    return answer


ROUTES = [
    Route("/v1/things", answering("all")),
    Route("/v1/things/new", answering("new")),
    Route("/v1/things/{thing}", answering("one")),
    Route("/v1/things/{thing}", answering("made"), methods=["POST"]),
    Route("/v1/files/{rest:path}", answering("file")),
    Route("/v1/files/a/b", answering("hidden behind the one before")),
]


@pytest.fixture
def client() -> TestClient:
    app = DialectApp(openapi_url=None)
    app.take(ROUTES)
    routes = APIRouter(prefix="/v2")

    @routes.get("/{number}")
    async def numbered(number: int) -> dict[str, int]:
        return {"number": number}

    app.take(routes)
    return TestClient(app)


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/v1/things", "all [] /v1/things"),
        ("GET", "/v1/things/new", "new [] /v1/things/new"),
        ("GET", "/v1/things/17", "one [('thing', '17')] /v1/things/{thing}"),
        ("POST", "/v1/things/new", "made [('thing', 'new')] /v1/things/{thing}"),
        ("GET", "/v1/files/a/b", "file [('rest', 'a/b')] /v1/files/{rest:path}"),
        ("GET", "/v1/files/" + "/".join("x" * 60), f"file [('rest', '{'/'.join('x' * 60)}')] /v1/files/{{rest:path}}"),
        ("GET", "/v2/17", '{"number":17}'),
    ],
)
def test_the_first_route_that_fits_answers(client: TestClient, method: str, path: str, found: str) -> None:
    assert client.request(method, path).text == found


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/things/", 404), ("DELETE", "/v1/things/17", 405), ("GET", "/v2/x", 422)],
)
def test_what_is_not_there_is_told_from_a_method_that_is_not(
    client: TestClient, method: str, path: str, status: int
) -> None:
    assert client.request(method, path).status_code == status


def test_methods_of_clients_own_make_it_keep_nothing() -> None:
    table = Table(ROUTES)
    for number in range(100):
        assert table.find({"type": "http", "method": f"M{number}", "path": "/v1/things"}) is None
    assert not table._found
