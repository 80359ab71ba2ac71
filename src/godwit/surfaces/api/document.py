"""The OpenAPI document: FastAPI's, with the bodies and answers of each operation from the engine's own types.

Rule: it is true. What it says of bodies is as strict as `wire.body`: no object of ours takes a field that it does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from ..server.errors import STATUS
from .operations import Operation, operation_of
from .shapes.errors import ErrorBody
from .streams import PATH, TREE_PATH

_REF = "#/components/schemas/{name}"
_EVENT = {
    "title": "Event",
    "description": "One event: its envelope, and the fields of its type, see docs/events.md.",
    "type": "object",
    "properties": {
        "seq": {"type": "integer", "minimum": 1},
        "at": {"type": "integer", "description": "Wall time in ms."},
        "session": {"type": "string"},
        "run": {"type": "string"},
        "correlation": {"type": "string"},
        "type": {"type": "string"},
    },
    "required": ["seq", "at", "session", "type"],
    "additionalProperties": True,
}
_TREE = {
    "summary": "Stream of a tree",
    "operationId": "stream_tree",
    "tags": ["events"],
    "description": (
        "Server-sent events: those of the session and of all that works for it by tasks, behind the cursor, then each new"
        " one, once each; an event's `session` says whose it is. A frame's `id` is the cursor, which is opaque, its `data`"
        " one Event. `event: end` comes last when the session is archived or deleted. Without a cursor it begins at the"
        " beginning."
    ),
    "parameters": [
        {"name": "session", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "cursor", "in": "query", "required": False, "schema": {"type": "string"}},
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The id of the last frame that was received; counts more than `cursor`.",
            "schema": {"type": "string"},
        },
    ],
    "responses": {
        "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    },
}
_STREAM = {
    "summary": "Stream",
    "operationId": "stream",
    "tags": ["events"],
    "description": (
        "Server-sent events: the stored events behind `from_seq`, then each new one, once each. A frame's `id` is the seq,"
        " its `data` one Event; with `deltas`, frames of `event: delta` between them show what is on its way, and have no"
        " id. `event: end` comes last when the session is archived or deleted. Without a place to begin it begins now."
    ),
    "parameters": [
        {"name": "session", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "from_seq", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 0}},
        {"name": "deltas", "in": "query", "required": False, "schema": {"type": "boolean", "default": False}},
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The seq of the last event that was received; counts more than `from_seq`.",
            "schema": {"type": "integer", "minimum": 0},
        },
    ],
    "responses": {
        "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    },
}


def document(app: FastAPI, routes: Sequence[APIRoute]) -> dict[str, Any]:
    """The document of this app; `routes`: its operations."""
    made = get_openapi(title="godwit", version=app.version, routes=app.routes, description=app.description)
    found = [(route, operation_of(route.endpoint)) for route in routes]
    schemas, components = _schemas([told for _, told in found])
    failed = {
        "description": "It was refused; `code` says why.",
        "content": _content({"$ref": _REF.format(name="ErrorBody")}),
    }
    for route, told in found:
        for method in route.methods or ():
            entry = made["paths"][route.path_format][method.lower()]
            entry["operationId"] = route.name
            entry["description"] = " ".join((route.endpoint.__doc__ or "").split())
            if told.upload:
                file = {"type": "string", "format": "binary"}
                entry["requestBody"] = {"required": True, "content": _content(file, "application/octet-stream")}
            if told.takes is not None:
                entry["requestBody"] = {"required": True, "content": _content(schemas[told.takes])}
            entry["responses"] = {**_answers(told, schemas), **_refusals(failed)}
            entry["x-scope"] = told.scope or ("read" if method == "GET" else "operate")
    made["paths"][PATH] = {
        "get": {**_STREAM, "x-scope": "read", "responses": {**_STREAM["responses"], **_refusals(failed)}}  # type: ignore[dict-item]
    }
    made["paths"][TREE_PATH] = {
        "get": {**_TREE, "x-scope": "read", "responses": {**_TREE["responses"], **_refusals(failed)}}  # type: ignore[dict-item]
    }
    made["components"] = {
        "schemas": {**components, "Event": _EVENT},
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    made["security"] = [{"key": []}, {}]
    return made


def _answers(told: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    if told.gives is None:
        return {"204": {"description": "It is done."}}
    schema = {"type": "string", "format": "binary"} if told.gives is bytes else schemas[told.gives]
    given = {str(told.status): {"description": "What is asked for.", "content": _content(schema, told.media)}}
    for status, kind in told.also.items():
        given[str(status)] = {"description": (kind.__doc__ or "").strip(), "content": _content(schemas[kind])}
    return given


def _refusals(failed: dict[str, Any]) -> dict[str, Any]:
    return {str(status): failed for status in sorted({*STATUS.values(), 405, 500})}


def _content(schema: Any, media: str | tuple[str, ...] = "application/json") -> dict[str, Any]:
    return {one: {"schema": schema} for one in ((media,) if isinstance(media, str) else media)}


def _schemas(operations: list[Operation]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """The schema of each type that is taken or given, and the components they are made of."""
    kinds: dict[Any, None] = {ErrorBody: None}
    for told in operations:
        for kind in (told.takes, None if told.gives is bytes else told.gives, *told.also.values()):
            if kind is not None:
                kinds[kind] = None
    schemas, components = msgspec.json.schema_components(list(kinds), ref_template=_REF)
    for component in components.values():
        if component.get("type") == "object" and "properties" in component:
            component["additionalProperties"] = False
            if "description" in component:
                component["description"] = " ".join(component["description"].split())
    return dict(zip(kinds, schemas, strict=True)), components
