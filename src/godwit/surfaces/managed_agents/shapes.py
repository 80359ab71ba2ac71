"""Metadata in bodies of this protocol: within its limits, and patched. What bodies are made of is the server's `Shape`."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.errors import InvalidArgument
from ..server.shapes import Shape, metadata_problem


def metadata_of(given: Mapping[str, str], *, code: str | None = None) -> dict[str, str]:
    """Metadata within its limits. InvalidArgument; `code`: its `error_code`."""
    problem = metadata_problem(given)
    if problem is not None:
        raise InvalidArgument(f"metadata: {problem}", **({} if code is None else {"error_code": code}))
    return dict(given)


def patched(old: Mapping[str, str], patch: Mapping[str, str | None] | None, *, code: str | None = None) -> dict[str, str]:
    """The metadata with these pairs set, and those of them that are None gone."""
    merged = {**old, **(patch or {})}
    return metadata_of({key: value for key, value in merged.items() if value is not None}, code=code)


__all__ = ["Shape", "metadata_of", "patched"]
