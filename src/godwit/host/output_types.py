"""OutputTypes: JSON Schemas for the answers of runs, of Python types and plain ones (`contracts.OutputTypes`).

A type is known by the schema that was made of it, as long as this process lives: another process, or this one after a
restart, holds an answer to the schema alone until the type is given again. Rule: regular expressions of a schema are
matched by an engine that takes linear time, since schemas come from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from ..core.errors import ConfigurationError, GodwitError
from ..core.output import OutputSpec
from ..tools.schema import Schema, inlined

_encoder = msgspec.json.Encoder(order="sorted")


class TypedOutputs:
    """See `contracts.OutputTypes`."""

    def __init__(self) -> None:
        self._types: dict[bytes, Any] = {}
        self._schemas: dict[bytes, Schema] = {}

    def spec(self, output: Any, retries: int | None = None) -> OutputSpec:
        if isinstance(output, OutputSpec):
            made = output if retries is None else msgspec.structs.replace(output, retries=retries)
            _schema(made.schema)
            return made
        if isinstance(output, dict):
            _schema(output)
            return OutputSpec(output) if retries is None else OutputSpec(output, retries)
        adapter = _adapter(output)
        name = getattr(output, "__name__", None)
        # With the type's name it is no schema that somebody else has written: whoever gives one is answered in plain JSON.
        schema = {"title": name if isinstance(name, str) else "answer", **inlined(adapter.json_schema())}
        _schema(schema)
        self._types[_encoder.encode(schema)] = adapter
        return OutputSpec(schema) if retries is None else OutputSpec(schema, retries)

    def problem(self, spec: OutputSpec, value: Any) -> str | None:
        key = _encoder.encode(spec.schema)
        adapter = self._types.get(key)
        if adapter is not None:
            return _refusal(adapter, value)
        schema = self._schemas.get(key)
        if schema is None:
            if len(self._schemas) >= 256:
                self._schemas.clear()
            schema = self._schemas[key] = _schema(spec.schema)
        try:
            problem = schema.problem(value)
        except Exception as error:  # a keyword of another shape than it should have, which only a value brings to light
            return f"the schema cannot be used: {error}"
        if problem is None:
            return None
        where, what = problem
        return f"{where}: {what}" if where else what

    def typed(self, spec: OutputSpec, value: Any) -> Any:
        from pydantic import ValidationError

        adapter = self._types.get(_encoder.encode(spec.schema))
        if adapter is None:
            return value
        try:
            return adapter.validate_python(value)
        except ValidationError:
            return value  # the type takes no more what it took when the run ended


def _adapter(given: Any) -> Any:
    from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

    try:
        adapter = TypeAdapter(given)
        adapter.json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError, NameError) as error:
        raise ConfigurationError(
            f"output {given!r} is neither a type that a schema can be made of nor a JSON Schema: {error}", output=repr(given)
        ) from None
    return adapter


def _refusal(adapter: Any, value: Any) -> str | None:
    from pydantic import ValidationError

    try:
        adapter.validate_python(value)
    except ValidationError as error:
        found = [(".".join(str(part) for part in one["loc"]), one["msg"]) for one in error.errors(include_url=False)[:10]]
        return "; ".join(f"{where}: {what}" if where else what for where, what in found)
    return None


def _schema(given: dict[str, Any]) -> Schema:
    try:
        return Schema(given, anything=True, whole=True, search=_linear_search())
    except GodwitError as error:
        raise ConfigurationError(f"output schema: {error.message}") from None
    except Exception as error:  # it comes from outside: it may be anything
        raise ConfigurationError(f"output schema is no JSON Schema: {error}") from None


@lru_cache(maxsize=1)
def _linear_search() -> Callable[[str, str], bool]:
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    @lru_cache(maxsize=256)
    def validator(pattern: str) -> SchemaValidator:
        try:
            return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
        except SchemaError as error:
            raise ConfigurationError(f"pattern {pattern!r} cannot be matched in linear time: {error}") from None

    def search(pattern: str, text: str) -> bool:
        return validator(pattern).isinstance_python(text)

    return search


__all__ = ["TypedOutputs"]
