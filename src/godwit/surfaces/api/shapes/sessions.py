"""Shapes of sessions: how one is started, shown, found and set."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ....contracts import FoundText, SessionRow
from ....core.agent import SteerMode, ThinkingLevel, ToolDefinition
from ....core.facts import SessionConfig
from ....core.rules import ApprovalPolicy, Permissions
from .agents import NamedVersion
from .common import Shape


class GivenLabels(Shape, frozen=True):
    """The labels that a caller may choose; tenant and principal are those of the key."""

    agent_template: str | None = None
    correlation: str | None = None


class StartBody(Shape, frozen=True):
    """As for `Runtime.start_session`. `workspace`: a folder of the server's, for who may choose one (scope `admin`).
    `own_workspace`: an empty folder is made for the session."""

    agent: Annotated[str, Meta(min_length=1)] | NamedVersion
    workspace: str | None = None
    own_workspace: bool = False
    environment: dict[str, str] = {}
    labels: GivenLabels = GivenLabels()
    name: str | None = None
    metadata: dict[str, str] = {}
    session: str | None = None
    parent: str | None = None
    vaults: tuple[str, ...] = ()
    goal: str | None = None


class SessionView(Shape, frozen=True):
    """A session as a handle opens on it. `tools`: what the model is told of them."""

    session: SessionRow
    config: SessionConfig
    tools: list[ToolDefinition]
    metadata: dict[str, str]


class SessionList(Shape, frozen=True):
    """Newest activity first. `next`: for `after` in the request of the page behind this one; None when there is none."""

    data: list[SessionRow]
    next: str | None = None


class FoundList(Shape, frozen=True):
    data: list[FoundText]


class ConfigureBody(Shape, frozen=True):
    """As for `Session.configure`: None leaves a setting as it is."""

    model: str | None = None
    thinking: ThinkingLevel | None = None
    steer_mode: SteerMode | None = None
    name: str | None = None
    permissions: Permissions | None = None
    approvals: ApprovalPolicy | None = None
    mode: Annotated[str, Meta(max_length=50)] | None = None
