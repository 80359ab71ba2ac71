"""The arguments of a function as a JSON schema, and what a model sends for them as values: by pydantic, loaded on first use.

Leaves out which parameters a model sees (`function`) and how a schema is made plain (`schema`). Rules: schemas have no
`$ref` at the top; what does not fit is told by the parameter's name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple, NotRequired, get_args, get_origin

from ..core.errors import ConfigurationError, InvalidToolArguments
from .schema import inlined


class Parameter(NamedTuple):
    name: str
    default: Any  # inspect.Parameter.empty when it must be given


class ArgumentModel:
    """The JSON schema of a signature, and the conversion of arguments to it, by pydantic.

    A TypedDict and not a model class: its keys may have any name, and a missing argument stays missing, so the function's
    own default applies.
    """

    def __init__(self, name: str, parameters: list[Parameter], hints: dict[str, Any], described: dict[str, str]) -> None:
        from pydantic import ConfigDict, TypeAdapter
        from pydantic.errors import PydanticUserError
        from pydantic.fields import FieldInfo
        from pydantic_core import PydanticUndefined
        from typing_extensions import TypedDict

        self._name = name
        self._defaults: dict[str, Callable[[], Any]] = {}
        fields: dict[str, Any] = {}
        shown: dict[str, Any] = {}
        for parameter in parameters:
            hint, default = hints.get(parameter.name, Any), parameter.default
            if isinstance(default, FieldInfo):  # the older way: days: int = Field(1, ge=1)
                field = default
                if field.metadata:
                    hint = Annotated[hint, *field.metadata]
                if field.description:
                    described = {**described, parameter.name: field.description}
                default = inspect.Parameter.empty
                if field.default_factory is not None or field.default is not PydanticUndefined:
                    self._defaults[parameter.name] = partial(field.get_default, call_default_factory=True)
                    default = None if field.default_factory is not None else field.default
            elif default is inspect.Parameter.empty and (own := _field_default(hint, FieldInfo)) is not None:
                self._defaults[parameter.name] = own
                default = None
            required = default is inspect.Parameter.empty
            if not required and default is not None:
                shown[parameter.name] = default
            fields[parameter.name] = hint if required else NotRequired[hint]
        try:
            made: Any = TypedDict
            arguments: Any = made("Arguments", fields)
            arguments.__pydantic_config__ = ConfigDict(extra="forbid")
            self._adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(arguments)
            raw = self._adapter.json_schema()
        except (PydanticUserError, NameError, TypeError) as error:
            first = str(error).split("\n\nFor further information")[0]
            raise ConfigurationError(f"tool {name!r}: the signature cannot become a JSON schema: {first}") from error
        properties: dict[str, Any] = raw.setdefault("properties", {})
        for parameter_name, schema in properties.items():
            if parameter_name in described and "description" not in schema:
                schema["description"] = described[parameter_name]
            if parameter_name in shown:
                known, value = _as_json(shown[parameter_name])
                if known:
                    schema["default"] = value
        self.schema = inlined(raw)
        self.schema.pop("description", None)

    def convert(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from pydantic import ValidationError

        try:
            values = dict(self._adapter.validate_python(arguments))
        except ValidationError as error:
            problems = [_problem(dict(one), self.schema) for one in error.errors(include_url=False, include_context=False)]
            told = "; ".join(text for _, text in problems[:5])
            raise InvalidToolArguments(
                f"invalid arguments for tool {self._name!r}: {told}", tool=self._name, parameter=problems[0][0]
            ) from None
        for name, default in self._defaults.items():
            if name not in values:
                values[name] = default()
        return values


def marks_of(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _field_default(hint: Any, field_info: type) -> Callable[[], Any] | None:
    """The default of `Annotated[int, Field(default_factory=...)]`, which a TypedDict does not honour itself."""
    marks: list[Any] = [mark for mark in marks_of(hint) if isinstance(mark, field_info)]
    return next((partial(mark.get_default, call_default_factory=True) for mark in marks if not mark.is_required()), None)


def _as_json(value: Any) -> tuple[bool, Any]:
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return True, to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, TypeError):
        return False, None


def _problem(error: dict[str, Any], schema: dict[str, Any]) -> tuple[str, str]:
    """The parameter a pydantic error is about, and what is wrong with it."""
    where = ""
    for step in error["loc"]:
        where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else str(step)
    properties = schema.get("properties", {})
    if error["type"] == "missing":
        expected = properties.get(where, {}).get("type")
        return where, f"parameter {where!r} is missing" + (f" (expected {expected})" if isinstance(expected, str) else "")
    if error["type"] == "extra_forbidden":
        return where, f"unknown parameter {where!r}" + (
            f"; it takes {', '.join(properties) or 'none'}" if "." not in where else ""
        )
    message = error["msg"]
    shown = repr(error["input"])
    shown = shown if len(shown) <= 100 else shown[:97] + "..."
    return where, f"parameter {where!r}: {message[:1].lower()}{message[1:]}, got {shown}" if where else message
