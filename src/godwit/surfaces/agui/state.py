"""The state that an agent shares with a front end: it is kept here, and changes of it are told as patches."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Generic, TypeVar

import msgspec

from ...core.errors import InvalidArgument
from .patches import Patch, create_patch

T = TypeVar("T")


class StateManager:
    """A state that is JSON. `version` counts its changes from 0. What is given to it and got from it are copies."""

    def __init__(self, state: Any = None) -> None:
        self._state: Any = {} if state is None else _json(state)
        self.version = 0

    @property
    def current(self) -> Any:
        """The state."""
        return deepcopy(self._state)

    def snapshot(self) -> Any:
        """The state as STATE_SNAPSHOT carries it."""
        return deepcopy(self._state)

    def update(self, state: Any) -> Patch | None:
        """Takes a new state, and gives the patch that makes it of the old one; None, and no new version, where it is the
        same."""
        new = _json(state)
        patch = create_patch(self._state, new)
        if not patch:
            return None
        self._state, self.version = new, self.version + 1
        return patch

    def update_with(self, change: Callable[[Any], Any]) -> Patch | None:
        """As `update`, with what `change` makes of a copy of the state: what it returns, or the copy where that is None."""
        copy = self.current
        made = change(copy)
        return self.update(copy if made is None else made)

    def reset(self, state: Any) -> None:
        """Takes a new state, the same or not; it is to be told as a whole."""
        self._state, self.version = _json(state), self.version + 1


class TypedStateManager(Generic[T]):
    """The same with a type of yours: a msgspec struct, a dataclass, or a model of pydantic."""

    def __init__(self, state: T) -> None:
        self._type: type[T] = type(state)
        self._manager = StateManager(to_json(state))

    @property
    def version(self) -> int:
        return self._manager.version

    @property
    def current(self) -> T:
        return from_json(self._manager.current, self._type)

    def as_json(self) -> Any:
        """The state as JSON."""
        return self._manager.current

    def snapshot(self) -> Any:
        return self._manager.snapshot()

    def update(self, state: T) -> Patch | None:
        return self._manager.update(to_json(state))

    def update_with(self, change: Callable[[T], T | None]) -> Patch | None:
        copy = self.current
        made = change(copy)
        return self.update(copy if made is None else made)

    def reset(self, state: T) -> None:
        self._manager.reset(to_json(state))


def to_json(state: Any) -> Any:
    """A state as plain JSON data. InvalidArgument for what is none."""
    dump = getattr(state, "model_dump", None)
    return dump(mode="json", by_alias=True) if callable(dump) else _json(state)


def from_json(data: Any, kind: type[T]) -> T:
    """The other way round. InvalidArgument where it does not fit the type."""
    validate = inspect.getattr_static(kind, "model_validate", None)
    try:
        return kind.model_validate(data) if validate is not None else msgspec.convert(data, kind)  # type: ignore[attr-defined]
    except ValueError as error:  # both libraries' own errors are of this kind
        raise InvalidArgument(f"the state is no {kind.__name__}: {error}") from None


def _json(state: Any) -> Any:
    """A copy, with what JSON has no word for refused."""
    try:
        return msgspec.json.decode(msgspec.json.encode(state))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the state is no JSON: {error}") from None
