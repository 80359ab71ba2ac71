"""Shapes of a session's tree: labels, places in it, forks."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ....core.checkpoint import OnConflict
from .common import Place, Shape

Where = Place | Annotated[str, Meta(min_length=1, max_length=200)]


class LabelBody(Shape, frozen=True):
    seq: Place
    label: Annotated[str, Meta(max_length=200)] | None


class NavigateBody(Shape, frozen=True):
    """`to`: a seq, or a label."""

    to: Where
    files: bool = False
    on_conflict: OnConflict = "refuse"
    summary: bool = False
    focus: Annotated[str, Meta(max_length=10_000)] | None = None


class ForkBody(Shape, frozen=True):
    """`at`: a seq or a label; None is now. `workspace`: an empty folder of the server's; `own_workspace`: a new one is made
    there, which is the default where the session has one of its own."""

    at: Where | None = None
    workspace: str | None = None
    own_workspace: bool | None = None
    name: str | None = None
    metadata: dict[str, str] | None = None
    session: str | None = None
