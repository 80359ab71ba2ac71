"""Shared state: one JSON value of a session, which its client and its agent both read and change.

Owns which values and which patches are some (RFC 6902, whose paths are RFC 6901), what a patch makes of a value, and how
models are told. Leaves out who writes it, and that two at once do not write over each other. Rules a change must keep:

* A value that was given out never changes: a patch copies what lies on the way to what it changes, and nothing else.
* A patch fits as a whole or changes nothing. The fold must not fail, so there a patch that does not fit is passed over;
  whoever writes one sees to it, before it is stored, that it fits the value it will be folded into.
* Work is bounded by the bounds of the value and of the patch: what operations copy is counted as they are applied.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from .errors import InvalidArgument, PatchFailed
from .json_values import DEPTH, is_within, json_value

STATE_TOOL: Final = "update_state"
"""The tool by which a model reads and changes the value."""
STATE_TOOLS: Final = "state"
"""The set it is in."""
STATE_BYTES: Final = 262_144
"""The most that the value has, and a patch, as JSON."""
STATE_OPERATIONS: Final = 1_000
"""Operations of a patch, at most."""
TOLD_CHARACTERS: Final = 16_384
"""As much of the value a model is told at once."""

PatchOp = Literal["add", "remove", "replace", "move", "copy", "test"]
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_ESCAPE = re.compile(r"~(?![01])")
_sorted = msgspec.json.Encoder(order="sorted")


class PatchOperation(msgspec.Struct, frozen=True, omit_defaults=True, rename={"from_": "from"}):
    """One operation of a patch. `value` is unset where the operation has none, which null is not."""

    op: PatchOp
    path: str
    value: Any = msgspec.UNSET
    from_: str | None = None


class _Misfit(Exception):
    """Why an operation does not fit the value."""


# --- what is a value, and what a patch --------------------------------------------------------------------------------


def state_value(value: object) -> Any:
    """The value as it is kept; an empty object is none yet, as null is. InvalidArgument when it is no JSON, too large or
    nested too deeply."""
    found = json_value(value, "the shared state", limit=STATE_BYTES)
    return None if found == {} else found


def patch_of(given: Iterable[PatchOperation | Mapping[str, Any]]) -> tuple[PatchOperation, ...]:
    """The operations of a patch, for what an RFC 6902 document says. InvalidArgument names the one that is none."""
    if isinstance(given, str | bytes | Mapping):
        raise InvalidArgument("a patch is a list of operations")
    found: list[PatchOperation] = []
    for place, one in enumerate(given, 1):
        if place > STATE_OPERATIONS:
            raise InvalidArgument(f"a patch has at most {STATE_OPERATIONS:,} operations", limit=STATE_OPERATIONS)
        found.append(_operation(place, one))
    json_value(found, "the patch", limit=STATE_BYTES)
    return tuple(found)


def _operation(place: int, given: PatchOperation | Mapping[str, Any]) -> PatchOperation:
    where = f"operation {place}"
    raw: Any = msgspec.to_builtins(given) if isinstance(given, PatchOperation) else given
    if not isinstance(raw, Mapping):
        raise InvalidArgument(f"{where} is an object with `op` and `path`, not {type(raw).__name__}", operation=place)
    op: Any = raw.get("op")
    path: Any = raw.get("path")
    origin: Any = raw.get("from")
    if op not in get_args(PatchOp):
        raise InvalidArgument(f"{where}: op {op!r} is none of {', '.join(get_args(PatchOp))}", operation=place)
    for name, pointer in (("path", path), *([("from", origin)] if op in ("move", "copy") else [])):
        if not isinstance(pointer, str):
            raise InvalidArgument(f"{where}: {op} needs `{name}`, a path such as /items/0", operation=place)
        problem = _pointer_problem(pointer)
        if problem is not None:
            raise InvalidArgument(f"{where}: {name} {pointer!r}: {problem}", operation=place)
    if op in ("add", "replace", "test"):
        if "value" not in raw:
            raise InvalidArgument(f"{where}: {op} needs a `value`", operation=place)
        return PatchOperation(op, path, json_value(raw["value"], f"the value of {where}", limit=STATE_BYTES))
    return PatchOperation(op, path, from_=origin if op in ("move", "copy") else None)


def _pointer_problem(pointer: str) -> str | None:
    if pointer and not pointer.startswith("/"):
        return "a path begins with '/', and the path of the whole is empty"
    return "in a path, '~' is written ~0 and '/' within a name ~1" if _ESCAPE.search(pointer) else None


# --- what a patch makes of a value ------------------------------------------------------------------------------------


def patched(value: Any, patch: Sequence[PatchOperation]) -> Any:
    """The value after the patch; the one given stays as it is. PatchFailed says which operation does not fit, and why;
    InvalidArgument when the value would be too large or nested too deeply."""
    made: Any = {} if value is None else value
    grown = 0
    try:
        for place, one in enumerate(patch, 1):
            try:
                made, more = _applied(made, one)
            except _Misfit as why:
                raise PatchFailed(
                    f"the patch does not fit, and nothing was changed: operation {place} ({one.op} {one.path!r}): {why}",
                    operation=place,
                ) from None
            grown += more
            if grown > STATE_BYTES:  # about, as names are counted once; in the end it is counted to the byte
                break
        deep = grown <= STATE_BYTES and any(map(_may_deepen, patch)) and not is_within(made, DEPTH)
        large = grown > STATE_BYTES or (not deep and _size(made) > STATE_BYTES)
    except RecursionError:
        deep, large = True, False
    if deep:
        raise InvalidArgument(f"the patch nests the shared state more than {DEPTH} deep: nothing was changed", limit=DEPTH)
    if large:
        raise InvalidArgument(
            f"the patch makes the shared state larger than {STATE_BYTES:,} bytes: nothing was changed", limit=STATE_BYTES
        )
    return None if made == {} else made


def _may_deepen(one: PatchOperation) -> bool:
    """Whether the whole may be nested too deeply after this: what is copied no deeper than it stood is not."""
    at = one.path.count("/")
    if one.op in ("copy", "move"):
        return at > (one.from_ or "").count("/")
    return one.op in ("add", "replace") and (at > DEPTH or not is_within(one.value, DEPTH - at))


def folded(value: Any, patch: Sequence[PatchOperation], whole: Any) -> Any:
    """The value after an event that says this. Never fails: a patch that does not fit changes nothing."""
    if not patch:
        return None if whole == {} else whole
    try:
        return patched(value, patch)
    except (PatchFailed, InvalidArgument):
        return value


def _applied(value: Any, one: PatchOperation) -> tuple[Any, int]:
    """The value after one operation, and by how many bytes it has grown."""
    match one.op:
        case "test":
            there = _at(value, one.path)
            if not same(there, one.value):
                raise _Misfit(f"the value there is {_short(there)}")
            return value, 0
        case "add":
            return _added(value, one.path, one.value)
        case "remove":
            return _removed(value, one.path)
        case "replace":
            before = _at(value, one.path)
            made = _changed(value, one.path, lambda held, key: _with(held, key, one.value))
            return made, _size(one.value) - _size(before)
        case "copy":
            return _added(value, one.path, _at(value, one.from_ or ""))
        case "move":
            origin = one.from_ or ""
            if one.path == origin:
                _at(value, origin)
                return value, 0
            if one.path.startswith(f"{origin}/"):
                raise _Misfit(f"nothing is moved into itself, as {origin!r} would be")
            moved = _at(value, origin)
            without, less = _removed(value, origin)
            made, more = _added(without, one.path, moved)
            return made, less + more


def _added(value: Any, pointer: str, new: Any) -> tuple[Any, int]:
    replaced: list[Any] = []

    def put(held: Any, key: str) -> Any:
        if isinstance(held, list):
            place = len(held) if key == "-" else _place(held, key, len(held))
            return [*held[:place], new, *held[place:]]
        if key in held:
            replaced.append(held[key])
        return {**held, key: new}

    if not pointer:
        return new, _size(new) - _size(value)
    made = _changed(value, pointer, put)
    return made, _size(new) + len(pointer.rpartition("/")[2]) - sum(map(_size, replaced))


def _removed(value: Any, pointer: str) -> tuple[Any, int]:
    before = _at(value, pointer)

    def take(held: Any, key: str) -> Any:
        if isinstance(held, list):
            place = _place(held, key, len(held) - 1)
            return [*held[:place], *held[place + 1 :]]
        return {name: kept for name, kept in held.items() if name != key}

    return (_changed(value, pointer, take) if pointer else {}), -_size(before)


def _with(held: Any, key: str, new: Any) -> Any:
    if isinstance(held, list):
        place = _place(held, key, len(held) - 1)
        return [*held[:place], new, *held[place + 1 :]]
    return {**held, key: new}


def _changed(value: Any, pointer: str, change: Callable[[Any, str], Any]) -> Any:
    """The value with what `change` makes of the list or object that holds what the pointer names; all on the way there is
    copied, the rest is shared."""
    if not pointer:
        return change({"": value}, "")[""]
    tokens = _tokens(pointer)
    way: list[Any] = [value]
    for token in tokens[:-1]:
        way.append(_child(way[-1], token))
    if not isinstance(way[-1], dict | list):
        raise _Misfit(f"what should hold it is {_short(way[-1])}, which holds nothing")
    made = change(way[-1], tokens[-1])
    for held, token in zip(reversed(way[:-1]), reversed(tokens[:-1]), strict=True):
        made = _with(held, token, made)
    return made


def _at(value: Any, pointer: str) -> Any:
    for token in _tokens(pointer):
        value = _child(value, token)
    return value


def at_pointer(value: Any, pointer: str) -> Any:
    """What stands there. InvalidArgument when nothing does."""
    problem = _pointer_problem(pointer)
    if problem is not None:
        raise InvalidArgument(f"path {pointer!r}: {problem}", path=pointer)
    try:
        return _at({} if value is None else value, pointer)
    except _Misfit as why:
        raise InvalidArgument(f"path {pointer!r}: {why}", path=pointer) from None


def _child(held: Any, token: str) -> Any:
    if isinstance(held, list):
        return held[_place(held, token, len(held) - 1)]
    if not isinstance(held, dict):
        raise _Misfit(f"there is no {token!r} in {_short(held)}, which holds nothing")
    if token not in held:
        names = ", ".join(repr(name) for name in list(held)[:20]) or "nothing"
        raise _Misfit(f"there is no {token!r}: the object there has {names}")
    return held[token]


def _place(held: Sequence[Any], token: str, last: int) -> int:
    if not _INDEX.fullmatch(token) or int(token) > last:
        raise _Misfit(f"the list there has {len(held)} items, so it has no place {token!r}")
    return int(token)


def _tokens(pointer: str) -> list[str]:
    if _pointer_problem(pointer) is not None:
        raise _Misfit(f"{pointer!r} is no path")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: numbers by what they are worth, objects whatever their order, and true is no 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(held, other[key]) for key, held in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return bool(type(one) is type(other) or {type(one), type(other)} == {int, float}) and bool(one == other)


def _size(value: Any) -> int:
    return len(msgspec.json.encode(value))


# --- how it is shown and told -----------------------------------------------------------------------------------------


class Digest(NamedTuple):
    """Stands for a value: the same for the same one."""

    digest: bytes


def digest_of(value: Any) -> Digest:
    return Digest(hashlib.blake2b(_sorted.encode({} if value is None else value), digest_size=16).digest())


NOTHING: Final = digest_of(None)
"""Of the value that there is at the beginning."""


def state_text(value: Any, limit: int = TOLD_CHARACTERS) -> str:
    """The value as a model reads it: as JSON, and of a long one the beginning."""
    text = msgspec.json.encode({} if value is None else value).decode()
    if len(text) <= limit:
        return text
    more = f"the first {limit:,} of {len(text):,} characters; {STATE_TOOL} with `show` shows what stands at a path"
    return f"{text[:limit]}\n[... {more}]"


def state_change(patch: Sequence[PatchOperation], whole: Any) -> str:
    """A change as people read it: `replace /title: "Letter"`."""
    if not patch:
        return state_text(whole)
    parts = []
    for one in patch:
        origin = "" if one.from_ is None else f" from {one.from_ or 'the whole'}"
        value = "" if one.value is msgspec.UNSET else f": {_short(one.value)}"
        parts.append(f"{one.op} {one.path or 'the whole'}{origin}{value}")
    return ", ".join(parts)


def state_told(value: Any) -> str:
    """What a model is told of a value that has changed since it last heard of it."""
    return f"[Shared state]\nThe state that you share with the user's application is now:\n{state_text(value)}"


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else f"{text[:200]}..."


__all__ = [
    "NOTHING",
    "STATE_BYTES",
    "STATE_OPERATIONS",
    "STATE_TOOL",
    "STATE_TOOLS",
    "TOLD_CHARACTERS",
    "Digest",
    "PatchOp",
    "PatchOperation",
    "at_pointer",
    "digest_of",
    "folded",
    "patch_of",
    "patched",
    "same",
    "state_change",
    "state_text",
    "state_told",
    "state_value",
]
