"""JSON patches (RFC 6902): made from two states, applied, and built by hand.

A patch is a list of operations as the wire has it. Nothing here changes what it is given. Values are compared as JSON, where
1 and true differ.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeAlias

import jsonpatch
import jsonpointer
import msgspec

from ...core.errors import InvalidArgument
from .message_shapes import check_patch

Patch: TypeAlias = list[dict[str, Any]]


def create_patch(old: Any, new: Any) -> Patch:
    """The patch that makes `new` of `old`; empty where they are the same."""
    patch: Patch = jsonpatch.make_patch(old, new).patch
    return deepcopy(patch)


def apply_patch(state: Any, patch: Patch) -> Any:
    """What the patch makes of the state, all of it or nothing. InvalidArgument."""
    try:
        check_patch(patch)
        return _apply(deepcopy(state), deepcopy(patch))
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, msgspec.ValidationError) as error:
        raise InvalidArgument(f"the patch does not apply: {error}") from None


def can_apply(state: Any, patch: Patch) -> bool:
    """Whether `apply_patch` would do it."""
    try:
        apply_patch(state, patch)
    except InvalidArgument:
        return False
    return True


def merge_patches(*patches: Patch) -> Patch:
    """One patch that does what these do, one after the other."""
    return [deepcopy(operation) for patch in patches for operation in patch]


class PatchBuilder:
    """A patch, operation by operation: `PatchBuilder().add("/a", 1).remove("/b").build()`."""

    def __init__(self) -> None:
        self._patch: Patch = []

    def add(self, path: str, value: Any) -> PatchBuilder:
        return self._with({"op": "add", "path": path, "value": value})

    def remove(self, path: str) -> PatchBuilder:
        return self._with({"op": "remove", "path": path})

    def replace(self, path: str, value: Any) -> PatchBuilder:
        return self._with({"op": "replace", "path": path, "value": value})

    def move(self, source: str, path: str) -> PatchBuilder:
        return self._with({"op": "move", "from": source, "path": path})

    def copy(self, source: str, path: str) -> PatchBuilder:
        return self._with({"op": "copy", "from": source, "path": path})

    def test(self, path: str, value: Any) -> PatchBuilder:
        return self._with({"op": "test", "path": path, "value": value})

    def build(self) -> Patch:
        """The patch so far. The builder can go on."""
        return deepcopy(self._patch)

    def _with(self, operation: dict[str, Any]) -> PatchBuilder:
        try:
            check_patch([operation])
        except msgspec.ValidationError as error:
            raise InvalidArgument(f"{operation} is no operation of a patch: {error}") from None
        self._patch.append(deepcopy(operation))
        return self


def _apply(state: Any, patch: Patch) -> Any:
    """The library takes a place within a text or a number for an error of its caller's."""
    try:
        return jsonpatch.apply_patch(state, patch, in_place=True)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise jsonpatch.JsonPatchConflict(str(error)) from None
