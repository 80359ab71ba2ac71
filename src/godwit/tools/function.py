"""Tools made from Python functions.

    @tool
    async def weather(city: str, days: int = 1) -> str:
        '''Tell the weather.

        Args:
            city: The name of the city.
        '''

The signature and the docstring give the definition; arguments are checked and converted by pydantic (`arguments`) when a
definition is first looked at and not before. What a function raises becomes ToolFailed with type and message; no traceback
ever reaches a model. Rule: a synchronous function runs in a thread of its own, so one that hangs blocks neither the event
loop nor other work, and its result is dropped when the call is cancelled.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import (
    Annotated,
    Any,
    Generic,
    NamedTuple,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from ..contracts import ToolContext, ToolOutput, ToolTraits, Workspace
from ..core.agent import ToolDefinition
from ..core.errors import ConfigurationError, GodwitError, ToolFailed
from ..threads import in_thread
from .arguments import ArgumentModel, Parameter, marks_of
from .docstrings import parse
from .results import output_of
from .thread_context import ContextForThread

P = ParamSpec("P")
R = TypeVar("R")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CONTEXT_NAMES = ("ctx", "context", "tool_context")
Locks = Callable[[dict[str, Any]], Iterable[str]] | Iterable[str]


class Context:
    """Marks the parameter that gets the value given with `send`: `user: Annotated[User, Context()]`.

    The model does not see the parameter. With no value given, the parameter's default is used, or None where its type allows
    it; otherwise the call fails.
    """


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
        given: ToolContext = context if self._is_async else ContextForThread(context, asyncio.get_running_loop())
        for name in injected.contexts:
            values[name] = given
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
                result, failure = await in_thread(lambda: function(**values), "godwit-tool")
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
            elif any(mark is Context or isinstance(mark, Context) for mark in marks_of(hint)):
                values.append(parameter.name)
        return _Injected(tuple(contexts), tuple(values))

    @cached_property
    def _model(self) -> ArgumentModel:
        hidden = {*self._injected.contexts, *self._injected.values}
        parameters = [Parameter(p.name, p.default) for p in self._signature.parameters.values() if p.name not in hidden]
        return ArgumentModel(self.name, parameters, self._hints, self._described.parameters)


class _Injected(NamedTuple):
    contexts: tuple[str, ...]
    values: tuple[str, ...]


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


def _tool_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a tool's name: it takes 1 to 64 letters, digits, '_' and '-'; give one with name=",
            name=name,
        )
    return name


def _locals_of(frame: types.FrameType) -> dict[str, Any]:
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _members(hint: Any) -> tuple[Any, ...]:
    bare = _bare(hint)
    return get_args(bare) if get_origin(bare) in (Union, types.UnionType) else (bare,)


def _is_tool_context(hint: Any) -> bool:
    return any(member is ToolContext for member in _members(hint))


def _allows_none(hint: Any) -> bool:
    return any(member in (type(None), None, Any) for member in _members(hint))


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
