"""Tools made from Python functions, and tools that have no body.

    @tool
    async def weather(city: str, days: int = 1) -> str:
        '''Tell the weather.

        Args:
            city: The name of the city.
        '''

The signature and the docstring give the definition; arguments are checked and converted by pydantic, which is imported when
a definition is first looked at and not before. What a function raises becomes ToolFailed with type and message; no traceback
ever reaches a model. Rules: a synchronous function runs in a thread of its own, so one that hangs blocks neither the event
loop nor other work, and its result is dropped when the call is cancelled. Schemas have no `$ref` at the top.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import (
    Annotated,
    Any,
    Generic,
    NamedTuple,
    NotRequired,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from ..contracts import CancelToken, ToolContext, ToolOutput, ToolTraits, Verified, Workspace
from ..core.agent import ToolDefinition
from ..core.errors import ConfigurationError, GodwitError, InvalidToolArguments, ToolFailed
from ..core.events import Labels
from ..core.ids import CallId, RunId, SessionId
from ..core.rules import Verdict
from .docstrings import parse
from .results import output_of
from .schema import Schema, inlined
from .thread import in_thread

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_EXTERNAL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
"""Names given elsewhere may be as long as any provider takes them."""
_CONTEXT_NAMES = ("ctx", "context", "tool_context")
Locks = Callable[[dict[str, Any]], Iterable[str]] | Iterable[str]


class Context:
    """Marks the parameter that gets the value given with `send`: `user: Annotated[User, Context()]`.

    The model does not see the parameter. With no value given, the parameter's default is used, or None where its type allows
    it; otherwise the call fails.
    """


class _Parameter(NamedTuple):
    name: str
    default: Any  # inspect.Parameter.empty when it must be given


class FunctionTool(Generic[P, R]):
    """A tool that calls a function; made by `tool`. Calling it calls the function."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        traits: ToolTraits = ToolTraits(),  # noqa: B008 - frozen
        locks: Locks | None = None,
        namespace: dict[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.name = _tool_name(name or str(getattr(function, "__name__", type(function).__name__)))
        self.traits = traits
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._locks = locks
        self._namespace = namespace or {}
        self._described = parse(inspect.getdoc(function))
        self._description = self._described.description if description is None else description
        plain = getattr(function, "func", function)  # of a functools.partial
        self._target = plain if inspect.isroutine(plain) else type(plain).__call__
        self._is_async = inspect.iscoroutinefunction(self._target)
        self._signature = self._checked_signature()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"FunctionTool({self.name!r})"

    @cached_property
    def definition(self) -> ToolDefinition:
        """What the model is told. ConfigurationError when an annotation cannot become a JSON schema."""
        return ToolDefinition(self.name, self._description, self._model.schema)

    def validate(self, arguments: dict[str, Any]) -> None:
        self._model.convert(arguments)

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        if self._locks is None or self.traits.read_only:
            return frozenset()
        return frozenset(self._locks(arguments) if callable(self._locks) else self._locks)

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Call the function. Without a ToolContext of its own to watch, it is left as soon as the call is cancelled."""
        values = self._model.convert(arguments)
        injected = self._injected
        for name in injected.values:
            self._give(values, name, context)
        for name in injected.contexts:
            values[name] = context if self._is_async else _ContextForThread(context, asyncio.get_running_loop())
        if injected.contexts:
            return await self._call(values)
        work = asyncio.ensure_future(self._call(values))
        take_back = context.cancel.on_cancel(lambda: _discard(work.cancel()))
        try:
            return await work
        except asyncio.CancelledError:
            if context.cancel.cancelled and not _being_cancelled():
                raise ToolFailed(f"{self.name} was cancelled") from None
            raise
        finally:
            take_back()

    async def _call(self, values: dict[str, Any]) -> ToolOutput:
        function: Callable[..., Any] = self.function
        try:
            if self._is_async:
                result = await function(**values)
            else:
                result, failure = await in_thread(lambda: function(**values))
                if failure is not None:
                    raise _failed(failure) from failure
                if inspect.isawaitable(result):
                    result = await result
        except asyncio.CancelledError as error:
            if _being_cancelled():
                raise
            raise _failed(error) from error
        except ToolFailed:
            raise
        except Exception as error:
            raise _failed(error) from error
        return output_of(result)

    def _give(self, values: dict[str, Any], name: str, context: ToolContext) -> None:
        parameter = self._signature.parameters[name]
        if context.context is not None:
            values[name] = context.context
        elif parameter.default is inspect.Parameter.empty:
            if not _allows_none(self._hints.get(name)):
                raise ToolFailed(f"{self.name} needs a context: give one with send(..., context=...)")
            values[name] = None

    # --- the signature ----------------------------------------------------------------------------------------------

    def _checked_signature(self) -> inspect.Signature:
        function: Any = self.function
        if inspect.isclass(function) or not callable(function):
            raise ConfigurationError(f"a tool is made from a function, not from {function!r}")
        if inspect.isgeneratorfunction(self._target) or inspect.isasyncgenfunction(self._target):
            raise ConfigurationError(f"tool {self.name!r} is a generator: return the whole result instead")
        try:
            signature = inspect.signature(function)
        except ValueError:
            raise ConfigurationError(
                f"tool {self.name!r} has no signature to make a schema from: wrap it in a function"
            ) from None
        kinds = {
            inspect.Parameter.VAR_POSITIONAL: "takes any number of positional arguments",
            inspect.Parameter.VAR_KEYWORD: "takes any keyword argument",
            inspect.Parameter.POSITIONAL_ONLY: "is positional only",
        }
        for number, parameter in enumerate(signature.parameters.values()):
            if parameter.kind in kinds:
                raise ConfigurationError(
                    f"tool {self.name!r}: parameter {parameter.name!r} {kinds[parameter.kind]}, "
                    "and a model can only give named arguments"
                )
            if number == 0 and parameter.name in ("self", "cls") and parameter.annotation is inspect.Parameter.empty:
                raise ConfigurationError(
                    f"tool {self.name!r} is a method: make the tool from the bound one, tool(object.method)"
                )
        return signature

    @cached_property
    def _hints(self) -> dict[str, Any]:
        target: Any = inspect.unwrap(self._target)
        try:
            return get_type_hints(target, localns=self._namespace, include_extras=True)
        except (NameError, AttributeError, TypeError, SyntaxError) as error:
            raise ConfigurationError(f"tool {self.name!r}: an annotation cannot be read: {error}") from error

    @cached_property
    def _injected(self) -> _Injected:
        contexts, values = [], []
        for parameter in self._signature.parameters.values():
            hint = self._hints.get(parameter.name, inspect.Parameter.empty)
            if _is_tool_context(hint) or (hint is inspect.Parameter.empty and parameter.name in _CONTEXT_NAMES):
                contexts.append(parameter.name)
            elif any(mark is Context or isinstance(mark, Context) for mark in _marks(hint)):
                values.append(parameter.name)
        return _Injected(tuple(contexts), tuple(values))

    @cached_property
    def _model(self) -> _ArgumentModel:
        hidden = {*self._injected.contexts, *self._injected.values}
        parameters = [_Parameter(p.name, p.default) for p in self._signature.parameters.values() if p.name not in hidden]
        return _ArgumentModel(self.name, parameters, self._hints, self._described.parameters)


class _Injected(NamedTuple):
    contexts: tuple[str, ...]
    values: tuple[str, ...]


class _ArgumentModel:
    """The JSON schema of a signature, and the conversion of arguments to it, by pydantic.

    A TypedDict and not a model class: its keys may have any name, and a missing argument stays missing, so the function's
    own default applies.
    """

    def __init__(self, name: str, parameters: list[_Parameter], hints: dict[str, Any], described: dict[str, str]) -> None:
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


class ExternalTool:
    """A tool whose calls are answered from outside. Made by `external_tool`."""

    def __init__(self, definition: ToolDefinition) -> None:
        if not _EXTERNAL_NAME.fullmatch(definition.name):
            raise ConfigurationError(
                f"{definition.name!r} cannot be a tool's name: it takes 1 to 128 letters, digits, '_' and '-'",
                name=definition.name,
            )
        self.definition = definition
        self.traits = ToolTraits(external=True)
        self._schema = Schema(definition.parameters)

    def validate(self, arguments: dict[str, Any]) -> None:
        if problem := self._schema.problem(arguments):
            parameter, words = problem
            where = f"parameter {parameter!r}: " if parameter else ""
            raise InvalidToolArguments(
                f"invalid arguments for tool {self.definition.name!r}: {where}{words}",
                tool=self.definition.name,
                parameter=parameter or None,
            )

    def locks(self, arguments: dict[str, Any], workspace: Workspace | None) -> frozenset[str]:
        return frozenset()

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        raise ToolFailed(f"{self.definition.name} is answered from outside and cannot be run here")


@overload
def tool(fn: Callable[P, R], /) -> FunctionTool[P, R]: ...
@overload
def tool(
    fn: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    repeatable: bool = False,
    exclusive: bool = False,
    read_only: bool = False,
    locks: Locks | None = None,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
@overload
def tool(
    fn: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    repeatable: bool = False,
    exclusive: bool = False,
    read_only: bool = False,
    locks: Locks | None = None,
) -> FunctionTool[P, R]: ...
def tool(
    fn: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    repeatable: bool = False,
    exclusive: bool = False,
    read_only: bool = False,
    locks: Locks | None = None,
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """Make a tool from a typed function, with or without `async`; also as a decorator, with or without options.

    `name`, `description`: default to the function's name and the text of its docstring.
    `timeout_s`: seconds a call may take; None takes the agent's limit.
    `repeatable`: a call may be run again after a crash. `read_only`: it changes nothing, and so is repeatable as well.
    `exclusive`: no other call runs beside it.
    `locks`: names, or a function from the arguments to names; calls that share one run one after the other.

    A parameter of type `ToolContext`, or one without annotation called `ctx`, `context` or `tool_context`, gets the call's
    context; one marked `Annotated[T, Context()]` gets the value given with `send`. ConfigurationError for `*args`,
    `**kwargs`, positional-only parameters, generators and unbound methods.
    """
    if timeout_s is not None and timeout_s <= 0:
        raise ConfigurationError(f"timeout_s={timeout_s!r} must be more than 0")
    if isinstance(locks, str):
        locks = (locks,)
    traits = ToolTraits(repeatable=repeatable or read_only, exclusive=exclusive, read_only=read_only, timeout_s=timeout_s)
    # Types that are local to the function around the tool are only reachable from here.
    namespace = _locals_of(sys._getframe(1))

    def make(function: Callable[P, R]) -> FunctionTool[P, R]:
        given: Any = function.function if isinstance(function, FunctionTool) else function
        return FunctionTool(given, name=name, description=description, traits=traits, locks=locks, namespace=namespace)

    return make if fn is None else make(fn)


def external_tool(name: str, description: str, parameters: dict[str, Any]) -> ExternalTool:
    """A tool without a body: its calls wait for an answer from outside. `parameters`: a JSON schema of type object.

    ConfigurationError when the schema or the name cannot be used.
    """
    return ExternalTool(ToolDefinition(name, description, parameters))


def _tool_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a tool's name: it takes 1 to 64 letters, digits, '_' and '-'; give one with name=",
            name=name,
        )
    return name


def _locals_of(frame: types.FrameType) -> dict[str, Any]:
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _marks(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _members(hint: Any) -> tuple[Any, ...]:
    bare = _bare(hint)
    return get_args(bare) if get_origin(bare) in (Union, types.UnionType) else (bare,)


def _is_tool_context(hint: Any) -> bool:
    return any(member is ToolContext for member in _members(hint))


def _allows_none(hint: Any) -> bool:
    return any(member in (type(None), None, Any) for member in _members(hint))


def _field_default(hint: Any, field_info: type) -> Callable[[], Any] | None:
    """The default of `Annotated[int, Field(default_factory=...)]`, which a TypedDict does not honour itself."""
    marks: list[Any] = [mark for mark in _marks(hint) if isinstance(mark, field_info)]
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


def _failed(error: BaseException) -> ToolFailed:
    """What a function raised, as the model is told. SystemExit in a thread of its own is a failure like others."""
    if isinstance(error, ToolFailed):
        return error
    if isinstance(error, GodwitError):
        return ToolFailed(error.message, reason=error.code, **error.details)
    if isinstance(error, asyncio.CancelledError):
        return ToolFailed("CancelledError: something the tool waited for was cancelled")
    text = str(error)
    return ToolFailed(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _discard(_: object) -> None:
    return None


class _ContextForThread:
    """A ToolContext for a function in a thread: what it shows or cancels is handed over to the event loop."""

    def __init__(self, inner: ToolContext, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    @property
    def session(self) -> SessionId:
        return self._inner.session

    @property
    def run(self) -> RunId | None:
        return self._inner.run

    @property
    def call(self) -> CallId:
        return self._inner.call

    @property
    def key(self) -> str:
        return self._inner.key

    @property
    def workspace(self) -> Workspace:
        return self._inner.workspace

    @property
    def labels(self) -> Labels:
        return self._inner.labels

    @property
    def context(self) -> Any:
        return self._inner.context

    @property
    def cancel(self) -> CancelToken:
        return self._inner.cancel

    @property
    def grace_s(self) -> float:
        return self._inner.grace_s

    async def verify(self) -> Verified:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._inner.verify(), self._loop))

    async def ask_model(self, prompt: str, *, model: str | None = None, purpose: str = "tool") -> str:
        asked = self._inner.ask_model(prompt, model=model, purpose=purpose)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, self._loop))

    def verdict(self, arguments: dict[str, Any]) -> Verdict:
        return self._inner.verdict(arguments)

    def output(self, text: str) -> None:
        self._soon(self._inner.output, text)

    def progress(self, text: str) -> None:
        self._soon(self._inner.progress, text)

    def _soon(self, show: Callable[[str], None], text: str) -> None:
        try:
            self._loop.call_soon_threadsafe(show, text)
        except RuntimeError:  # the loop is closed: nobody watches
            pass
