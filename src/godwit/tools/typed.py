"""The base of the built-in tools: arguments are a msgspec struct, which gives the schema, the checks and the words for
errors.

Leaves out what a tool does. Rules: a subclass states its name, description, traits and argument struct as class variables;
`work` gets checked arguments; anything godwit refuses on the way becomes ToolFailed, so a model always gets an error result
and never ends a run. Built-in tools must not need pydantic.
"""

from __future__ import annotations

import os.path
import re
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from ..contracts import HasLinks, ToolContext, ToolOutput, ToolTraits, Workspace
from ..core.agent import ToolDefinition
from ..core.errors import GodwitError, InvalidToolArguments, ToolFailed
from ..core.messages import Text
from .schema import inlined

_AT = re.compile(r"^(?P<problem>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.+?)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.+?)`$")


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all argument structs."""


A = TypeVar("A", bound=Arguments)


class TypedTool(Generic[A]):
    """A tool whose arguments are the struct `arguments`."""

    name: ClassVar[str]
    description: ClassVar[str]
    traits: ToolTraits = ToolTraits()
    arguments: type[A]

    @cached_property
    def definition(self) -> ToolDefinition:
        schema = msgspec.json.schema(self.arguments)
        return ToolDefinition(self.name, self.description, inlined(schema))

    def validate(self, arguments: dict[str, Any]) -> None:
        self.checked(arguments)

    def checked(self, arguments: dict[str, Any]) -> A:
        """The arguments as their struct. Numbers and booleans may come as strings. InvalidToolArguments."""
        try:
            return msgspec.convert(arguments, self.arguments, strict=False)
        except msgspec.ValidationError as error:
            known = [field.encode_name for field in msgspec.structs.fields(self.arguments)]
            parameter, problem = _explained(str(error), known)
            raise InvalidToolArguments(
                f"invalid arguments for tool {self.name!r}: {problem}", tool=self.name, parameter=parameter
            ) from None

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        checked = self.checked(arguments)
        try:
            return await self.work(checked, context)
        except ToolFailed:
            raise
        except GodwitError as error:
            raise ToolFailed(error.message, reason=error.code, **error.details) from error

    async def work(self, arguments: A, context: ToolContext) -> ToolOutput:
        """What the tool does; the one method a subclass must bring."""
        raise ToolFailed(f"tool {self.name!r} has no body")


def _explained(message: str, known: list[str]) -> tuple[str | None, str]:
    found = _AT.match(message)
    problem, path = (found["problem"], found["path"] or "") if found else (message, "")
    parameter = path.lstrip(".")
    if missing := _MISSING.match(problem):
        name = ".".join(p for p in (parameter, missing["name"]) if p)
        return name, f"parameter {name!r} is missing"
    if unknown := _UNKNOWN.match(problem):
        name = ".".join(p for p in (parameter, unknown["name"]) if p)
        return name, f"unknown parameter {name!r}" + ("" if parameter else f"; it takes {', '.join(known)}")
    wording = problem[:1].lower() + problem[1:].replace("`", "")
    if not parameter:
        return None, wording
    return parameter, f"parameter {parameter!r}: {wording}"


def clean(text: str) -> str:
    """The text without lone surrogates, which no log and no provider can take (file names may hold them)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def told(text: str, metadata: dict[str, Any], *, is_error: bool = False) -> ToolOutput:
    """A result of one text block."""
    return ToolOutput((Text(clean(text)),), is_error, metadata)


def lock_of(path: str, workspace: Workspace | None) -> frozenset[str]:
    """The lock of the call that writes `path`. Two names of one file, also through a link, give one lock."""
    root = "" if workspace is None else workspace.root
    known: object = workspace
    links = known.links if isinstance(known, HasLinks) else ()
    for name, folder in links:
        if path == name or path.startswith(name + "/"):
            path = folder + path[len(name) :]
            break
    try:
        return frozenset({os.path.realpath(os.path.join(root, path))})
    except (OSError, ValueError):
        return frozenset({os.path.join(root, path)})
